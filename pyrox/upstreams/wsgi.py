"""One call of a WSGI application (PEP 3333): what it may say, and when.

The application answers in three ways at once: it calls ``start_response``, it may call what that returns
to write, and it returns an iterable. Here they become a head and one stream of pieces. The head is final
when the first piece is there, and not before: until then ``start_response`` may be called again with
``exc_info``, to answer with an error instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import Any

from pyrox.http.field_names import CONNECTION_FIELDS
from pyrox.http.headers import Field, has_control, is_latin1, make_field

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
ExcInfo = tuple[type[BaseException], BaseException, TracebackType]

# What was written, and could not be sent yet, stays in memory up to so many bytes; the rest goes to a file.
_SPOOL = 1 << 18
_PIECE = 1 << 16

_match_status = re.compile(r"([2-5][0-9][0-9])(?: (.*))?").fullmatch
_match_length = re.compile(r"[0-9]{1,19}").fullmatch
# RFC 9110 7.6.1; "trailers" is how PEP 3333's reference, wsgiref, misspells one of them.
_HOP_BY_HOP = (CONNECTION_FIELDS - {b"content-length"}) | {b"trailers"}


class BadApplication(Exception):
    """The application does not do what PEP 3333 says."""


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a response; ``length`` is the Content-Length, which is not among ``fields``."""

    status: int
    reason: str
    fields: list[Field]
    length: int | None


class Call:
    """Calls ``application`` once; ``start``, then take ``pieces``, and ``close`` in any case.

    * ``head``: what it answers; final after ``start``.
    * ``whole``: all of the body, when that is known already; None when it is in ``pieces``.
    """

    def __init__(self, application: Application, environ: dict[str, Any]) -> None:
        self._application = application
        self._environ = environ
        self._iterable: Any = None
        self._head: Head | None = None
        self._is_final = False
        self._written: SpooledTemporaryFile[bytes] | None = None
        self.whole: bytes | None = None
        self.pieces: Iterator[bytes] = iter(())

    @property
    def head(self) -> Head:
        """Raises ``BadApplication`` when there is none."""
        if self._head is None:
            raise BadApplication("it has not called start_response")
        return self._head

    def start(self) -> None:
        """Run the application up to its first piece of body, or to its end.

        Raises ``BadApplication``, and whatever the application raises.
        """
        self._iterable = self._application(self._environ, self._start_response)
        if isinstance(self._iterable, list | tuple) and self._written is None:
            whole = b"".join(map(_checked, self._iterable))
            self._finish(whole, is_whole=True)
            return
        pieces = self._pieces()
        first = next(pieces, b"")
        self._finish(first, is_whole=not first)
        self.pieces = _chained(first, pieces)

    def close(self) -> None:
        """Release what the application holds; raises whatever its ``close`` does."""
        self._is_final = True
        if self._written is not None:
            self._written.close()
        iterable, self._iterable = self._iterable, None
        if (close := getattr(iterable, "close", None)) is not None:
            close()

    def _finish(self, first: bytes, is_whole: bool) -> None:
        head = self.head
        self._is_final = True
        if is_whole or (head.length is not None and len(first) >= head.length):
            # PEP 3333: no more bytes than were announced, whatever the application has to give.
            self.whole = first if head.length is None else first[: head.length]

    def _pieces(self) -> Iterator[bytes]:
        """Yield what was written and what the iterable yields, in their order; none of it empty."""
        try:
            iterator = iter(self._iterable)
        except TypeError:
            raise BadApplication(f"it has returned {self._iterable!r}, not an iterable of bytes") from None
        yield from self._take_written()
        for piece in iterator:
            yield from self._take_written()
            if _checked(piece):
                self.head  # noqa: B018  before the first byte of a body there must be one
                yield piece
        yield from self._take_written()

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], object]:
        if exc_info is not None:
            try:
                if self._is_final:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # its traceback holds this frame
            self._drop_written()
        elif self._head is not None:
            raise BadApplication("it has called start_response again without exc_info")
        self._head = parse_head(status, headers)
        return self._write

    def _write(self, data: bytes) -> None:
        if self._written is None:
            self._written = SpooledTemporaryFile(_SPOOL)  # noqa: SIM115  closed by close()
        self._written.write(_checked(data))

    def _drop_written(self) -> None:
        if self._written is not None:
            self._written.close()
            self._written = None

    def _take_written(self) -> Iterator[bytes]:
        if self._written is None:
            return
        self._written.seek(0)
        while piece := self._written.read(_PIECE):
            yield piece
        self._drop_written()


def parse_head(status: str, headers: list[tuple[str, str]]) -> Head:
    """Check what an application gives to ``start_response``.

    Raises ``BadApplication`` for what cannot be sent, what belongs to the connection, and an informational
    status.
    """
    if not isinstance(status, str) or (match := _match_status(status)) is None:
        raise BadApplication(f"its status {status!r} is not a final one, such as '200 OK'")
    reason = match[2] or ""
    if has_control(reason) or not is_latin1(reason):
        raise BadApplication(f"its status {status!r} cannot be sent")
    fields, lengths = [], []
    for name, value in _pairs(headers):
        try:
            field = make_field(name, value)
        except (TypeError, ValueError) as error:
            raise BadApplication(str(error)) from None
        if field[0] in _HOP_BY_HOP:
            raise BadApplication(f"it sets {name}, which belongs to the connection")
        if field[0] == b"content-length":
            lengths.append(field[2].decode("latin-1"))
        else:
            fields.append(field)
    return Head(int(match[1]), reason, fields, _length_of(lengths))


def _pairs(headers: Any) -> list[tuple[str, str]]:
    if not isinstance(headers, list):
        raise BadApplication(f"its headers are a {type(headers).__name__}, not a list")
    for item in headers:
        if not isinstance(item, tuple) or len(item) != 2:
            raise BadApplication(f"its header {item!r} is not a pair of name and value")
    return headers


def _length_of(lengths: list[str]) -> int | None:
    if not lengths:
        return None
    if len(lengths) > 1 or not _match_length(lengths[0]):
        raise BadApplication(f"its Content-Length {', '.join(lengths)!r} is not one number")
    return int(lengths[0])


def _checked(piece: Any) -> bytes:
    if not isinstance(piece, bytes):
        raise BadApplication(f"its body has {piece!r}, which is not bytes"[:200])
    return piece


def _chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest
