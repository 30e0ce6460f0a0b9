"""Response heads that llhttp refuses though the RFC leaves no doubt what they mean."""

from __future__ import annotations

import re

_has_coding_line = re.compile(rb"\r\n(?i:transfer-encoding):").search
_length_line = re.compile(rb"\r\n(?i:content-length):[ \t]*+([0-9]++)[ \t]*+(?=\r\n)")


def with_one_length(raw: bytes) -> bytes | None:
    """Make equal Content-Length lines one, which llhttp does not; None when there is nothing to make one.

    RFC 9112 6.3, rule 5: a recipient may take the value of a field that was merely repeated.
    """
    first = _length_line.search(raw)
    if first is None or {match[1] for match in _length_line.finditer(raw, first.end())} != {first[1]}:
        return None
    return raw[: first.end()] + _length_line.sub(b"", raw[first.end() :])


def without_length(raw: bytes) -> bytes | None:
    """Take out a Content-Length beside a Transfer-Encoding, which overrides it; None when there is none.

    For what ends with its head "regardless of the header fields" (RFC 9112 6.3), so that nothing is in doubt.
    """
    repaired, lengths = _length_line.subn(b"", raw)
    return repaired if lengths == 1 and _has_coding_line(raw) else None
