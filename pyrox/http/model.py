"""The messages of Pyrox 0.4 and 0.5, as views: each holds a native ``Request`` or ``Response``.

What a filter asks for is looked up when it asks, and what it changed is carried over by ``write_back``;
a header that no filter touched costs nothing. New code has no need of this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyrox.http.body import Body, Message
from pyrox.http.framing import CHUNKED
from pyrox.http.headers import Field, Headers, make_field
from pyrox.http.message import Request, Response

Text = str | bytes | bytearray

_FRAMING = ("content-length", "transfer-encoding")
_NOTHING = ()  # what the native message has of a header that it lacks
_new = object.__new__  # constructors cost more than what they do here


def as_text(value: Text) -> str:
    """Return ``value`` as the str that stands for it on the wire; raises ``TypeError`` for no text."""
    if isinstance(value, str):
        return value
    if isinstance(value, (bytes, bytearray)):
        return value.decode("latin-1")
    raise TypeError(f"str, bytes or bytearray is expected, not {value!r}")


def _lower(name: Text) -> bytes:
    return as_text(name).lower().encode()


def _replaced(fields: list[Field], changes: dict[bytes, list[Field]]) -> list[Field]:
    """Return ``fields`` with all new lines of a name where its first line was, or at the end."""
    replaced: list[Field] = []
    for field in fields:
        lines = changes.get(field[0])
        if lines is None:
            replaced.append(field)
        else:
            replaced += lines
            changes[field[0]] = []
    for lines in changes.values():
        replaced += lines
    return replaced


class HttpHeader:
    """A header: its ``name``, and in ``values`` one item for each line it stands on, in order.

    Both may be str, bytes or bytearray; the proxy itself makes them str.
    """

    __slots__ = ("_sent", "name", "values")

    def __init__(self, name: Text) -> None:
        self.name = name
        self.values: list[Text] = []
        self._sent: tuple[Text, ...] | None = None  # name and values as the native message has them

    @classmethod
    def _of(cls, name: str, values: list[str]) -> HttpHeader:
        header = _new(cls)
        header.name = name
        header.values = values  # type: ignore[assignment]  # it is nobody else's
        header._sent = (name, *values)
        return header

    def lines(self) -> list[Field]:
        """Return the field lines; raises ``ValueError`` for a name or a value that cannot be sent."""
        try:  # mostly all are str
            return [make_field(self.name, value) for value in self.values]  # type: ignore[arg-type]
        except TypeError:
            pass  # and what is wrong with the others is told without this
        return [make_field(as_text(self.name), as_text(value)) for value in self.values]

    def __repr__(self) -> str:
        return f"HttpHeader({self.name!r}, {self.values!r})"


class HttpMessage:
    """What requests and responses share: ``version``, headers, and ``local_data``.

    ``local_data`` is a dict for what filters tell each other; it is one for the request and its response,
    and does not change either. ``version`` is what the peer speaks; assigning another changes ``to_bytes()``
    alone, because each side of a proxy speaks its own (RFC 9110 2.5).
    """

    _native: Any  # the Request or Response behind this view
    version: Text
    local_data: dict[str, Any]
    # All headers if _has_all, else those that were asked for, None in place of one that was removed.
    _headers: dict[str, HttpHeader | None]
    _has_all = False
    _found: Mapping[str, HttpHeader] = {}  # what `headers` was at first; others in it came from elsewhere

    def __init__(self, version: Text = "1.1") -> None:
        self._native = self._blank()
        self._headers = {}
        self.local_data = {}
        self.version = version
        self.set_default_headers()

    @staticmethod
    def _blank() -> Message:
        return Message(b"", ())

    def _detached(self) -> Message:
        """Return a message that begins as this one does, and belongs to no exchange."""
        return self._blank()

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: what a filter sees of the message, without the exchange behind it."""
        state = {"_headers": self.headers, "_has_all": True, "_native": self._detached()}
        return {key: value for key, value in self.__dict__.items() if key != "_found"} | state

    @property
    def headers(self) -> dict[str, HttpHeader]:
        """All headers, by their names in lower case; changes to the dict reach the wire."""
        if not self._has_all:
            self._has_all, asked_for = True, self._headers
            self._headers = {key: asked_for.get(key, header) for key, header in self._find_all().items()}
            self._headers.update(asked_for)
            for key in [key for key, header in self._headers.items() if header is None]:
                del self._headers[key]
            self._found = self._headers.copy()  # type: ignore[assignment]
        return self._headers  # type: ignore[return-value]

    @headers.setter
    def headers(self, headers: dict[str, HttpHeader]) -> None:
        self._headers, self._has_all = headers, True  # type: ignore[assignment]

    def get_header(self, name: Text) -> HttpHeader | None:
        """Return the header called ``name``, in any case, or None."""
        return self._find(as_text(name).lower())

    def header(self, name: Text) -> HttpHeader:
        """Return the header called ``name``, in any case; a new one, without values, if there is none."""
        key = as_text(name).lower()
        header = self._find(key)
        if header is None:
            is_removed = key in self._headers
            header = self._headers[key] = _new(HttpHeader)
            header.name, header.values, header._sent = name, [], None if is_removed else _NOTHING
        return header

    def replace_header(self, name: Text) -> HttpHeader:
        """Return a new header called ``name``, without values, in place of what there was."""
        header = self._headers[as_text(name).lower()] = HttpHeader(name)
        return header

    def remove_header(self, name: Text) -> bool:
        """Remove the header called ``name``, in any case; returns whether there was one."""
        if self.get_header(name) is None:
            return False
        key = as_text(name).lower()
        if self._has_all:
            del self._headers[key]
        else:
            self._headers[key] = None
        return True

    def set_default_headers(self) -> None:
        """Called by the constructor; a subclass may add here what its messages begin with."""

    def write_back(self) -> None:
        """Make the native message have the headers of this one.

        Raises ``ValueError`` for what cannot be sent, such as a line break, and ``TypeError`` for what is
        no text; the native message is then as it was, and this one of no more use.
        """
        if not self._headers and not self._has_all:
            return
        changes = self._missing() if self._has_all else {}
        added: list[Field] = []
        for key, header in self._headers.items():
            if header is None:
                changes[_lower(key)] = []
                continue
            is_own = not self._has_all or self._found.get(key) is header
            before, now = header._sent if is_own else None, (header.name, *header.values)
            if before == now:
                continue
            if before == _NOTHING:
                added += header.lines()
            else:  # one with a new name stands where it stood under the old one
                changes.setdefault(_lower(before[0] if before else header.name), []).extend(header.lines())
            if is_own:
                header._sent = now
        if changes:
            self._native.headers.fields = _replaced(self._native.headers.fields, changes)
        if added:
            self._native.headers.fields += added

    def _missing(self) -> dict[bytes, list[Field]]:
        """Return the names of the native message that are not among the headers, each with no lines."""
        for name, value in self.headers.items():
            if not isinstance(value, HttpHeader):
                raise TypeError(f"headers[{name!r}] is {value!r}, not an HttpHeader")
        own = [header for key, header in self.headers.items() if self._found.get(key) is header]
        kept = {_lower(header._sent[0]) for header in own if header._sent}
        return {field[0]: [] for field in self._native.headers.fields if field[0] not in kept}

    def _find(self, key: str) -> HttpHeader | None:
        header = self._headers.get(key)
        if header is not None or self._has_all or key in self._headers:
            return header
        wanted = key.encode()
        lines = [field for field in self._native.headers.fields if field[0] == wanted]
        if lines:  # with the spelling of its first line, as `headers` has it
            header = _new(HttpHeader)
            header.name = name = lines[0][1].decode("latin-1")
            header.values = [line[2].decode("latin-1") for line in lines]
            header._sent = (name, *header.values)
        elif key in _FRAMING and key in (framing := self._framing()):
            header = HttpHeader._of(*framing[key])
        else:
            return None
        self._headers[key] = header
        return header

    def _find_all(self) -> dict[str, HttpHeader]:
        found: dict[str, tuple[str, list[str]]] = {}
        for name, value in self._native.headers.items():
            found.setdefault(name.lower(), (name, []))[1].append(value)
        return {key: HttpHeader._of(*values) for key, values in {**self._framing(), **found}.items()}

    def _framing(self) -> dict[str, tuple[str, list[str]]]:
        """The fields that say where the body ends: the native message has parsed and removed them."""
        length = getattr(self._native, "content_length", None)
        if CHUNKED in (length, getattr(self._native, "body_length", None)):
            return {"transfer-encoding": ("Transfer-Encoding", ["chunked"])}
        if length is None or length < 0:
            return {}
        return {"content-length": ("Content-Length", [str(length)])}

    def _lines(self) -> list[Field]:
        return [line for header in self.headers.values() for line in header.lines()]

    def _encode(self, start_line: str) -> bytes:
        lines = (name + b": " + value for _, name, value in self._lines())
        head = [start_line.encode("latin-1"), *lines, b"", b""]
        return b"\r\n".join(head)


