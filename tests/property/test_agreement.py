"""Pyrox, llhttp and h11 read the same message from the same bytes, or the table says why not."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.property import readers
from tests.property.disagreements import FRAMED_OTHERWISE, MORE_LENIENT, STRICTER, Row
from tests.property.messages import mutated, requests, responses
from tests.property.readers import Incomplete, Message, Outcome, Refused


def permitted(rows: tuple[Row, ...], reader: str, refusal: str, data: bytes) -> bool:
    return any(row.covers(reader, refusal, data) for row in rows)


def check_agreement(mine: Outcome, reader: str, theirs: Outcome, data: bytes) -> None:
    """Raise ``AssertionError`` when the two outcomes may not stand beside each other.

    Who refuses, or sees the end, earlier is no disagreement unless the other sees a whole message.
    """
    if isinstance(mine, Message) and isinstance(theirs, Message):
        assert mine == theirs or permitted(FRAMED_OTHERWISE, reader, "", data)
    elif isinstance(mine, Message):
        refusal = theirs.detail if isinstance(theirs, Refused) else "incomplete"
        assert permitted(MORE_LENIENT, reader, refusal, data), f"only {reader} refuses: {theirs}"
    elif isinstance(theirs, Message):
        assert isinstance(mine, Refused), f"{reader} sees the end of the message, Pyrox does not"
        assert permitted(STRICTER, reader, mine.detail, data), f"only Pyrox refuses: {mine}"


def outcomes_of(data: bytes) -> tuple[Outcome, dict[str, Outcome]]:
    """What Pyrox and the others make of a message, the answer to a GET if it is a response."""
    if re.match(rb"[A-Z]+/", data):
        theirs = {"llhttp": readers.llhttp_response(data), "h11": readers.h11_response(data, "GET")}
        return readers.read_response(data, "GET"), theirs
    return readers.read_request(data), {
        "llhttp": readers.llhttp_request(data),
        "h11": readers.h11_request(data),
    }


def read_with_known_fields(data: bytes) -> Outcome:
    """Read the same fields first in a request that leaves nothing to refuse but them.

    Pyrox remembers field blocks that it found good: nothing else may be found good because of that.
    """
    readers.read_request(re.sub(rb"\A(?:\r\n)?[^\r\n]* (HTTP/1.[01]\r\n)", rb"GET / \1", data))
    return readers.read_request(data)


@given(st.one_of(requests(), requests(), mutated(requests())))
def test_requests_are_read_alike(data: bytes) -> None:
    mine = read_with_known_fields(data)
    check_agreement(mine, "llhttp", readers.llhttp_request(data), data)
    check_agreement(mine, "h11", readers.h11_request(data), data)


@given(st.one_of(responses(), responses(), mutated(responses())))
def test_responses_are_read_alike(data: bytes) -> None:
    mine = readers.read_response(data, "GET")
    check_agreement(mine, "llhttp", readers.llhttp_response(data), data)
    check_agreement(mine, "h11", readers.h11_response(data, "GET"), data)


@given(responses())
def test_response_to_head_has_no_body_to_h11_either(data: bytes) -> None:
    theirs = readers.h11_response(data, "HEAD")
    if isinstance(theirs, Message):  # h11 also refuses framing fields that frame nothing here
        check_agreement(readers.read_response(data, "HEAD"), "h11", theirs, data)


@pytest.mark.parametrize("row", STRICTER, ids=lambda row: row.refusal[:30])
def test_row_of_what_only_pyrox_refuses_still_holds(row: Row) -> None:
    taken_by = set()
    for example in row.examples:
        mine, theirs = outcomes_of(example)
        assert isinstance(mine, Refused), example
        takers = [reader for reader in row.readers if isinstance(theirs[reader], Message)]
        assert takers, example
        assert all(row.covers(reader, mine.detail, example) for reader in takers), (mine, example)
        taken_by.update(takers)
    assert taken_by == set(row.readers)


@pytest.mark.parametrize("row", MORE_LENIENT, ids=lambda row: row.refusal[:30])
def test_row_of_what_only_another_refuses_still_holds(row: Row) -> None:
    (reader,) = row.readers
    for example in row.examples:
        mine, theirs = outcomes_of(example)
        assert isinstance(mine, Message), example
        refusal = theirs[reader]
        assert not isinstance(refusal, Message)
        assert row.covers(reader, refusal.detail if isinstance(refusal, Refused) else "incomplete", example)


@pytest.mark.parametrize("row", FRAMED_OTHERWISE, ids=lambda row: repr(row.sign))
def test_row_of_what_another_ends_elsewhere_still_holds(row: Row) -> None:
    (reader,) = row.readers
    for example in row.examples:
        mine, theirs = outcomes_of(example)
        assert isinstance(mine, Message) and isinstance(theirs[reader], Message)
        assert mine != theirs[reader]
        assert row.covers(reader, "", example)


def test_plain_messages_are_read_alike_by_all_three() -> None:
    """The comparison compares something: without it everything could be refused by everyone."""
    body = b"5;a=b\r\nhello\r\n0\r\nX-T: 1\r\n\r\nrest"
    expected = Message(b"POST", ((b"x-a", b"1"),), b"hello", ((b"x-t", b"1"),), b"rest")
    mine, theirs = outcomes_of(
        b"POST / HTTP/1.1\r\nHost: a\r\nX-A: 1 \r\nTransfer-Encoding: chunked\r\n\r\n" + body
    )
    assert [mine, *theirs.values()] == [expected] * 3
    mine, theirs = outcomes_of(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc")
    assert [mine, *theirs.values()] == [Message(200, (), b"ab", (), b"c")] * 3
    mine, theirs = outcomes_of(b"HTTP/1.1 200 OK\r\n\r\nabc")
    assert [mine, *theirs.values()] == [Message(200, (), b"abc", (), b"")] * 3
    mine, theirs = outcomes_of(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabc")
    assert [mine, *theirs.values()] == [Incomplete()] * 3
