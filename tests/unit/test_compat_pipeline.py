"""``HttpFilterPipeline``: what each filter sees, in which order, and what ends a stage."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrox import filtering
from pyrox.compat_handlers import REQUEST_BODY, RESPONSE_BODY, STAGES, handlers_of
from pyrox.compat_pipeline import as_bytes
from pyrox.errors import HTTPError
from pyrox.filtering import FilterAction, HttpFilterPipeline
from pyrox.http import HttpRequest, HttpResponse

Act = Callable[..., Any]


class Output:
    """What a caller of the old interface passes."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)


class Everything(filtering.HttpFilter):
    """Handles all stages; writes down what it got, and does what it is told."""

    def __init__(self, name: str, log: list[tuple[Any, ...]], act: Act = lambda *arguments: None) -> None:
        self.name, self.log, self.act = name, log, act

    @filtering.handles_request_head
    def on_request_head(self, request: Any) -> Any:
        self.log.append((self.name, request))
        return self.act()

    @filtering.handles_response_head
    def on_response_head(self, response: Any, request: Any) -> Any:
        self.log.append((self.name, response, request))
        return self.act()

    @filtering.handles_request_body
    def on_request_body(self, part: bytes, output: Any) -> Any:
        self.log.append((self.name, part))
        return self.act(part, output)

    @filtering.handles_response_body
    def on_response_body(self, part: bytes, output: Any, request: Any) -> Any:
        self.log.append((self.name, part, request))
        return self.act(part, output)


def body_filter(act: Act, **attributes: Any) -> Any:
    """A filter of request bodies that is nothing but ``act(part, output)``."""

    class Body(filtering.HttpFilter):
        @filtering.handles_request_body
        def on_part(self, part: bytes, output: Any) -> Any:
            return act(part, output)

    for name, value in attributes.items():
        setattr(Body, name, value)
    return Body()


def run_parts(*acts: Act, parts: tuple[bytes, ...]) -> bytes:
    """Pass a body and its end through one filter for each of ``acts``; returns what comes out."""
    pipeline = HttpFilterPipeline([body_filter(act) for act in acts])
    output = Output()
    for part in (*parts, b""):
        pipeline.on_request_body(part, output)
    return b"".join(output.written)


# --- order and arguments ----------------------------------------------------------------------------


def test_filters_see_each_stage_in_their_order() -> None:
    log: list[tuple[Any, ...]] = []
    pipeline = HttpFilterPipeline([Everything("a", log)])
    pipeline.add_filter(Everything("b", log))
    request, response, output = HttpRequest(), HttpResponse(), Output()
    actions = [
        pipeline.on_request_head(request),
        pipeline.on_request_body(b"up", output),
        pipeline.on_response_head(response, request),
        pipeline.on_response_body(b"down", output, request),
    ]
    assert [action.kind for action in actions] == [filtering.NEXT_FILTER] * 4
    assert log == [
        *(("a", request), ("b", request)),
        *(("a", b"up"), ("b", b"up")),
        *(("a", response, request), ("b", response, request)),
        *(("a", b"down", request), ("b", b"down", request)),
    ]
    assert output.written == [b"up", b"down"]


def test_response_stages_need_no_request() -> None:
    log: list[tuple[Any, ...]] = []
    pipeline = HttpFilterPipeline([Everything("a", log)])
    response = HttpResponse()
    pipeline.on_response_head(response)
    pipeline.on_response_body(b"down", Output())
    assert log == [("a", response, None), ("a", b"down", None)]


def test_handlers_of_one_filter_run_in_the_order_of_their_names() -> None:
    log = []

    class Filter(filtering.HttpFilter):
        @filtering.handles_request_head
        def z(self, request: Any) -> None:
            log.append("z")

        @filtering.handles_request_head
        def a(self, request: Any) -> None:
            log.append("a")

    HttpFilterPipeline([Filter(), Filter()]).on_request_head(HttpRequest())
    assert log == ["a", "z", "a", "z"]


