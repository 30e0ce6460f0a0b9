"""The steps a transcript is made of; each plays itself on a ``Stage``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tests.conformance.expectations import Expected, ProxysAnswer
from tests.conformance.stage import Stage
from tests.support.wire import Wire


class Step(Protocol):
    def play(self, stage: Stage) -> None: ...


@dataclass
class ClientSends:
    data: bytes

    def play(self, stage: Stage) -> None:
        stage.client.send(self.data)


@dataclass
class UpstreamSends:
    data: bytes

    def play(self, stage: Stage) -> None:
        _latest(stage).send(self.data)


@dataclass
class UpstreamSees:
    """The next request, on any connection."""

    expected: Expected
    connection: str = ""  # "same" or "other" as the request before; "": either

    def play(self, stage: Stage) -> None:
        before = stage.upstream.latest
        seen = stage.upstream.next_request(self.expected.is_head)
        self.expected.assert_request(seen, stage.upstream.authority)
        if self.connection:
            is_same = stage.upstream.latest is before
            assert is_same == (self.connection == "same"), f"not on the {self.connection} connection"


@dataclass
class UpstreamSeesBody:
    """The rest of the request of which ``>>! head`` was the first part."""

    expected: Expected

    def play(self, stage: Stage) -> None:
        self.expected.assert_body(stage.upstream.finish_request())


@dataclass
class ClientGets:
    expected: Expected

    def play(self, stage: Stage) -> None:
        read = stage.client.read_response_head if self.expected.is_head else stage.client.read_response
        self.expected.assert_response(read(self.expected.method))


@dataclass
class ClientGetsAnswer:
    answer: ProxysAnswer

    def play(self, stage: Stage) -> None:
        self.answer.assert_response(stage.client.read_response())
        if self.answer.closes:
            assert stage.client.read_until_closed()[0] == b""


@dataclass
class ClientGetsBytes:
    data: bytes

    def play(self, stage: Stage) -> None:
        assert stage.client.read_exactly(len(self.data)) == self.data


@dataclass
class UpstreamSeesBytes:
    data: bytes

    def play(self, stage: Stage) -> None:
        assert _latest(stage).read_exactly(len(self.data)) == self.data


@dataclass
class ClientGetsNoMore:
    """The end of the stream; ``how`` is "reset" when a FIN would not do."""

    how: str

    def play(self, stage: Stage) -> None:
        rest, ended = stage.client.read_until_closed()
        assert rest == b"", f"the client got {rest!r} before the end"
        assert self.how != "reset" or ended == "reset", "the connection ended cleanly"


@dataclass
class ClientGetsNoLastChunk:
    """The end of the stream in the middle of a chunked body."""

    def play(self, stage: Stage) -> None:
        rest, _ = stage.client.read_until_closed()
        assert not rest.endswith(b"0\r\n\r\n"), f"a broken message looks whole: {rest!r}"


@dataclass
class ClientHearsNothing:
    def play(self, stage: Stage) -> None:
        assert stage.client.is_silent(), f"the client got {stage.client.unread!r}"


@dataclass
class ClientStays:
    def play(self, stage: Stage) -> None:
        stage.probe_on_same_connection = True


@dataclass
class ClientEnds:
    how: str

    def play(self, stage: Stage) -> None:
        _end(stage.client, self.how)


@dataclass
class UpstreamEnds:
    how: str

    def play(self, stage: Stage) -> None:
        _end(_latest(stage), self.how)
        if self.how != "half-close":
            stage.upstream.forget_latest()


@dataclass
class MayCut:
    def play(self, stage: Stage) -> None:
        stage.may_cut = True


@dataclass
class UpstreamSeesEnd:
    def play(self, stage: Stage) -> None:
        assert _latest(stage).read_until_closed() == (b"", "eof")


@dataclass
class UpstreamIsDiscarded:
    def play(self, stage: Stage) -> None:
        stage.upstream.await_discard()


@dataclass
class UpstreamIsKept:
    def play(self, stage: Stage) -> None:
        stage.expects_reuse = True


def _latest(stage: Stage) -> Wire:
    assert stage.upstream.latest is not None, "the transcript lets the upstream act before it saw a request"
    return stage.upstream.latest


def _end(wire: Wire, how: str) -> None:
    {"half-close": wire.half_close, "reset": wire.reset, "close": wire.close}[how]()