class HttpRequest(HttpMessage):
    """A request: ``method`` and ``url`` besides what each message has."""

    _native: Request

    @staticmethod
    def _blank() -> Message:
        return Request("GET", "/")

    @classmethod
    def of(cls, native: Request) -> HttpRequest:
        """Return a view on ``native``; its ``local_data`` is the request's ``state``."""
        view = _new(cls)
        view._native = native
        view._headers = {}
        view.local_data = native.state
        view.version = native.version
        return view

    def _detached(self) -> Request:
        return Request.from_head(self.method, self.url, self._native.version, [])

    @property
    def method(self) -> str:
        """The method; assigning anything but a token raises ``ValueError``."""
        return self._native.method

    @method.setter
    def method(self, method: Text) -> None:
        self._native.method = as_text(method)

    @property
    def url(self) -> str:
        """Path and query, percent-encoded; a fragment that is assigned with them is dropped.

        Assigning what is no request target raises ``ValueError``.
        """
        return self._native.target

    @url.setter
    def url(self, url: Text) -> None:
        self._native.target = as_text(url).partition("#")[0]

    def to_bytes(self) -> bytes:
        """Return the head as it would stand on the wire; raises ``ValueError`` when it could not."""
        return self._encode(f"{self.method} {self.url} HTTP/{as_text(self.version)}")


