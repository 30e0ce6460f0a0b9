"""What a ``Transform`` shows of bodies: as pieces while they stream by, or whole.

A view is a body filter that takes a decoded body apart, calls a handler for each thing in it, and puts
together what the handlers return. What no handler changes leaves as it came, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from pyrox.errors import ClientError, ProxyError
from pyrox.http.charset import Errors, TextBody
from pyrox.http.decoding import Decoder
from pyrox.http.encoding import Encoder
from pyrox.http.server_sent_events import EventParser, EventTooLong, ServerSentEvent
from pyrox.http.strict_json import dump_json, json_digest, load_json
from pyrox.middleware.base import BodyFilter
from pyrox.threads import run_in_thread

if TYPE_CHECKING:
    from pyrox.middleware.transform import Flow

Handler = Callable[[Any, "Flow"], Any]

_THREAD_FROM = 1 << 16  # bytes of JSON; reading them takes 2 ms, in which other threads may run at times


class View(BodyFilter):
    """A body of which ``handler`` sees piece by piece; ``end`` may have something to add."""

    def __init__(
        self,
        flow: Flow,
        handler: Handler,
        end: Callable[[Flow], Any] | None,
        error: type[ProxyError],
    ) -> None:
        self._flow = flow
        self._handler = handler
        self._end = end
        self._error = error

    def read(self, charset: str, errors: Errors, limit: int) -> None:
        """Get ready for a body in ``charset`` of which at most ``limit`` characters are held back."""

    def finish(self) -> bytes:
        ending: bytes = self._ending() or b""
        return ending

    def _ending(self) -> Any:
        return self._end(self._flow) if self._end is not None else None


class BytesView(View):
    """The body as it comes."""

    def feed(self, chunk: bytes) -> bytes:
        made: bytes | None = self._handler(chunk, self._flow)
        return made or b""


class TextView(View):
    """The body as text, cut anywhere between two characters."""

    def read(self, charset: str, errors: Errors, limit: int) -> None:
        self._text = TextBody(charset, errors)
        self._limit = limit

    def feed(self, chunk: bytes) -> bytes:
        made = self._see(self._decode(chunk))
        return self._encode(made) if made else b""

    def finish(self) -> bytes:
        text = self._decode(b"", final=True)
        return self._encode(self._see(text) + self._see_rest() + self._see_end())

    def _see(self, text: str) -> str:
        return (self._handler(text, self._flow) or "") if text else ""

    def _see_rest(self) -> str:
        return ""

    def _see_end(self) -> str:
        ending: str = self._ending() or ""
        return ending

    def _decode(self, data: bytes, final: bool = False) -> str:
        try:
            return self._text.decode(data, final)
        except UnicodeError as error:
            raise self._error(f"the body is no text: {error}") from error

    def _encode(self, text: str) -> bytes:
        try:
            return self._text.encode(text)
        except UnicodeError as error:
            raise ProxyError(f"what a transform made of the body cannot be sent: {error}") from error

    def _refuse_length(self, what: str) -> NoReturn:
        raise too_long(self._error, f"{what} is longer than {self._limit} characters")


class LineView(TextView):
    """The body line by line; a line ends with a line feed, or carriage return and line feed."""

    def read(self, charset: str, errors: Errors, limit: int) -> None:
        super().read(charset, errors, limit)
        self._held: list[str] = []  # of a line that is not complete
        self._held_length = 0
        self._needs_ending = False  # the last line came without

    def _see(self, text: str) -> str:
        *lines, rest = text.split("\n")
        written: list[str] = []
        if lines:
            lines[0] = "".join([*self._held, lines[0]])
            self._held.clear()
            self._held_length = 0
            for line in lines:
                self._see_line(line, written)
        if rest:
            self._held.append(rest)
            self._held_length += len(rest)
        if self._held_length > self._limit:
            self._refuse_length("a line")
        return "".join(written)

    def _see_line(self, line: str, written: list[str]) -> None:
        if len(line) > self._limit:
            self._refuse_length("a line")
        ending = "\n"
        if line.endswith("\r"):
            line, ending = line[:-1], "\r\n"
        for made in _several(self._handler(line, self._flow)):
            written += made, ending

    def _see_rest(self) -> str:
        if not self._held:
            return ""
        rest = "\n".join(_several(self._handler("".join(self._held), self._flow)))
        self._needs_ending = bool(rest)
        return rest

    def _see_end(self) -> str:
        lines = "".join(f"{line}\n" for line in _several(self._ending()))
        return f"\n{lines}" if lines and self._needs_ending else lines


class EventView(TextView):
    """The body as server-sent events; comments between them pass unseen."""

    def read(self, charset: str, errors: Errors, limit: int) -> None:
        super().read("utf-8", errors, limit)  # "always decoded as UTF-8" (WHATWG HTML 9.2.5)
        self._parser = EventParser(limit)
        self._is_changed = False  # the last event was

    def _see(self, text: str) -> str:
        try:
            return "".join([self._made_of(*block) for block in self._parser.feed(text)])
        except EventTooLong as error:
            raise too_long(self._error, str(error)) from error

    def _see_rest(self) -> str:
        return "".join([self._made_of(*block) for block in self._parser.finish()])

    def _see_end(self) -> str:
        return "".join(event.encode() for event in _several(self._ending()))

    def _made_of(self, block: str, event: ServerSentEvent | None) -> str:
        if event is None:
            return "" if self._parser.is_late and self._is_changed else block
        before = ServerSentEvent(event.data, event.event, event.id, event.retry)
        made = self._handler(event, self._flow)
        self._is_changed = made != before
        if not self._is_changed:
            return block
        return "".join([new.encode() for new in _several(made)])


STREAMED: dict[str, type[View]] = {"bytes": BytesView, "text": TextView, "line": LineView, "event": EventView}


class Whole:
    """How a whole body is shown to a handler."""

    name: ClassVar[str]

    @staticmethod
    def change(body: bytes, see: Callable[[Any], Any], error: type[ProxyError]) -> bytes | None:
        """Return what the body becomes, None when it stays as it is."""
        raise NotImplementedError


class _AsBytes(Whole):
    @staticmethod
    def change(body: bytes, see: Callable[[Any], Any], error: type[ProxyError]) -> bytes | None:
        made: bytes = see(body)
        return None if made == body else made


class _AsJson(Whole):
    @staticmethod
    def change(body: bytes, see: Callable[[Any], Any], error: type[ProxyError]) -> bytes | None:
        try:
            if len(body) < _THREAD_FROM:
                value, before = _load(body)
            else:
                value, before = run_in_thread(_load, body)
        except ValueError as fault:
            raise error(f"the body cannot be read as JSON: {fault}") from fault
        made = see(value)
        if before is not None and json_digest(made) == before:
            return None
        return made if isinstance(made, bytes) else dump_json(made)


def _load(body: bytes) -> tuple[Any, bytes | None]:
    value = load_json(body)
    return value, json_digest(value)


WHOLE: dict[str, type[Whole]] = {"body": _AsBytes, "json": _AsJson}


class WholeBody:
    """A body that is held in memory, up to ``limit`` bytes of it once decoded."""

    __slots__ = ("_codings", "_error", "_flow", "_handler", "_kind", "_limit")

    def __init__(
        self,
        kind: type[Whole],
        handler: Handler,
        flow: Flow,
        codings: Sequence[str],
        error: type[ProxyError],
        limit: int,
    ) -> None:
        self._kind = kind
        self._handler = handler
        self._flow = flow
        self._codings = codings
        self._error = error
        self._limit = limit

    def read(self, chunks: Iterable[bytes]) -> tuple[bytes, bytes | None]:
        """Read the body; returns it as received, and what it becomes when that is something else."""
        received, plain = bytearray(), bytearray()
        decoder = Decoder(self._codings, self._error)
        for chunk in chunks:
            for piece in decoder.decode(chunk):
                plain += piece
                self._check(plain)
            if self._codings:
                received += chunk
                self._check(received)
        decoder.finish()
        before = bytes(plain)
        after = None
        if before:
            after = self._kind.change(before, lambda seen: self._handler(seen, self._flow), self._error)
        if after is not None:
            after = Encoder(self._codings).finish(after)
        return bytes(received) if self._codings else before, after

    def _check(self, held: bytearray) -> None:
        if len(held) > self._limit:
            raise too_long(self._error, f"the body is longer than {self._limit} bytes")

    def later(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield what the body becomes, once somebody asks for it."""
        received, changed = self.read(chunks)
        yield received if changed is None else changed


def too_long(error: type[ProxyError], detail: str) -> ProxyError:
    return error(detail, status=413) if issubclass(error, ClientError) else error(detail)


def _several(made: Any) -> Iterable[Any]:
    if made is None:
        return ()
    return (made,) if isinstance(made, (str, ServerSentEvent)) else made
