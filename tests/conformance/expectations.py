"""How a message on the wire is compared with the one in a transcript."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tests.support.messages import Message, WireRequest, WireResponse, split_field

# Fields the proxy writes, changes or moves: compared by value, not by place.
_PROXYS_REQUEST_FIELDS = frozenset(
    b"host connection te upgrade content-length transfer-encoding via forwarded max-forwards "
    b"x-forwarded-for x-forwarded-proto x-forwarded-host".split()
)
_PROXYS_RESPONSE_FIELDS = frozenset(
    b"connection upgrade content-length transfer-encoding via date keep-alive".split()
)
_is_date = re.compile(
    rb"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{2} [A-Z][a-z]{2} 20[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT"
).fullmatch

Fields = list[tuple[bytes, bytes]]


@dataclass
class Expected:
    """A message as it stands in a transcript, and what the directions around it say of it."""

    start_line: bytes
    fields: Fields
    body: bytes
    trailers: list[bytes] = field(default_factory=list)
    is_local: bool = False
    has_no_body: bool = False
    is_truncated: bool = False
    is_head: bool = False

    @classmethod
    def parse(cls, data: bytes) -> Expected:
        """Take a message apart; its body is what comes after the empty line, as it is."""
        head, end, body = data.partition(b"\r\n\r\n")
        if not end:
            raise ValueError(f"an expected message needs its empty line: {data!r}")
        start_line, *lines = head.split(b"\r\n")
        return cls(start_line, [split_field(line) for line in lines], body)

    @property
    def method(self) -> str:
        """The method to read a response by."""
        return "HEAD" if self.has_no_body else "GET"

    def assert_request(self, seen: WireRequest, upstream: str) -> None:
        """Compare a request that the upstream, ``host:port``, saw."""
        self.fields = [(n, upstream.encode() if v == b"<upstream>" else v) for n, v in self.fields]
        host = next((value for name, value in self.fields if name.lower() == b"host"), b"")
        version = b"1.0" if self.start_line.endswith(b"1.0") else b"1.1"
        usual = {
            b"via": version + b" pyrox",
            b"x-forwarded-for": b"127.0.0.1",
            b"x-forwarded-proto": b"http",
            b"x-forwarded-host": host,
        }
        self._assert_head(seen, _PROXYS_REQUEST_FIELDS, usual)
        self.assert_body(seen)

    def assert_response(self, got: WireResponse) -> None:
        """Compare a response that the client got."""
        is_bare = self.is_local or got.is_informational
        usual = {} if is_bare else {b"via": b"1.1 pyrox"}
        self._assert_date(got)
        self._assert_head(got, _PROXYS_RESPONSE_FIELDS, usual)
        self.assert_body(got)

    def assert_body(self, message: Message) -> None:
        """Compare body, trailers and the way the message ended; a head has none of them."""
        if self.is_head:
            return
        if self.is_truncated:
            assert not message.is_complete, f"a truncated message looks whole: {message!r}"
            assert self.body.startswith(message.body)
            return
        assert message.is_complete, f"a whole message was cut: {message!r}"
        assert message.body == self.body
        assert sorted(message.trailers) == sorted(self.trailers)

    def _assert_date(self, got: WireResponse) -> None:
        if any(name.lower() == b"date" for name, _ in self.fields):
            return
        dates = got.get_all("date")
        got.lines = [line for line in got.lines if not line.lower().startswith(b"date:")]
        if got.status >= 200:
            assert len(dates) == 1 and _is_date(dates[0]), f"no Date, or a strange one: {dates!r}"

    def _assert_head(self, message: Message, proxys: frozenset[bytes], usual: dict[bytes, bytes]) -> None:
        written = {name.lower(): value for name, value in self.fields}
        any_value = {name for name, value in written.items() if value == b"<any>"}
        added = [(name, value) for name, value in usual.items() if name not in written]
        got = [(name, b"<any>" if name.lower() in any_value else value) for name, value in message.fields]
        expected = [(name, value) for name, value in self.fields if value != b"<none>"]
        assert message.start_line == self.start_line
        assert _owned(got, proxys) == sorted([*_owned(expected, proxys), *added])
        assert _end_to_end(got, proxys) == _end_to_end(expected, proxys)


def _owned(fields: Fields, proxys: frozenset[bytes]) -> Fields:
    return sorted((name.lower(), value) for name, value in fields if name.lower() in proxys)


def _end_to_end(fields: Fields, proxys: frozenset[bytes]) -> Fields:
    return [(name, value) for name, value in fields if name.lower() not in proxys]


@dataclass
class ProxysAnswer:
    """An answer that Pyrox makes itself: small, generic, explained, and the last one on its connection."""

    status: int
    token: str = ""
    media_type: bytes = b"text/plain"
    closes: bool = True

    def assert_response(self, got: WireResponse) -> None:
        """Check all that such an answer must have."""
        assert got.status == self.status, got
        assert got.is_complete and len(got.body) < 500 and b"Traceback" not in got.body
        assert (got.get("content-type") or b"").split(b";")[0] == self.media_type, got
        assert len(got.get_all("date")) == 1
        self._assert_proxy_status((got.get("proxy-status") or b"").decode())
        if self.status == 503:
            assert re.fullmatch(rb"[1-9][0-9]*", got.get("retry-after") or b""), got
        if self.closes:
            assert got.get("connection") == b"close", got

    def _assert_proxy_status(self, value: str) -> None:
        name, _, error = value.partition("; error=")
        assert name == "pyrox" and re.fullmatch(r"[a-z_]+", error), value
        assert error == self.token or not self.token, value
