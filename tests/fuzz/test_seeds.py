"""The fuzzer's targets over its seeds and their nearest neighbours."""

from __future__ import annotations

import pytest

from pyrox.errors import ClientError
from pyrox.http.framing import ChunkedDecoder
from tests.fuzz import targets
from tests.fuzz.seeds import SEEDS
from tests.property.readers import Message, read_request, read_response


def test_every_target_has_seeds() -> None:
    assert {seed[0] for seed in SEEDS} == set(range(len(targets.TARGETS)))


@pytest.mark.parametrize(("kind", "read"), [(0, read_request), (1, lambda data: read_response(data, "GET"))])
def test_seeds_reach_past_the_parsers_on_both_sides(kind: int, read) -> None:  # type: ignore[no-untyped-def]
    outcomes = [read(seed[2:]) for seed in SEEDS if seed[0] == kind]
    assert sum(isinstance(outcome, Message) for outcome in outcomes) >= 5


def test_seeds_hold() -> None:
    for seed in SEEDS:
        targets.check(seed)


def test_seeds_cut_short_or_with_one_byte_gone_hold() -> None:
    for seed in SEEDS:
        for index in range(2, len(seed), 3):
            targets.check(seed[:index])
            targets.check(seed[:index] + seed[index + 1 :])


def test_check_reports_what_must_not_escape(monkeypatch: pytest.MonkeyPatch) -> None:
    def feed(decoder: ChunkedDecoder, data: bytes) -> bytes:
        raise IndexError("a bug")

    monkeypatch.setattr(ChunkedDecoder, "feed", feed)
    with pytest.raises(IndexError):
        targets.check(b"\x02\x000\r\n\r\n")


def test_check_reports_a_result_that_depends_on_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    def feed(decoder: ChunkedDecoder, data: bytes) -> bytes:
        if len(data) == 1:
            raise ClientError("a bug")
        return data

    monkeypatch.setattr(ChunkedDecoder, "feed", feed)
    with pytest.raises(AssertionError):
        targets.check(b"\x02\x00ab")
