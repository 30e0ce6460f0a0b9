"""What filters of Pyrox 0.4 are written with: actions, and decorated methods of any kind."""

from __future__ import annotations

import functools
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from pyrox import compat_handlers, filtering
from pyrox.compat_handlers import (
    REQUEST_BODY,
    REQUEST_HEAD,
    RESPONSE_BODY,
    RESPONSE_HEAD,
    STAGES,
    FilterAction,
    handlers_of,
)
from pyrox.filtering import pipeline
from pyrox.http import HttpResponse

DECORATORS = {
    REQUEST_HEAD: filtering.handles_request_head,
    REQUEST_BODY: filtering.handles_request_body,
    RESPONSE_HEAD: filtering.handles_response_head,
    RESPONSE_BODY: filtering.handles_response_body,
}

# --- actions ----------------------------------------------------------------------------------------

RESPONSE = HttpResponse()
PREDICATES = (
    "breaks_pipeline",
    "intercepts_request",
    "should_connect_upstream",
    "is_consuming",
    "is_rejecting",
    "is_replying",
    "is_routing",
)


@pytest.mark.parametrize(
    ("action", "kind", "payload", "true"),
    [
        (filtering.next(), 0, None, {"should_connect_upstream"}),
        (filtering.pass_event(), 0, None, {"should_connect_upstream"}),
        (filtering.consume(), 1, None, {"breaks_pipeline", "should_connect_upstream", "is_consuming"}),
        (filtering.reject(), 2, None, {"breaks_pipeline", "intercepts_request", "is_rejecting"}),
        (filtering.reject(RESPONSE), 2, RESPONSE, {"breaks_pipeline", "intercepts_request", "is_rejecting"}),
        (filtering.route("a:1"), 3, "a:1", {"breaks_pipeline", "should_connect_upstream", "is_routing"}),
        (
            filtering.reply(RESPONSE, b"x"),
            4,
            (RESPONSE, b"x"),
            {"breaks_pipeline", "intercepts_request", "is_replying"},
        ),
        (
            filtering.reply(RESPONSE),
            4,
            (RESPONSE, None),
            {"breaks_pipeline", "intercepts_request", "is_replying"},
        ),
    ],
    ids=repr,
)
def test_action_says_what_it_is(action: FilterAction, kind: int, payload: object, true: set[str]) -> None:
    assert (action.kind, action.payload) == (kind, payload)
    assert {name for name in PREDICATES if getattr(action, name)()} == true


def test_action_is_next_unless_told_otherwise() -> None:
    action = FilterAction()
    assert (action.kind, action.payload) == (filtering.NEXT_FILTER, None)
    assert FilterAction(filtering.REJECT, RESPONSE).payload is RESPONSE
    assert FilterAction(kind=filtering.ROUTE, payload="a").is_routing()
    assert repr(FilterAction(3, "a:1")) == "FilterAction(3, 'a:1')"


def test_each_action_is_an_object_of_its_own() -> None:
    """A filter may change the one it got."""
    action = filtering.next()
    action.kind = filtering.CONSUME
    assert filtering.next().kind == filtering.NEXT_FILTER


def test_constants_are_those_of_the_time() -> None:
    names = ("NEXT_FILTER", "CONSUME", "REJECT", "ROUTE", "REPLY")
    assert [getattr(filtering, name) for name in names] == [0, 1, 2, 3, 4]
    assert [getattr(pipeline, name) for name in names] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", filtering.__all__)
def test_both_modules_have_the_same_names(name: str) -> None:
    assert getattr(filtering, name) is getattr(pipeline, name)


# --- handlers ---------------------------------------------------------------------------------------


def names_of(filter_class: type, stage: str) -> list[str]:
    return [name for name, _ in handlers_of(filter_class)[stage]]


def arity_of(function: Any, stage: str) -> int:
    """The arguments that ``function`` is called with as the handler of a class."""
    filter_class = type("Filter", (filtering.HttpFilter,), {"handler": DECORATORS[stage](function)})
    [(_, arity)] = handlers_of(filter_class)[stage]
    return arity


