"""Folding a stack, and who is named when something comes out of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from pyrox.errors import HTTPError, ProxyError, UpstreamTimeout
from pyrox.http.message import Request, Response
from pyrox.middleware import App, Middleware
from pyrox.middleware.stack import build_stack

GET = Request("GET", "/")


def upstream(request: Request) -> Response:
    response = Response(200, "from upstream")
    response.made_by = "upstream"
    return response


class Pass(Middleware):
    """Changes nothing."""


class Trace(Middleware):
    def __init__(self, app: App, log: list[str], mark: str) -> None:
        super().__init__(app)
        self.log, self.mark = log, mark

    def __call__(self, request: Request) -> Response:
        self.log.append(f"{self.mark} in")
        response = self.app(request)
        self.log.append(f"{self.mark} out")
        return response


def answering(response: object) -> Callable[[App], App]:
    return lambda app: lambda request: response  # type: ignore[return-value]


def raising(error: Exception) -> Callable[[App], App]:
    def factory(app: App) -> App:
        def middleware(request: Request) -> Response:
            raise error

        return middleware

    return factory


def test_first_layer_is_the_outermost() -> None:
    log: list[str] = []
    layers = [(mark, lambda app, mark=mark: Trace(app, log, mark)) for mark in "abc"]
    build_stack(layers, upstream)(GET)
    assert log == ["a in", "b in", "c in", "c out", "b out", "a out"]


def test_layers_are_constructed_once() -> None:
    made: list[App] = []

    def factory(app: App) -> App:
        made.append(app)
        return Pass(app)

    stack = build_stack([("pass", factory)], upstream)
    stack(GET)
    stack(GET)
    assert made == [upstream]


def test_no_layers_leave_the_app_as_it_is() -> None:
    assert build_stack([], upstream) is upstream


def test_plain_function_is_a_layer() -> None:
    def shout(app: App) -> App:
        def middleware(request: Request) -> Response:
            response = app(request)
            response.headers["X-Shout"] = "yes"
            return response

        return middleware

    assert build_stack([("shout", shout)], upstream)(GET).headers["x-shout"] == "yes"


def test_response_of_upstream_keeps_its_maker() -> None:
    assert build_stack([("a", Pass), ("b", Pass)], upstream)(GET).made_by == "upstream"


def test_answer_is_made_by_the_layer_it_comes_from() -> None:
    stack = build_stack([("outer", Pass), ("guard", answering(Response(401)))], upstream)
    assert stack(GET).made_by == "guard"


def test_replaced_response_is_made_by_the_layer_that_replaced_it() -> None:
    def replacing(app: App) -> App:
        def middleware(request: Request) -> Response:
            app(request)
            return Response(404)

        return middleware

    assert (
        build_stack([("outer", Pass), ("hide", replacing), ("inner", Pass)], upstream)(GET).made_by == "hide"
    )


@pytest.mark.parametrize("result", [None, GET, "text", 200, (200, b"")])
def test_result_that_is_no_response_is_a_type_error_naming_the_layer(result: object) -> None:
    stack = build_stack([("outer", Pass), ("broken", answering(result))], upstream)
    with pytest.raises(TypeError, match=r"middleware 'broken' returned .*, not a Response") as caught:
        stack(GET)
    assert vars(caught.value)["middleware"] == "broken"


def test_app_that_returns_none_is_noticed_by_the_layer_around_it() -> None:
    with pytest.raises(TypeError, match="middleware 'a' returned None"):
        build_stack([("a", Pass)], lambda request: None)(GET)  # type: ignore[arg-type, return-value]


def test_exception_names_the_layer_it_was_raised_in_and_says_so_in_its_traceback() -> None:
    stack = build_stack([("outer", Pass), ("broken", raising(KeyError("x"))), ("inner", Pass)], upstream)
    with pytest.raises(KeyError) as caught:
        stack(GET)
    assert vars(caught.value)["middleware"] == "broken"
    assert caught.value.__notes__ == ["in middleware 'broken'"]


def test_attribute_error_inside_a_layer_is_not_taken_for_a_wrong_result() -> None:
    stack = build_stack([("broken", raising(AttributeError("no made_by here")))], upstream)
    with pytest.raises(AttributeError, match="no made_by here"):
        stack(GET)


def test_http_error_names_its_layer_without_a_note() -> None:
    stack = build_stack([("outer", Pass), ("guard", raising(HTTPError(403)))], upstream)
    with pytest.raises(HTTPError) as caught:
        stack(GET)
    assert vars(caught.value)["middleware"] == "guard"
    assert not hasattr(caught.value, "__notes__")


class Forwarder:
    """An innermost app as the engine's: an instance."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __call__(self, request: Request) -> Response:
        raise self.error

    def method(self, request: Request) -> Response:
        raise self.error


@pytest.mark.parametrize("error", [UpstreamTimeout("late"), RuntimeError("a fault of ours")])
@pytest.mark.parametrize("shape", ["instance", "method", "function"])
def test_error_of_the_innermost_app_is_no_layer_s_fault(error: Exception, shape: str) -> None:
    forwarder = Forwarder(error)
    app: App = forwarder if shape == "instance" else forwarder.method
    if shape == "function":
        app = lambda request: forwarder(request)  # noqa: E731
    with pytest.raises(type(error)) as caught:
        build_stack([("a", Pass), ("b", Pass)], app)(GET)
    assert vars(caught.value)["middleware"] is None


def test_error_made_of_an_upstream_error_is_the_layer_s() -> None:
    def translating(app: App) -> App:
        def middleware(request: Request) -> Response:
            try:
                return app(request)
            except ProxyError as error:
                raise HTTPError(503, "come back later") from error

        return middleware

    stack = build_stack([("translate", translating), ("inner", Pass)], Forwarder(UpstreamTimeout()))
    with pytest.raises(HTTPError) as caught:
        stack(GET)
    assert vars(caught.value)["middleware"] == "translate"


def test_exception_that_forbids_attributes_still_gets_its_layer() -> None:
    @dataclass(frozen=True)
    class Frozen(Exception):
        code: int

    with pytest.raises(Frozen) as caught:
        build_stack([("broken", raising(Frozen(1)))], upstream)(GET)
    assert vars(caught.value)["middleware"] == "broken"


def test_headers_of_an_http_error_are_checked_while_it_is_known_whose_they_are() -> None:
    bad = HTTPError(401, headers={"X-User": "a\r\nSet-Cookie: b=c"})
    with pytest.raises(ValueError, match="control character") as caught:
        build_stack([("outer", Pass), ("guard", raising(bad))], upstream)(GET)
    assert vars(caught.value)["middleware"] == "guard"


def test_exceptions_beyond_exception_pass_untouched() -> None:
    class Kill(BaseException):
        pass

    def killed(request: Request) -> Response:
        raise Kill

    with pytest.raises(Kill) as caught:
        build_stack([("a", Pass)], killed)(GET)
    assert vars(caught.value) == {}
