"""``ServiceClient``: how a middleware asks a service of its own, such as one that knows who may come in.

Ordinary blocking code on urllib3. In a worker its sockets are gevent's, so a request blocks the greenlet it
is made for and nobody else. The service is the operator's, but an answer of it is still bounded in size and
time, from the look-up of its name to the last byte, and what is wrong with it is one exception,
``ServiceError``.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import IncompleteRead
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any, Literal
from urllib.parse import urlsplit

from pyrox.errors import ProxyError
from pyrox.http.error_response import answer_headers
from pyrox.http.headers import Headers
from pyrox.middleware.extras import require
from pyrox.time_limit import TimeIsUp, time_limit

Trouble = Literal["unreachable", "timeout", "invalid"]

_PIECE = 1 << 16
_IDENTITY = ("Accept-Encoding", "identity")  # what is capped is what was sent, not what it unpacks to


class ServiceError(ProxyError):
    """A service that a middleware needs cannot be used: 503, unless the middleware says otherwise.

    ``detail`` names the service and says what happened, for the log. ``trouble`` is ``"unreachable"`` (no
    connection, or it broke), ``"timeout"``, or ``"invalid"``: an answer that is none, or too long.
    ``retry_after``: seconds after which the service wants to be asked again; 0 when it did not say.
    """

    status = 503
    source = "upstream"  # it is no fault of the client's, and somebody has to know
    proxy_status = "destination_unavailable"

    def __init__(
        self, detail: str, trouble: Trouble = "invalid", *, status: int | None = None, retry_after: int = 0
    ) -> None:
        super().__init__(detail, status=status)
        self.trouble = trouble
        self.retry_after = retry_after
        if retry_after:
            answer_headers(self)["Retry-After"] = str(retry_after)

    def again(self) -> ServiceError:
        """Return a new error that says the same: an exception serves one exchange."""
        return ServiceError(self.detail, self.trouble, status=self.status, retry_after=self.retry_after)


@dataclass(frozen=True, slots=True)
class ServiceAnswer:
    """What a service answered; any status, redirects included."""

    status: int
    headers: Headers
    body: bytes

    def json(self) -> Any:
        """The body decoded as JSON; raises ``ValueError`` when it is none."""
        try:
            return json.loads(self.body)
        except RecursionError:
            raise ValueError("JSON that is nested too deeply") from None


class ServiceClient:
    """Asks one service, over connections that are kept and shared by the requests of a worker.

    * ``url``: where the service is, ``http://`` or ``https://``; its path begins every path asked for.
    * ``connect_timeout`` and ``timeout``: seconds, until an address has given a connection, and for all of
      it: waiting for one's turn, looking up the name, connecting, and the whole answer.
    * ``max_answer``: the longest body that is taken, in bytes.
    * ``ca_file``: certificates of those who may vouch for an https service, instead of the system's.
    * ``connections``: how many may be open at once; who needs one more waits, up to ``timeout``.

    Redirects are not followed, and no proxy is taken from the environment. Raises ``ValueError`` that
    names the option ``url`` or ``ca_file``.
    """

    def __init__(
        self,
        url: str,
        *,
        connect_timeout: float = 2.0,
        timeout: float = 5.0,
        max_answer: int = 1 << 18,
        ca_file: Path | None = None,
        connections: int = 100,
    ) -> None:
        self._urllib3 = require("urllib3", "http")
        check_seconds(connect_timeout=connect_timeout, timeout=timeout)
        if timeout == 0 or connect_timeout == 0:
            raise ValueError("timeout: 0 leaves no time for an answer")
        parts = _split(url)
        self.name = f"{parts.scheme}://{parts.netloc}"  # without the path: for messages
        self._base = parts.path.rstrip("/")
        self.path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._timeout, self._max_answer = timeout, max_answer
        options: dict[str, Any] = {
            "timeout": self._urllib3.Timeout(connect=connect_timeout, read=timeout),
            "maxsize": connections,
        }
        # Not urllib3's own ("block"): when time is up just as it hands out a place, it would not get it back.
        self._places = BoundedSemaphore(connections)
        if parts.scheme == "https":
            options["ssl_context"] = _trust(ca_file)
        elif ca_file is not None:
            raise ValueError(f"ca_file: {self.name} is not asked over TLS; take it out, or make it https")
        self._pool = self._urllib3.connection_from_url(self.name, **options)

    def get(self, path: str | None = None, headers: Iterable[tuple[str, str]] = ()) -> ServiceAnswer:
        """Send a GET for ``path`` below the service's URL; None for that URL itself.

        Raises ``ServiceError`` when no answer, or no usable one, comes in time.
        """
        target = self.path if path is None else self._base + path
        with self._in_time():
            try:
                return self._ask("GET", target, headers, None)
            except _BrokenOff:
                # The service may close a connection just as it is used again: a fresh one tells.
                return self._ask("GET", target, headers, None)

    def post_json(self, path: str, value: Any, headers: Mapping[str, str] | None = None) -> ServiceAnswer:
        """Send ``value`` as JSON; raises as ``get`` does, but nothing is sent twice."""
        sent = [("Content-Type", "application/json"), *(headers or {}).items()]
        with self._in_time():
            return self._ask("POST", self._base + path, sent, json.dumps(value).encode())

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        """Wait for one's turn, and end the block when time is up; says what went wrong in it."""
        deadline = time.monotonic() + self._timeout
        if not self._places.acquire(timeout=self._timeout):
            raise self._late()
        try:
            with time_limit(deadline - time.monotonic()):
                yield
        except TimeIsUp:
            raise self._late() from None
        except _BrokenOff as error:
            raise self._error(str(error), "unreachable") from error
        finally:
            self._places.release()

    def _ask(
        self, method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes | None
    ) -> ServiceAnswer:
        errors = self._urllib3.exceptions
        deadline = time.monotonic() + self._timeout
        try:
            response = self._pool.urlopen(
                method,
                target,
                body=body,
                headers=self._fields(headers),
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            try:
                return self._read(response, deadline)
            except BaseException:
                response.close()  # what is left of the answer would be taken for the next one
                raise
            finally:
                response.release_conn()
        except errors.HTTPError as error:
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> Exception:
        """Say what an error of urllib3's means."""
        errors = self._urllib3.exceptions
        reason = _reason(error)
        if isinstance(error, errors.NewConnectionError):
            return self._error(f"no connection: {reason}", "unreachable")
        if isinstance(error, errors.TimeoutError):
            return self._late()
        if isinstance(error, errors.SSLError):
            return self._error(f"TLS failed: {reason}", "unreachable")
        if isinstance(error, errors.ProtocolError) and isinstance(error.args[-1], (OSError, IncompleteRead)):
            return _BrokenOff(f"the connection broke off: {reason}")
        return self._error(f"its answer cannot be understood: {reason}")

    def _fields(self, headers: Iterable[tuple[str, str]]) -> Any:
        fields = self._urllib3.HTTPHeaderDict([_IDENTITY])
        for name, value in headers:
            fields.add(name, value.encode("latin-1"))
        return fields

    def _read(self, response: Any, deadline: float) -> ServiceAnswer:
        if response.status < 200:
            raise self._error(f"it answered {response.status}, which is no answer")
        body = bytearray()
        # The timeout of a read starts anew with each byte; the deadline does not.
        while piece := response.read1(_PIECE):
            body += piece
            if len(body) > self._max_answer:
                raise self._error(f"its answer is longer than {self._max_answer} bytes")
            if time.monotonic() > deadline:
                raise self._error(f"no whole answer within {self._timeout} s", "timeout")
        try:
            headers = Headers(list(response.headers.iteritems()))
        except ValueError as error:
            raise self._error(f"its answer cannot be understood: {error}") from None
        return ServiceAnswer(response.status, headers, bytes(body))

    def _late(self) -> ServiceError:
        return self._error(f"no answer within {self._timeout} s", "timeout")

    def _error(self, what: str, trouble: Trouble = "invalid") -> ServiceError:
        return ServiceError(f"{self.name}: {what}", trouble)


class _BrokenOff(Exception):
    """The connection ended before the answer did."""


def check_seconds(**options: float) -> None:
    """Raise ``ValueError`` for the first option that is no number of seconds, 0 or more."""
    for option, value in options.items():
        if not 0 <= value < float("inf"):
            raise ValueError(f"{option}: {value} is no number of seconds")


def _split(url: str) -> Any:
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address or not url.isascii() or any(character <= " " for character in url):
        raise ValueError(f"url: {url!r} is no URL of a service; write http://host:port/path or https://...")
    if parts.username is not None or parts.fragment:
        raise ValueError("url: it holds a user name, a password or a fragment; leave them out")
    return parts


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    """One context for all connections: making one costs milliseconds."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise ValueError(f"ca_file: {ca_file}: {error.strerror or error}") from error


def _reason(error: BaseException) -> str:
    """What urllib3 has wrapped: its own text shows memory addresses."""
    cause = error.__cause__ or error.__context__ or error
    return str(getattr(cause, "strerror", None) or cause or type(cause).__name__)