def test_empty_pipeline_passes_everything_on() -> None:
    pipeline, output = HttpFilterPipeline(), Output()
    assert pipeline.on_request_head(HttpRequest()).kind == filtering.NEXT_FILTER
    assert pipeline.on_request_body(b"x", output).kind == filtering.NEXT_FILTER
    assert (output.written, pipeline.intercepts_req_body(), pipeline.intercepts_resp_body()) == (
        [b"x"],
        False,
        False,
    )


def test_pipeline_knows_which_bodies_it_handles() -> None:
    class Down(filtering.HttpFilter):
        @filtering.handles_response_body
        def on_part(self, part: bytes, output: Any) -> None: ...

    up, down = body_filter(lambda part, output: None), Down()
    for chain, expected in (([up], (True, False)), ([down], (False, True)), ([down, up], (True, True))):
        pipeline = HttpFilterPipeline(chain)
        assert (pipeline.intercepts_req_body(), pipeline.intercepts_resp_body()) == expected


def test_filter_with_a_wrong_handler_is_refused_when_it_is_added() -> None:
    class Wrong(filtering.HttpFilter):
        @filtering.handles_request_head
        def on_head(self) -> None: ...

    with pytest.raises(TypeError, match=r"Wrong\.on_head handles the request head"):
        HttpFilterPipeline().add_filter(Wrong())


# --- actions ----------------------------------------------------------------------------------------


def run_all(pipeline: HttpFilterPipeline) -> dict[str, FilterAction]:
    return dict(
        zip(
            STAGES,
            (
                pipeline.on_request_head(HttpRequest()),
                pipeline.on_request_body(b"x", Output()),
                pipeline.on_response_head(HttpResponse()),
                pipeline.on_response_body(b"x", Output()),
            ),
            strict=True,
        )
    )


@pytest.mark.parametrize("action", [filtering.consume(), filtering.reject(), filtering.reply(HttpResponse())])
def test_action_ends_the_stage_and_is_returned(action: FilterAction) -> None:
    log: list[tuple[Any, ...]] = []
    pipeline = HttpFilterPipeline([Everything("a", log, lambda *_: action), Everything("b", log)])
    assert list(run_all(pipeline).values()) == [action] * 4
    assert {entry[0] for entry in log} == {"a"}


@pytest.mark.parametrize("action", [None, filtering.next(), FilterAction()])
def test_next_and_none_go_on(action: FilterAction | None) -> None:
    log: list[tuple[Any, ...]] = []
    pipeline = HttpFilterPipeline([Everything("a", log, lambda *_: action), Everything("b", log)])
    assert {stage: result.kind for stage, result in run_all(pipeline).items()} == dict.fromkeys(STAGES, 0)
    assert [entry[0] for entry in log] == ["a", "b"] * 4


def test_action_ends_the_stage_for_later_handlers_of_the_same_filter() -> None:
    class Filter(filtering.HttpFilter):
        @filtering.handles_request_head
        def a(self, request: Any) -> FilterAction:
            return filtering.consume()

        @filtering.handles_request_head
        def b(self, request: Any) -> None:
            raise AssertionError("seen")

    assert HttpFilterPipeline([Filter()]).on_request_head(HttpRequest()).is_consuming()


def test_route_is_for_request_heads_only(caplog: pytest.LogCaptureFixture) -> None:
    log: list[tuple[Any, ...]] = []
    pipeline = HttpFilterPipeline(
        [Everything("a", log, lambda *_: filtering.route("b:1")), Everything("b", log)]
    )
    actions = run_all(pipeline)
    assert [action.is_routing() for action in actions.values()] == [True, False, False, False]
    assert [entry[0] for entry in log] == ["a", *["a", "b"] * 3]
    assert [record.getMessage() for record in caplog.records] == [
        f"filter 'Everything' returned route() at the {stage}; ignored" for stage in STAGES[1:]
    ]
    assert {record.levelno for record in caplog.records} == {logging.ERROR}


@pytest.mark.parametrize("result", ["text", 5, True, object()])
def test_result_that_is_no_action_is_a_failure(result: object, caplog: pytest.LogCaptureFixture) -> None:
    pipeline = HttpFilterPipeline([Everything("a", [], lambda *_: result)])
    assert pipeline.on_request_head(HttpRequest()).is_rejecting()
    assert len(caplog.records) == 1