def test_handlers_run_in_the_order_of_their_names() -> None:
    class Filter(filtering.HttpFilter):
        @filtering.handles_request_head
        def b(self, request: Any) -> None: ...

        @filtering.handles_request_head
        def a(self, request: Any) -> None: ...

        @filtering.handles_request_head
        def _c(self, request: Any) -> None: ...

        @filtering.handles_request_head
        def B(self, request: Any) -> None: ...

        def helper(self, request: Any) -> None: ...

    assert names_of(Filter, REQUEST_HEAD) == ["B", "_c", "a", "b"]
    assert [names_of(Filter, stage) for stage in STAGES[1:]] == [[], [], []]


def test_stacked_decorators_make_a_handler_of_several_stages() -> None:
    class Filter(filtering.HttpFilter):
        @filtering.handles_request_head
        @filtering.handles_response_head
        def on_head(self, head: Any) -> None: ...

        @filtering.handles_request_body
        @filtering.handles_response_body
        def on_body(self, part: Any, output: Any) -> None: ...

    assert handlers_of(Filter) == {
        REQUEST_HEAD: (("on_head", 1),),
        REQUEST_BODY: (("on_body", 2),),
        RESPONSE_HEAD: (("on_head", 1),),
        RESPONSE_BODY: (("on_body", 2),),
    }


def test_decorator_that_is_there_twice_counts_once() -> None:
    class Filter(filtering.HttpFilter):
        @filtering.handles_request_head
        @filtering.handles_request_head
        def on_head(self, head: Any) -> None: ...

    assert names_of(Filter, REQUEST_HEAD) == ["on_head"]


def test_decorator_returns_the_function_itself() -> None:
    def function(self: Any, request: Any) -> None: ...

    for decorator in DECORATORS.values():
        assert decorator(function) is function


class Parent(filtering.HttpFilter):
    @filtering.handles_request_head
    def first(self, request: Any) -> None: ...

    @filtering.handles_request_head
    def second(self, request: Any) -> None: ...


def test_handlers_are_inherited_overridden_and_taken_away() -> None:
    class Mixin:
        @filtering.handles_response_head
        def third(self, response: Any) -> None: ...

    class Child(Parent, Mixin):
        @filtering.handles_request_head
        def first(self, request: Any) -> None: ...

        def second(self, request: Any) -> None:
            """Overridden without the decorator: no handler any more."""

    assert (names_of(Child, REQUEST_HEAD), names_of(Child, RESPONSE_HEAD)) == (["first"], ["third"])
    assert names_of(Parent, REQUEST_HEAD) == ["first", "second"]


def test_class_needs_no_marker_as_its_base() -> None:
    class Filter:
        @filtering.handles_request_head
        def on_head(self, request: Any) -> None: ...

    assert names_of(Filter, REQUEST_HEAD) == ["on_head"]


def test_properties_and_descriptors_are_not_touched() -> None:
    class Filter(filtering.HttpFilter):
        @property
        def costly(self) -> Any:
            raise AssertionError("read")

        @filtering.handles_request_head
        def on_head(self, request: Any) -> None: ...

    assert names_of(Filter, REQUEST_HEAD) == ["on_head"]


