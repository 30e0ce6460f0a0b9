"""From ``[pipeline]`` to a layer of the stack, and what is told of one that cannot be made."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyrox.compat_filters import FilterMiddleware
from pyrox.config import parse_settings
from pyrox.errors import ConfigError
from pyrox.http.message import Request, Response
from pyrox.middleware.stack import build_stack, check_stack, load_stack
from pyrox.settings import Settings

PLUGIN = """
from pyrox import filtering
from pyrox.middleware import Middleware

MADE = []
CONSTANT = 5


class Marks(filtering.HttpFilter):
    def __init__(self, mark="a", color="red"):
        MADE.append((mark, color))
        self.mark = mark

    @filtering.handles_request_head
    @filtering.handles_response_head
    def on_head(self, head):
        head.header("X-Trace").values.append(self.mark)


class Needs(filtering.HttpFilter):
    def __init__(self, secret, *, more):
        self.values = secret, more

    @filtering.handles_request_body
    def on_body(self, part, output):
        pass


class TakesAll(filtering.HttpFilter):
    def __init__(self, **options):
        MADE.append(options)

    @filtering.handles_request_head
    def on_head(self, request):
        pass


class Raises(Marks):
    def __init__(self):
        raise LookupError("no such thing")


class Wrong(filtering.HttpFilter):
    @filtering.handles_request_head
    def on_head(self):
        pass


class Empty(filtering.HttpFilter):
    pass


class Bodies(filtering.HttpFilter):
    @filtering.handles_response_body
    def on_body(self, part, output):
        pass


def make(mark="made"):
    return Marks(mark)


def forgets(mark="made"):
    Marks(mark)


