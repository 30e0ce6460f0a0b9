"""Bodies that can be sent again."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrox.errors import ClientGone
from pyrox.green.body import body_reader
from pyrox.green.kept_body import KeptBody, can_send_again, keep_body
from pyrox.http.body import Body
from pyrox.http.framing import CHUNKED, ChunkLimits
from pyrox.http.message import Request
from tests.unit.green.bench import Bench
from tests.unit.green.rig import PATIENCE, Rig, soon


class Upper:
    """A filter whose state would be spoilt by a second run."""

    def __init__(self) -> None:
        self.ended = False

    def feed(self, chunk: bytes, /) -> bytes:
        assert not self.ended
        return chunk.upper()

    def finish(self) -> bytes:
        self.ended = True
        return b"!"


def kept(*pieces: bytes, limit: int = 100) -> KeptBody:
    rest = iter(pieces)
    return KeptBody(lambda: next(rest, b""), False, None, limit)


def put(body: Body = b"") -> Request:
    return Request("PUT", "/", {}, body)


def arriving(rig: Rig, length: int = CHUNKED) -> tuple[Request, socket.socket]:
    """A request whose body still comes, on the socket."""
    stream, client = rig.client()
    request = put()
    request._body = body_reader(stream, length, PATIENCE, ClientGone, ChunkLimits())
    return request, client


def test_is_the_same_each_time() -> None:
    body = kept(b"one", b"two")
    assert list(body) == list(body) == [b"one", b"two"]
    assert body.is_whole


@given(st.lists(st.binary(min_size=1, max_size=9), max_size=9), st.lists(st.integers(0, 9), max_size=4))
def test_goes_on_where_an_iteration_ended(pieces: list[bytes], ends: list[int]) -> None:
    body = kept(*pieces)
    for end in ends:
        part = [piece for piece, _ in zip(body, range(end), strict=False)]
        assert part == pieces[:end]
    assert list(body) == pieces


def test_longer_than_its_limit_it_passes_once() -> None:
    body = kept(b"x" * 60, b"y" * 41)
    assert list(body) == [b"x" * 60, b"y" * 41]
    assert not body.is_replayable
    with pytest.raises(RuntimeError, match="has been sent already"):
        list(body)


def test_as_long_as_its_limit_it_is_kept() -> None:
    body = kept(b"x" * 60, b"y" * 40)
    assert list(body) == list(body)


def test_reader_goes_on_after_an_iteration_was_killed(rig: Rig) -> None:
    """As an upload is that waits for the client when the server fails."""
    request, client = arriving(rig, 9)
    keep_body(request, None, 100)
    assert isinstance(request.body, KeptBody)
    assert request.body.length_to_come == 9
    client.sendall(b"abc")
    seen: list[bytes] = []
    first = soon(lambda: seen.extend(request.body))
    gevent.sleep(0)
    gevent.idle()
    first.kill()
    assert can_send_again(request)
    assert not can_send_again(request, needs_all=True)
    client.sendall(b"defghi")
    assert b"".join(request.body) == b"abcdefghi"
    assert can_send_again(request, needs_all=True)


def test_what_a_filter_made_is_kept_and_the_filter_runs_once(rig: Rig) -> None:
    request, client = arriving(rig, 3)
    request.filter_body(Upper())
    keep_body(request, None, 100)
    client.sendall(b"abc")
    assert [b"".join(request.body) for _ in range(2)] == [b"ABC!"] * 2
    assert can_send_again(request)


def test_iterator_that_raised_cannot_go_on() -> None:
    def fail() -> Iterator[bytes]:
        yield b"one"
        raise ValueError("no more")

    request = put(fail())
    keep_body(request, None, 100)
    with pytest.raises(ValueError, match="no more"):
        list(request.body)
    assert not can_send_again(request), "for it would seem to have ended"


@pytest.mark.parametrize("length", [101, 1 << 40])
def test_body_that_is_known_to_be_too_long_is_left_alone(rig: Rig, length: int) -> None:
    request, _ = arriving(rig, length)
    body = request.body
    keep_body(request, None, 100)
    assert request.body is body
    assert not can_send_again(request)


def test_body_in_memory_is_left_alone() -> None:
    request = put(b"x" * 1000)
    keep_body(request, None, 100)
    assert request.body == b"x" * 1000
    assert can_send_again(request, needs_all=True)


def test_body_that_was_read_before_is_left_alone(rig: Rig) -> None:
    request, client = arriving(rig, 3)
    exchange = Bench(rig).exchange(request)
    exchange.request_reader = reader = request._body  # type: ignore[assignment]
    client.sendall(b"abc")
    assert b"".join(request.body) == b"abc"
    keep_body(request, exchange, 100)
    assert request._body is reader


def test_kept_twice_it_is_kept_once() -> None:
    request = put(iter([b"abc"]))
    for _ in range(2):
        keep_body(request, None, 100)
        assert b"".join(request.body) == b"abc"


def test_filter_that_was_added_later_makes_it_one_that_passes_once() -> None:
    request = put(iter([b"abc"]))
    keep_body(request, None, 100)
    request.filter_body(Upper())
    assert not can_send_again(request)