def test_static_and_class_methods_are_handlers() -> None:
    class Filter(filtering.HttpFilter):
        @staticmethod
        @filtering.handles_request_head
        def inner_static(request: Any) -> None: ...

        @filtering.handles_request_head
        @staticmethod
        def outer_static(request: Any) -> None: ...

        @classmethod
        @filtering.handles_response_body
        def inner_class(cls, part: Any, output: Any, request: Any) -> None: ...

        @filtering.handles_response_body
        @classmethod
        def outer_class(cls, part: Any, output: Any) -> None: ...

    assert handlers_of(Filter)[REQUEST_HEAD] == (("inner_static", 1), ("outer_static", 1))
    assert handlers_of(Filter)[RESPONSE_BODY] == (("inner_class", 3), ("outer_class", 2))


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def anonymous(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator of the time, which forgot ``wraps``."""
    return lambda *args: function(*args)


def test_handlers_stand_above_and_below_other_decorators() -> None:
    class Filter(filtering.HttpFilter):
        @filtering.handles_response_head
        @logged
        def above(self, response: Any, request: Any) -> None: ...

        @logged
        @filtering.handles_response_head
        def below(self, response: Any) -> None: ...

        @filtering.handles_response_head
        @anonymous
        def forgetful(self, response: Any, request: Any) -> None: ...

    assert handlers_of(Filter)[RESPONSE_HEAD] == (("above", 2), ("below", 1), ("forgetful", 2))


@pytest.mark.parametrize(
    ("stage", "function", "arity"),
    [
        (REQUEST_HEAD, lambda self, request: None, 1),
        (REQUEST_HEAD, lambda self, request, more=None: None, 1),
        (REQUEST_HEAD, lambda self, *args: None, 1),
        (REQUEST_HEAD, lambda *args: None, 1),
        (REQUEST_HEAD, lambda self, request, **options: None, 1),
        (REQUEST_HEAD, lambda self, request, *, option=None: None, 1),
        (REQUEST_BODY, lambda self, part, output: None, 2),
        (REQUEST_BODY, lambda self, part, *args: None, 2),
        (RESPONSE_HEAD, lambda self, response: None, 1),
        (RESPONSE_HEAD, lambda self, response, request: None, 2),
        (RESPONSE_HEAD, lambda self, response, request=None: None, 2),
        (RESPONSE_HEAD, lambda self, response, *args: None, 2),
        (RESPONSE_HEAD, lambda self, response, request, more=None: None, 2),
        (RESPONSE_BODY, lambda self, part, output: None, 2),
        (RESPONSE_BODY, lambda self, part, output, request: None, 3),
        (RESPONSE_BODY, lambda self, part, output, request=None: None, 3),
        (RESPONSE_BODY, lambda self, *args: None, 3),
    ],
)
def test_arity_decides_the_arguments(stage: str, function: Any, arity: int) -> None:
    assert arity_of(function, stage) == arity


@pytest.mark.parametrize(
    ("stage", "function", "expected"),
    [
        (REQUEST_HEAD, lambda: None, "1 argument"),
        (REQUEST_HEAD, lambda self: None, "1 argument"),
        (REQUEST_HEAD, lambda self, request, response: None, "1 argument"),
        (REQUEST_HEAD, lambda self, *, request: None, "1 argument"),
        (REQUEST_HEAD, lambda self, request, *, option: None, "1 argument"),
        (REQUEST_BODY, lambda self, part: None, "2 arguments"),
        (REQUEST_BODY, lambda self, part, output, request: None, "2 arguments"),
        (RESPONSE_HEAD, lambda self: None, "1 or 2 arguments"),
        (RESPONSE_HEAD, lambda self, response, request, more: None, "1 or 2 arguments"),
        (RESPONSE_BODY, lambda self, part: None, "2 or 3 arguments"),
        (RESPONSE_BODY, lambda self, part, output, request, more: None, "2 or 3 arguments"),
    ],
)
def test_wrong_arity_is_an_error_that_says_what_is_right(stage: str, function: Any, expected: str) -> None:
    with pytest.raises(TypeError) as caught:
        arity_of(function, stage)
    assert str(caught.value) == f"Filter.handler handles the {stage} and must take {expected}"


# --- read once --------------------------------------------------------------------------------------


def test_class_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Filter(Parent):
        pass

    first = handlers_of(Filter)
    monkeypatch.setattr(compat_handlers, "_read_handlers", None)
    assert handlers_of(Filter) is first


def test_classes_that_a_factory_makes_anew_are_not_kept_for_ever() -> None:
    made = weakref.WeakSet[type]()
    for _ in range(3000):
        filter_class = type("Made", (), {})
        handlers_of(filter_class)
        made.add(filter_class)
    del filter_class
    gc.collect()
    assert len(made) <= compat_handlers._MOST_KNOWN
    assert names_of(Parent, REQUEST_HEAD) == ["first", "second"]