class HttpResponse(HttpMessage):
    """A response: ``status`` besides what each message has."""

    _native: Response

    @staticmethod
    def _blank() -> Message:
        return Response(200)

    @classmethod
    def of(cls, native: Response, request: HttpRequest) -> HttpResponse:
        """Return a view on ``native``, the answer to ``request``, whose ``local_data`` it shares."""
        view = _new(cls)
        view._native = native
        view._headers = {}
        view.local_data = request.local_data
        view.version = native.version
        return view

    def _detached(self) -> Response:
        return Response.from_head(self._native.status, self._native.reason, self._native.version, [])

    @property
    def status(self) -> str:
        """The status code and, after a space, its reason phrase: ``"404 Not Found"``.

        A code alone, also as an int, may be assigned and gets its usual phrase. Assigning anything but
        a final status, 200 to 599, raises ``ValueError``.
        """
        return f"{self._native.status} {self._native.reason}".rstrip()

    @status.setter
    def status(self, status: Text | int) -> None:
        code, _, reason = (str(status) if isinstance(status, int) else as_text(status)).partition(" ")
        if not code.isascii() or not code.isdigit():
            raise ValueError(f"status {status!r} does not begin with a status code")
        self._native.status = int(code)
        if reason:
            self._native.reason = reason

    def to_bytes(self) -> bytes:
        """Return the head as it would stand on the wire; raises ``ValueError`` when it could not."""
        return self._encode(f"HTTP/{as_text(self.version)} {self.status}")

    def to_native(self, body: Body = b"") -> Response:
        """Return a new native response with this head and ``body``.

        Raises ``ValueError`` or ``TypeError`` when a header cannot be sent.
        """
        response = Response(self._native.status, body)
        response.reason = self._native.reason
        response.headers = Headers.from_fields(self._lines())
        declared = response.headers.get("content-length", "")
        if declared.isascii() and declared.isdigit() and len(declared) < 20:
            response.content_length = int(declared)  # for the answer to HEAD, when body is a stream
        return response
