"""Server-sent events: taken apart however they are cut, and made so that nothing can be slipped in."""

from __future__ import annotations

import pytest

from pyrox.http.server_sent_events import EventParser, EventTooLong, ServerSentEvent

STREAM = (
    ": hello\n\n"
    "data: one\n\n"
    "event: tick\r\nid: 7\r\nretry: 250\r\ndata:two\r\ndata: lines\r\n\r\n"
    "data\rid\r\r"
    "nonsense: x\n\n\n"
    "data: last"
)
EVENTS = [
    ServerSentEvent("one"),
    ServerSentEvent("two\nlines", "tick", "7", 250),
    ServerSentEvent("", id=""),
    ServerSentEvent("last"),
]


def parsed(pieces: list[str]) -> tuple[str, list[ServerSentEvent]]:
    parser = EventParser(1000)
    blocks = [block for piece in pieces for block in parser.feed(piece)]
    blocks += parser.finish()
    return "".join(text for text, _ in blocks), [event for _, event in blocks if event is not None]


def test_events_are_found_wherever_the_stream_is_cut() -> None:
    assert parsed([STREAM]) == (STREAM, EVENTS)
    assert parsed(list(STREAM)) == (STREAM, EVENTS)
    for cut in range(len(STREAM)):
        assert parsed([STREAM[:cut], STREAM[cut:]]) == (STREAM, EVENTS)


@pytest.mark.parametrize("ending", ["\n", "\r", "\r\n"])
def test_event_is_there_with_its_empty_line(ending: str) -> None:
    parser = EventParser(100)
    assert list(parser.feed(f"data: a{ending}")) == []
    [(_, event)] = parser.feed(ending[0])
    assert event == ServerSentEvent("a")
    assert [event for _, event in parser.feed("\n")] == [None]


@pytest.mark.parametrize("pieces", [["data: " + "x" * 100], ["data: x\n"] * 20, list("x" * 101)])
def test_event_longer_than_may_be_held_is_refused(pieces: list[str]) -> None:
    parser = EventParser(100)
    with pytest.raises(EventTooLong, match="longer than 100 characters"):
        for piece in pieces:
            list(parser.feed(piece))


@pytest.mark.parametrize("event", EVENTS)
def test_what_is_encoded_is_parsed_as_the_same(event: ServerSentEvent) -> None:
    assert parsed([event.encode()])[1] == [event]


def test_data_may_have_line_breaks_of_every_kind_and_nothing_else_may() -> None:
    event = ServerSentEvent("a\r\nb\rc\n\nid: 9")
    assert event.encode() == "data: a\ndata: b\ndata: c\ndata: \ndata: id: 9\n\n"
    for bad in (ServerSentEvent("a", event="x\ndata: y"), ServerSentEvent("a", id="1\r2")):
        with pytest.raises(ValueError, match="line break"):
            bad.encode()
