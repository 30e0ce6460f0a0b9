"""Server-sent events (WHATWG HTML 9.2): a text/event-stream taken apart while it streams by, and made."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_find_ending = re.compile(r"\r\n|\n|\r").search
_split_lines = re.compile(r"\r\n|\n|\r").split
_has_break = re.compile(r"[\r\n\0]").search


@dataclass(slots=True)
class ServerSentEvent:
    """One event of a text/event-stream.

    * ``data``: its text; lines are separated by ``\\n``.
    * ``event``: its type; ``""`` stands for ``message``.
    * ``id``: the last event id from here on, or None when it does not say.
    * ``retry``: milliseconds to wait before connecting again, or None.
    """

    data: str
    event: str = ""
    id: str | None = None
    retry: int | None = None

    def encode(self) -> str:
        """Return it as it stands in a stream, its empty line included.

        Raises ``ValueError`` for a type or an id with a line break: it would be another field.
        """
        for name, value in (("event", self.event), ("id", self.id or "")):
            if _has_break(value):
                raise ValueError(f"{name} of a server-sent event has a line break or NUL: {value!r}")
        lines = [f"event: {self.event}"] if self.event else []
        if self.id is not None:
            lines.append(f"id: {self.id}")
        if self.retry is not None:
            lines.append(f"retry: {self.retry:d}")
        lines += [f"data: {line}" for line in _split_lines(self.data)]
        return "\n".join([*lines, "", ""])


class EventTooLong(ValueError):
    """A block does not end within what may be held back."""


class EventParser:
    """Takes a stream apart into blocks, each up to and with its empty line.

    ``longest`` is how many characters may be held back until a block is complete; raises ``EventTooLong``
    beyond it. ``is_late`` is set while ``feed`` yields a line feed that belongs to the block before it,
    which was complete without.
    """

    __slots__ = ("_after_cr", "_block", "_held", "_line", "_lines", "_longest", "is_late")

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._line: list[str] = []  # of the line that is not complete yet
        self._lines: list[str] = []  # of the block that is not, without their endings
        self._block: list[str] = []  # the same, as received
        self._held = 0
        self._after_cr = False
        self.is_late = False

    def feed(self, text: str) -> Iterator[tuple[str, ServerSentEvent | None]]:
        """Yield each block that is complete now: as received, and the event that it makes, if any.

        A block is complete with its empty line, even if a line feed that belongs to it is still to come.
        """
        if self._after_cr and text:
            if text[0] == "\n":
                text = text[1:]
                if self._block:
                    self._block.append("\n")
                else:
                    self.is_late = True
                    yield "\n", None
                    self.is_late = False
            self._after_cr = False
        position = 0
        while ending := _find_ending(text, position):
            self._take(text[position : ending.end()])
            line = "".join([*self._line, text[position : ending.start()]])
            self._line.clear()
            position = ending.end()
            if line:
                self._lines.append(line)
            else:
                yield self._complete()
        if position < len(text):
            self._line.append(text[position:])
            self._take(text[position:])
        elif text:
            self._after_cr = text[-1] == "\r"

    def finish(self) -> Iterator[tuple[str, ServerSentEvent | None]]:
        """Yield the block that the stream ended in, if there is any."""
        if self._block:
            self._lines.append("".join(self._line))
            yield self._complete()

    def _take(self, text: str) -> None:
        self._block.append(text)
        self._held += len(text)
        if self._held > self._longest:
            raise EventTooLong(f"a server-sent event is longer than {self._longest} characters")

    def _complete(self) -> tuple[str, ServerSentEvent | None]:
        block, event = "".join(self._block), _event_of(self._lines)
        self._block.clear()
        self._lines.clear()
        self._held = 0
        return block, event


def _event_of(lines: list[str]) -> ServerSentEvent | None:
    """Make the event of a block; None for a block that has no data (comments, keep-alives)."""
    data: list[str] = []
    event = ServerSentEvent("")
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name == "event":
            event.event = value
        elif name == "id" and "\0" not in value:
            event.id = value
        elif name == "retry" and value.isascii() and value.isdecimal():
            event.retry = int(value[:9])
    if not data:
        return None
    event.data = "\n".join(data)
    return event