# --- failures ---------------------------------------------------------------------------------------


def fail(*arguments: Any) -> None:
    raise LookupError("a mistake")


def test_failure_is_logged_once_and_rejects(caplog: pytest.LogCaptureFixture) -> None:
    log: list[tuple[Any, ...]] = []
    failing = Everything("a", log, fail)
    pipeline = HttpFilterPipeline.of([("alias", failing, handlers_of(Everything))])
    pipeline.add_filter(Everything("b", log))
    for action in run_all(pipeline).values():
        assert action.is_rejecting() and action.payload is None
    assert [record.getMessage() for record in caplog.records] == [
        f"filter 'alias' failed in on_{stage.replace(' ', '_')}, at the {stage}" for stage in STAGES
    ]
    for record in caplog.records:
        assert record.exc_info is not None and isinstance(record.exc_info[1], LookupError)
    assert {entry[0] for entry in log} == {"a"}


def test_answer_that_is_raised_passes(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(*arguments: Any) -> None:
        raise HTTPError(403)

    with pytest.raises(HTTPError):
        HttpFilterPipeline([Everything("a", [], refuse)]).on_request_head(HttpRequest())
    assert caplog.records == []


def test_what_stops_a_greenlet_is_not_swallowed() -> None:
    def stop(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        HttpFilterPipeline([Everything("a", [], stop)]).on_request_head(HttpRequest())


def test_handler_without_a_name_may_fail_too(caplog: pytest.LogCaptureFixture) -> None:
    class Handler:
        def __call__(self, request: Any) -> None:
            raise LookupError("a mistake")

    class Filter(filtering.HttpFilter):
        on_head = filtering.handles_request_head(Handler())

    assert HttpFilterPipeline([Filter()]).on_request_head(HttpRequest()).is_rejecting()
    assert "failed in <" in caplog.text and "LookupError: a mistake" in caplog.text


# --- bodies -----------------------------------------------------------------------------------------


def upper(part: bytes, output: Any) -> None:
    output.write(part.upper())


def tail(part: bytes, output: Any) -> None:
    output.write(part)
    if not part:
        output.write("end")


def drop(part: bytes, output: Any) -> None:
    output.write(b"")


def leave(part: bytes, output: Any) -> None:
    """Writes nothing."""


class Holding:
    """Keeps all parts for the end."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def __call__(self, part: bytes, output: Any) -> None:
        self.seen.append(part)
        output.write(b"" if part else b"".join(self.seen))


def test_nothing_written_leaves_a_part_unchanged() -> None:
    assert run_parts(leave, leave, parts=(b"a", b"b")) == b"ab"


def test_each_sees_what_the_one_before_wrote() -> None:
    first, second = Holding(), Holding()
    assert run_parts(upper, first, second, parts=(b"a", b"b")) == b"AB"
    assert first.seen == [b"A", b"B", b""]
    assert second.seen == [b"AB", b""]


def test_dropped_part_is_not_seen_by_those_behind_but_the_end_is() -> None:
    behind = Holding()
    assert run_parts(drop, behind, parts=(b"a", b"b")) == b""
    assert behind.seen == [b""]


def test_end_comes_once_behind_what_was_written_at_the_end() -> None:
    behind = Holding()
    assert run_parts(tail, behind, parts=(b"a",)) == b"aend"
    assert behind.seen == [b"a", b"end", b""]


def test_each_may_add_its_own_end() -> None:
    assert run_parts(tail, upper, tail, parts=(b"a",)) == b"AENDend"


def test_body_without_a_part_has_an_end() -> None:
    seen = Holding()
    assert run_parts(seen, tail, parts=()) == b"end"
    assert seen.seen == [b""]


def test_several_writes_are_one_part() -> None:
    def spell(part: bytes, output: Any) -> None:
        for start in range(len(part)):
            output.write(part[start : start + 1])

    behind = Holding()
    run_parts(spell, behind, parts=(b"abc",))
    assert behind.seen == [b"abc", b""]


def test_writing_byte_by_byte_takes_time_in_proportion() -> None:
    """A megabyte in single bytes: joined one by one this would move 500 GB."""

    def spell(part: bytes, output: Any) -> None:
        for byte in memoryview(part).cast("B"):
            output.write(bytes((byte,)))

    data = bytes(range(256)) * 4096
    assert run_parts(spell, parts=(data,)) == data


@pytest.mark.parametrize(
    ("written", "result"),
    [
        (b"x", b"x"),
        (bytearray(b"x"), b"x"),
        (memoryview(b"x"), b"x"),
        ("\u20ac", b"\xe2\x82\xac"),
        ("", b""),
    ],
)
def test_text_and_bytes_of_all_kinds_may_be_written(written: Any, result: bytes) -> None:
    assert as_bytes(written) == result
    assert run_parts(lambda part, output: output.write(written if part else b""), parts=(b"a",)) == result


@pytest.mark.parametrize("written", [5, None, [1, 2], ["a"], 1.5])
def test_what_is_no_part_of_a_body_is_a_failure(written: Any, caplog: pytest.LogCaptureFixture) -> None:
    pipeline = HttpFilterPipeline([body_filter(lambda part, output: output.write(written))])
    assert pipeline.on_request_body(b"a", Output()).is_rejecting()
    assert "TypeError: a part of a body is bytes or str" in caplog.text


def test_result_of_write_may_be_returned() -> None:
    assert run_parts(lambda part, output: output.write(part.upper()), parts=(b"a", b"b")) == b"AB"


def test_buffer_that_is_written_may_be_used_again() -> None:
    buffer = bytearray(b"a")

    def reuse(part: bytes, output: Any) -> None:
        output.write(buffer)
        buffer[0] += 1

    assert run_parts(reuse, parts=(b"x", b"y")) == b"abc"


def test_consumed_part_keeps_what_was_written() -> None:
    def take(part: bytes, output: Any) -> FilterAction:
        output.write(part.upper())
        return filtering.consume()

    behind = Holding()
    assert run_parts(take, behind, parts=(b"a", b"b")) == b"AB"
    assert behind.seen == []


def test_filter_that_consumes_still_sees_the_end() -> None:
    seen = []

    def take(part: bytes, output: Any) -> FilterAction:
        seen.append(part)
        return filtering.consume()

    assert run_parts(Holding(), take, parts=(b"a",)) == b"a"
    assert seen == [b"a", b""]


def test_rejection_at_what_another_held_back_is_final() -> None:
    seen = []

    def refuse(part: bytes, output: Any) -> FilterAction:
        seen.append(part)
        return filtering.reject()

    pipeline = HttpFilterPipeline([body_filter(Holding()), body_filter(refuse)])
    assert pipeline.on_request_body(b"a", Output()).kind == filtering.NEXT_FILTER
    assert pipeline.on_request_body(b"", Output()).is_rejecting()
    assert seen == [b"a"]


@given(st.lists(st.binary(min_size=1), max_size=5), st.lists(st.sampled_from([leave, upper, tail, Holding])))
def test_any_chain_makes_of_any_parts_what_it_makes_of_the_whole(parts: list[bytes], acts: list[Any]) -> None:
    def made() -> list[Act]:
        return [act() if act is Holding else act for act in acts]

    assert run_parts(*made(), parts=tuple(parts)) == run_parts(
        *made(), parts=(b"".join(parts),) * bool(parts)
    )


# --- groups -----------------------------------------------------------------------------------------


def test_filters_in_a_row_that_decode_are_one_group() -> None:
    chain = [body_filter(leave, decode_body=decodes) for decodes in (False, True, True, False, True)]
    chain.insert(2, filtering.HttpFilter())  # it handles no body and parts nobody
    groups = [
        (decodes, len(group._members)) for decodes, group in HttpFilterPipeline(chain).groups(REQUEST_BODY)
    ]
    assert groups == [(False, 1), (True, 2), (False, 1), (True, 1)]
    assert list(HttpFilterPipeline(chain).groups(RESPONSE_BODY)) == []