class Native(Middleware):
    def __call__(self, request):
        request.headers.add("X-Trace", "native")
        response = self.app(request)
        response.headers.add("X-Trace", "native")
        return response
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module ``loaded_filters``, as the configurations of these tests find it."""
    (tmp_path / "loaded_filters.py").write_text(PLUGIN)
    (tmp_path / "broken_filters.py").write_text("import no_such_module\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import loaded_filters

    yield loaded_filters
    for name in ("loaded_filters", "broken_filters"):
        sys.modules.pop(name, None)


def settings_of(pipeline: str, middleware: str = "") -> Settings:
    lines = textwrap.dedent(pipeline).replace("= .", "= loaded_filters.")
    others = textwrap.dedent(middleware).replace("= .", "= loaded_filters.")
    return parse_settings(f"[pipeline]\n{lines}\n[middleware]\n{others}\n", "pyrox.ini")


def problems_of(pipeline: str, middleware: str = "", check: bool = False) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        settings = settings_of(pipeline, middleware)
        check_stack(settings) if check else load_stack(settings)
    return caught.value.problems


def warnings_of(pipeline: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    check_stack(settings_of(pipeline))
    return capsys.readouterr().err.splitlines()


def trace(settings: Settings) -> tuple[list[str], list[str]]:
    """What the layers wrote into the request and into the response, in order."""
    requests: list[Request] = []

    def upstream(request: Request) -> Response:
        requests.append(request)
        return Response(200)

    response = build_stack(load_stack(settings), upstream)(Request("GET", "/"))
    return requests[0].headers.get_all("x-trace"), response.headers.get_all("x-trace")


# --- what is made -----------------------------------------------------------------------------------


def test_filters_are_made_with_their_options(plugin: Any) -> None:
    settings = settings_of(
        """
        one = .Marks
        one.mark = 1
        two = loaded_filters:Marks
        two.color = "light blue"
        all = .TakesAll
        all.anything = 5
        all.Else = yes
        upstream = one, two, all
        filter_lifetime = worker
        """
    )
    assert trace(settings) == (["1", "a"], [])
    assert plugin.MADE == [("1", "red"), ("a", "light blue"), {"anything": "5", "Else": "yes"}]


def test_function_is_a_factory(plugin: Any) -> None:
    settings = settings_of("a = .make\na.mark = b\nc = .make\nupstream = a\ndownstream = c, a")
    assert trace(settings) == (["b"], ["made", "b"])


def test_filter_gets_what_its_constructor_needs(plugin: Any) -> None:
    check_stack(settings_of("a = .Needs\na.secret = s\na.more = m\nupstream = a"))


def test_pipelines_have_their_own_order(plugin: Any) -> None:
    settings = settings_of("a = .Marks\nb = .Marks\nb.mark = b\nupstream = a, b\ndownstream = b, a")
    assert trace(settings) == (["a", "b"], ["b", "a"])


def test_settings_reach_the_middleware(plugin: Any) -> None:
    text = """
        [templates]
        rejection_sc = 418
        pyrox_error_sc = 555
        [pipeline]
        a = loaded_filters.Marks
        upstream = a
        downstream = a
        use_singletons = yes
        filter_lifetime = connection
        """
    [(name, factory)] = load_stack(parse_settings(textwrap.dedent(text)))
    middleware: Any = factory(lambda request: Response(200))
    assert name == "filters" and isinstance(middleware, FilterMiddleware)
    assert (middleware._rejection_status, middleware._error_status) == (418, 555)
    assert (middleware._lifetime, middleware._use_singletons) == ("connection", True)


def test_nothing_is_imported_when_nothing_is_listed() -> None:
    assert load_stack(settings_of("a = no_such_module.Filter\na.option = 1")) == []


def test_alias_that_is_not_listed_is_not_imported(plugin: Any) -> None:
    assert len(load_stack(settings_of("a = .Marks\nb = no_such_module.Filter\nupstream = a"))) == 1


# --- where it stands --------------------------------------------------------------------------------

PIPELINE = "a = .Marks\nupstream = a\ndownstream = a"


@pytest.mark.parametrize(
    ("stack", "names"),
    [
        ("native", ["native", "filters"]),
        ("native, filters", ["native", "filters"]),
        ("filters, native", ["filters", "native"]),
        ("filters,", ["filters"]),
        ("", ["filters"]),
    ],
)
def test_filters_stand_innermost_unless_the_stack_says_where(
    plugin: Any, stack: str, names: list[str]
) -> None:
    middleware = f"stack = {stack}\n[[native]]\nclass = .Native" if stack else ""
    settings = settings_of(PIPELINE, middleware)
    assert [name for name, _ in load_stack(settings)] == names
    seen = [{"filters": "a"}.get(name, name) for name in names]
    assert trace(settings) == (seen, seen[::-1])


def test_filters_in_the_stack_without_a_pipeline_are_no_layer(plugin: Any) -> None:
    settings = settings_of("a = .Marks", "stack = native, filters\n[[native]]\nclass = .Native")
    assert [name for name, _ in load_stack(settings)] == ["native"]


@pytest.mark.parametrize("stack", ["filters,", "native,"])
def test_section_of_that_name_is_refused(plugin: Any, stack: str) -> None:
    sections = f"stack = {stack}\n[[native]]\nclass = .Native\n[[filters]]\nclass = .Native"
    assert problems_of(PIPELINE, sections) == [
        "pyrox.ini: [middleware] stack: 'filters' stands for the filters of [pipeline]; give [[filters]]"
        " another name"
    ]


def test_filters_that_are_listed_twice_are_refused(plugin: Any) -> None:
    [problem] = problems_of(PIPELINE, "stack = filters, filters")
    assert problem == "pyrox.ini: [middleware] stack: 'filters' is listed twice"


# --- what is wrong ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pipeline", "problem"),
    [
        ("auth = .Marks\nupstream = aut,", "[pipeline] upstream: 'aut' is not defined by an option"),
        ("auth = .Marks\ndownstream = aut,", "[pipeline] downstream: 'aut' is not defined by an option"),
        ("auth.mark = 1\nauth = .Marks\nauht.mark = 2", "[pipeline] auht.mark: 'auht' is not defined"),
        ("a = no_such_module.A\nupstream = a", "[pipeline] a: cannot import no_such_module: ModuleNotFound"),
        ("a = broken_filters.A\nupstream = a", "[pipeline] a: cannot import broken_filters: ModuleNotFound"),
        ("a = .Mark\nupstream = a", "[pipeline] a: loaded_filters has no Mark; did you mean Marks?"),
        ("a = Marks\nupstream = a", "[pipeline] a: 'Marks' is not package.module.Class"),
        ("a = .CONSTANT\nupstream = a", "[pipeline] a: loaded_filters.CONSTANT is 5, which is not callable"),
        (
            "a = .Marks\na.colour = x\nupstream = a",
            "[pipeline] a.colour: unknown option; did you mean color?",
        ),
        ("a = .Empty\na.color = x\nupstream = a", "[pipeline] a.color: unknown option"),
        ("a = .Needs\na.secret = x\nupstream = a", "[pipeline] a.more: required, but missing"),
        ("a = .make\na.color = x\nupstream = a", "[pipeline] a.color: unknown option"),
        ("filter_lifetime = day", "[pipeline] filter_lifetime: 'day' is not one of request"),
    ],
)
def test_problem_is_told_with_file_section_and_key(plugin: Any, pipeline: str, problem: str) -> None:
    [told] = problems_of(pipeline)
    assert told.startswith(f"pyrox.ini: {problem}")


def test_all_problems_are_told_at_once(plugin: Any) -> None:
    problems = problems_of(
        """
        a = .Marks
        a.colour = x
        b = .Needs
        c = no_such_module.C
        upstream = a, b
        downstream = c, a
        """,
        "stack = nothing,",
    )
    keys = [problem.removeprefix("pyrox.ini: ").split(": ")[0] for problem in problems]
    assert keys == [
        "[pipeline] a.colour",
        "[pipeline] b.secret",
        "[pipeline] b.more",
        "[pipeline] c",
        "[middleware] stack",
    ]


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("Raises", "[pipeline] a: LookupError: no such thing"),
        ("forgets", "[pipeline] a: TypeError: None was made in place of a filter"),
        ("Wrong", "[pipeline] a: TypeError: Wrong.on_head handles the request head and must take 1 argument"),
    ],
)
def test_filter_that_cannot_be_made_is_a_problem_of_the_check(plugin: Any, target: str, problem: str) -> None:
    [told] = problems_of(f"a = .{target}\nupstream = a\ndownstream = a", check=True)
    assert told.startswith(f"pyrox.ini: {problem}")


# --- what is odd ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "key", "warning"),
    [
        ("Bodies", "upstream", "it handles response body; list it in downstream"),
        ("Needs", "downstream", "it handles request body; list it in upstream"),
        ("TakesAll", "downstream", "it handles request head; list it in upstream"),
    ],
)
def test_filter_that_never_runs_where_it_is_listed_is_warned_about(
    plugin: Any, capsys: pytest.CaptureFixture[str], target: str, key: str, warning: str
) -> None:
    options = "a.secret = 1\na.more = 2\n" if target == "Needs" else ""
    assert warnings_of(f"a = .{target}\n{options}{key} = a", capsys) == [
        f"warning: pyrox.ini: [pipeline] {key}: 'a' never runs here: {warning}"
    ]


_KEYS = ("upstream", "downstream")


def test_filter_without_handlers_is_warned_about_wherever_it_is(
    plugin: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    warnings = warnings_of("a = .Empty\nupstream = a\ndownstream = a", capsys)
    assert [warning.split(": ")[2] for warning in warnings] == [
        "[pipeline] upstream",
        "[pipeline] downstream",
    ]
    assert all("'a' never runs here: no method of it is decorated" in warning for warning in warnings)


def test_filter_that_runs_is_not_warned_about(plugin: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert warnings_of("a = .Marks\nb = .make\nupstream = a, b\ndownstream = b", capsys) == []


def test_check_makes_each_filter_once(plugin: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert warnings_of("a = .Marks\nupstream = a\ndownstream = a", capsys) == []
    assert plugin.MADE == [("a", "red")]
