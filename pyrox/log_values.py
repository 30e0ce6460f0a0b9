"""The values a line of the access log is made of: parts of an exchange, the time, and their escaping.

Method, target and version are those of the request line as the client sent it; header fields are read
when the exchange is over, as the middleware left them.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from pyrox.exchange import Exchange

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SPECIAL = frozenset((*range(0x20), *b'"\\', *range(0x7F, 0x100)))
# nginx's escaping, so that what reads its logs reads ours.
_ESCAPES = {code: f"\\x{code:02X}" for code in _SPECIAL}
# ``raw.translate(MARK_SPECIAL) is not raw``: it may need escaping; what a translation leaves as it is comes
# back itself. The fastest look at every byte: 0.15 us for 200 of them, where a regex takes 0.6.
MARK_SPECIAL = bytes(ord(" ") if code in _SPECIAL else code for code in range(256))


def escape(text: str) -> str:
    r"""Write ``"``, backslash, control and non-ASCII bytes as ``\xXX``, as nginx does.

    Header text is latin-1, one character a byte; text beyond latin-1 is written as its UTF-8 bytes.
    """
    if text and max(text) > "\xff":
        text = text.encode("utf-8", "surrogatepass").decode("latin-1")
    return text.translate(_ESCAPES)


def request_line(exchange: Exchange) -> bytes:
    """Return the request line as the client sent it; ``b""`` when none arrived."""
    request = exchange.request
    if exchange.raw_request_line or request is None:
        return exchange.raw_request_line
    return f"{request.method} {request.target} HTTP/{request.version}".encode()


def asked(exchange: Exchange) -> tuple[str, str, str]:
    """Return method, target and protocol of the request line; three ``"-"`` when it was not parsed."""
    if exchange.request is None:
        return "-", "-", "-"
    method, target, protocol = request_line(exchange).decode("latin-1").split(" ")
    return method, target, protocol


def client_address(exchange: Exchange) -> str:
    """Return the client's address; the peer's when there is no request to tell of another."""
    request = exchange.request
    return exchange.peer_address if request is None else request.client_address or exchange.peer_address


def request_id(exchange: Exchange) -> str | None:
    """Return what a middleware left in ``request.state["request_id"]``, or None."""
    request = exchange.request
    state = None if request is None else request._state  # .state would make the dict
    identifier = state.get("request_id") if state else None
    return None if identifier is None else str(identifier)


def user(exchange: Exchange) -> str | None:
    """Return who the client is, as authentication has found out, or None."""
    request = exchange.request
    state = None if request is None else request._state
    name = getattr(state.get("identity"), "name", None) if state else None
    return name if name and isinstance(name, str) else None


def escaped_user(exchange: Exchange) -> str:
    r"""Return the user as it stands between blanks, its own being ``\x20``; ``-`` for nobody."""
    name = user(exchange)
    return "-" if name is None else escape(name).replace(" ", "\\x20")


def observed(exchange: Exchange) -> str | None:
    """Return what middleware with ``mode = observe`` would have done, as in ``"limit=429"``, or None."""
    request = exchange.request
    state = None if request is None else request._state
    verdicts = state.get("observed") if state else None
    return ", ".join(map(str, verdicts)) if isinstance(verdicts, list) and verdicts else None


def phases(exchange: Exchange) -> list[float | None]:
    """Return the seconds of head, middleware, connect, upstream and send; None: it never began.

    A phase lasts from its mark to the next mark that was reached, or to the end. So they add up to the
    whole, and a failed exchange shows in which phase its time went. A mark that an earlier try left
    behind, later than the next one, does not count.
    """
    starts = (
        exchange.started,
        exchange.head_received,
        exchange.connect_started,
        exchange.connect_done,
        exchange.first_byte,
    )
    seconds: list[float | None] = [None] * len(starts)
    end = exchange.finished
    for position in (4, 3, 2, 1, 0):
        start = starts[position]
        if 0.0 < start <= end:
            seconds[position] = end - start
            end = start
    return seconds


class Clock:
    """The time as text, exact at each call; what stays the same for a second is made once a second.

    ``now`` gives the seconds since 1970, as ``time.time`` does. Local time follows the daylight saving
    rules and a clock that is set back. ``local_bytes``, for whoever cannot afford a call, is right from
    ``second`` until ``next_second``; ``advance`` makes it right again.
    """

    __slots__ = ("_iso", "_utc", "local_bytes", "next_second", "now", "second")

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.now = now
        self.advance(now())

    def local(self) -> str:
        """Return the local time of the common log format: ``10/Oct/2000:13:55:36 -0700``."""
        self._look()
        return self.local_bytes.decode()

    def iso(self) -> str:
        """Return the local time in RFC 3339: ``2000-10-10T13:55:36-07:00``."""
        self._look()
        return self._iso

    def utc(self) -> str:
        """Return the UTC time in RFC 3339, cut to milliseconds: ``2000-10-10T20:55:36.123Z``."""
        now = self._look()
        return f"{self._utc}.{int((now - self.second) * 1000):03d}Z"

    def msec(self) -> str:
        """Return the seconds since 1970 with milliseconds: ``971211336.123``."""
        return f"{self.now():.3f}"

    def _look(self) -> float:
        now = self.now()
        if not self.second <= now < self.next_second:
            self.advance(now)
        return now

    def advance(self, now: float) -> None:
        """Make the texts of the second that ``now`` is in."""
        self.second = int(now)
        self.next_second = self.second + 1
        local = time.localtime(self.second)
        hours, minutes = divmod(abs(local.tm_gmtoff) // 60, 60)
        sign = "-" if local.tm_gmtoff < 0 else "+"
        # Not %b: a middleware that calls setlocale() must not change the log's language.
        month = _MONTHS[local.tm_mon - 1]
        clf = time.strftime(f"%d/{month}/%Y:%H:%M:%S {sign}{hours:02d}{minutes:02d}", local)
        self.local_bytes = clf.encode()
        self._iso = time.strftime(f"%Y-%m-%dT%H:%M:%S{sign}{hours:02d}:{minutes:02d}", local)
        self._utc = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(self.second))
