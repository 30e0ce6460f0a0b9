"""``LineTable``: takes field lines apart, and knows those that were met before.

Most lines of a head were met before even where the head as a whole was not: a cookie, a trace id or a
length differs, and the rest repeats. For a line that is known nothing is left to do but a look-up.
"""

from __future__ import annotations

from collections.abc import Callable

from pyrox.http.field_names import NameTable
from pyrox.http.headers import Field
from pyrox.http.remembered import Remembered

_MAX_LINES = 512
_MAX_SIZE = 1024  # bytes of a line

# A field; the line to send for it, b"" when it is consumed here; the field again when it needs a decision.
Row = tuple[Field, bytes, Field | None]
# Fields for the next hop; these encoded; fields that need a decision; whether each line was known.
Parts = tuple[list[Field], bytes, list[Field], bool]


class LineTable:
    """Takes apart the field lines of requests, or of responses.

    * ``names``: which of them need a decision; ``consumed``: which of these the next hop does not get.
    * ``accepts``: whether llhttp accepts a line that stands alone. Only such a line becomes known.

    At the worst its 512 lines of 1 KiB take 1.7 MiB.
    """

    def __init__(
        self, names: NameTable, consumed: frozenset[bytes], accepts: Callable[[bytes], bool]
    ) -> None:
        self._names = names
        self._consumed = consumed
        self._accepts = accepts
        self._rows: Remembered[Row] = Remembered(_MAX_LINES)

    def take_apart(self, block: bytes, most: int) -> Parts | None:
        """Take apart the lines of ``block``, the empty one at its end included; None: more than ``most``.

        Right only for what llhttp accepts. It refuses line folding, control characters and bare line ends,
        so a line is a name, a colon and a value with optional whitespace around it (RFC 9112 5). Calls back
        for each field would cost twice this.
        """
        lines = block.split(b"\r\n")[:-2]
        if len(lines) > most:
            return None
        fields: list[Field] = []
        encoded: list[bytes] = []
        special: list[Field] = []
        are_known = True
        known = self._rows.get
        for line in lines:
            row = known(line)
            if row is None:
                are_known = False
                row = self._take_apart(line)
            field, wire, decision = row
            if wire:
                fields.append(field)
                encoded.append(wire)
            if decision is not None:
                special.append(decision)
        return fields, b"".join(encoded), special, are_known

    def _take_apart(self, line: bytes) -> Row:
        name, _, value = line.partition(b":")
        lower, is_special = self._names[name]
        value = value.strip(b" \t")
        field = lower, name, value
        is_consumed = is_special and lower in self._consumed
        row = field, b"" if is_consumed else b"%b: %b\r\n" % (name, value), field if is_special else None
        if len(line) <= _MAX_SIZE and self._rows.is_repeated(line) and self._accepts(line):
            self._rows.keep(line, row)
        return row
