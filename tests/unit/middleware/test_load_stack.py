"""From the [middleware] settings to layers, with every fault of them in one report."""

from __future__ import annotations

import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from pyrox.config import parse_settings
from pyrox.errors import ConfigError
from pyrox.http.message import Request, Response
from pyrox.middleware import App, Middleware
from pyrox.middleware.stack import BUILT_IN, build_stack, check_stack, load_stack
from pyrox.settings import MiddlewareSettings, RawOptions, Settings

HERE = __name__
USERS = str(Path(__file__).with_name("users.htpasswd"))
REQUIRED: dict[str, RawOptions] = {
    "access_control": {"deny": "::1"},
    "api_key": {"keys": {"acme": "f" * 64}},
    "basic_auth": {"file": USERS},
    "body_limit": {"request": "1m"},
    "cors": {"origins": "https://a.test"},
    "forward_auth": {"url": "http://127.0.0.1:1/"},
    "in_flight": {"limits": "9"},
    "json_fields": {"response_select": "a"},
    "jwt_auth": {"algorithms": "HS256", "secret": "x" * 32},
    "keystone": {"url": "http://127.0.0.1:1", "user": "pyrox", "password": "x"},
    "negotiate": {"languages": "en"},
    "rate_limit": {"policies": "9/minute"},
    "rbac": {"rules": {"/**": "authenticated"}},
    "redact": {"fields": "a"},
    "substitute": {"literal": "a => b"},
}


class Limit(Middleware):
    made = 0

    def __init__(self, app: App, limit: int, unit: str = "s") -> None:
        super().__init__(app)
        type(self).made += 1
        if limit < 0:
            raise ValueError(f"limit: {limit} is negative")
        if unit == "?":
            raise TypeError("no idea what that means: a unit is s or ms")
        if unit == "!":
            raise RuntimeError("out of order")
        self.limit = limit

    def __call__(self, request: Request) -> Response:
        response = self.app(request)
        response.headers["X-Limit"] = str(self.limit)
        return response


class Outer:
    class Inner(Middleware):
        pass


def mark(app: App, text: str = "marked") -> App:
    def middleware(request: Request) -> Response:
        response = app(request)
        response.headers["X-Mark"] = text
        return response

    return middleware


def not_a_middleware(app: App) -> int:
    return 7


A_CONSTANT = 7


def upstream(request: Request) -> Response:
    return Response(200)


def settings_of(*stack: str, **sections: RawOptions) -> Settings:
    return replace(parse_settings("", "p.ini"), middleware=MiddlewareSettings(stack, sections))


def problems_of(*stack: str, **sections: RawOptions) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_stack(settings_of(*stack, **sections))
    return caught.value.problems


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_needs_no_class(name: str) -> None:
    layers = load_stack(settings_of(name, **{name: REQUIRED.get(name, {})}))
    assert [layer_name for layer_name, _ in layers] == [name]
    assert isinstance(layers[0][1](upstream), Middleware)


def test_class_and_function_with_typed_options() -> None:
    settings = settings_of(
        "my_limit",
        "my_mark",
        my_limit={"class": f"{HERE}.Limit", "limit": "5"},
        my_mark={"class": f"{HERE}:mark", "text": "yes"},
    )
    app = build_stack(load_stack(settings), upstream)
    assert app(Request("GET", "/")).headers.items() == [("X-Mark", "yes"), ("X-Limit", "5")]


def test_class_in_a_class_is_named_behind_a_colon() -> None:
    [(_, factory)] = load_stack(settings_of("inner", inner={"class": f"{HERE}:Outer.Inner"}))
    assert isinstance(factory(upstream), Outer.Inner)


def test_section_of_a_built_in_may_name_another_class() -> None:
    layers = load_stack(settings_of("headers", headers={"class": f"{HERE}.mark"}))
    assert build_stack(layers, upstream)(Request("GET", "/")).headers["x-mark"] == "marked"


def test_section_that_is_not_in_the_stack_is_not_looked_at() -> None:
    assert load_stack(settings_of(off={"class": "no.such.thing"})) == []


def test_loading_constructs_nothing() -> None:
    before = Limit.made
    load_stack(settings_of("a", a={"class": f"{HERE}.Limit", "limit": "5"}))
    assert Limit.made == before


def test_every_problem_is_in_one_report() -> None:
    assert problems_of(
        "reqest_id",
        "a",
        "b",
        "a",
        "pyrox",
        a={"class": f"{HERE}.Limit", "limit": "many", "units": "ms"},
        b={"class": f"{HERE}.Limit"},
    ) == [
        "p.ini: [middleware] stack: 'reqest_id' has no section [[reqest_id]] and is not built in; "
        "did you mean request_id?",
        "p.ini: [middleware] [[a]] limit: 'many' is not a whole number",
        "p.ini: [middleware] [[a]] units: unknown option; did you mean unit?",
        "p.ini: [middleware] [[b]] limit: required, but missing",
        "p.ini: [middleware] stack: 'a' is listed twice",
        "p.ini: [middleware] stack: 'pyrox' means something else in the access log; choose another name",
    ]


def test_unknown_option_may_be_one_that_all_have() -> None:
    assert problems_of(
        "request_id", "health", request_id={"wehn": "Host(`a`)"}, health={"colour": "red", "Mode": "observe"}
    ) == [
        "p.ini: [middleware] [[request_id]] wehn: unknown option; did you mean when?",
        "p.ini: [middleware] [[health]] colour: unknown option; there are path, drain_file, when, mode",
        "p.ini: [middleware] [[health]] Mode: unknown option; did you mean mode?",
    ]


def test_what_is_built_in_may_stand_under_any_name_and_more_than_once() -> None:
    sections = {name: {"class": "health", "path": f"/{name}"} for name in ("alive", "ready")}
    assert [name for name, _ in load_stack(settings_of("alive", "ready", **sections))] == ["alive", "ready"]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("Limit", "'Limit' is not package.module.Class"),
        ("module:", "'module:' is not package.module.Class"),
        (["a", "b"], "must be one dotted name, as in 'class = package.module.Class'"),
        (f"{HERE}.Limt", f"{HERE} has no Limt; did you mean Limit?"),
        (f"{HERE}:Outer.Iner", f"{HERE} has no Outer.Iner; did you mean Inner?"),
        ("calendar.Auth", "calendar has no Auth; it is a module of Python's own: call yours otherwise"),
        (f"{HERE}.A_CONSTANT", f"{HERE}.A_CONSTANT is 7, which is not callable"),
        (f"{HERE}.upstream_", f"{HERE} has no upstream_; did you mean upstream?"),
        ("no_such_package.auth.Auth", "cannot import no_such_package.auth: ModuleNotFoundError"),
    ],
)
def test_class_that_cannot_be_had(path: str, reason: str) -> None:
    [problem] = problems_of("a", a={"class": path})
    assert problem.startswith(f"p.ini: [middleware] [[a]] class: {reason}")


def test_section_without_a_class_that_is_not_built_in() -> None:
    assert problems_of("a", a={"limit": "5"}) == [
        "p.ini: [middleware] [[a]] class: must be one dotted name, as in 'class = package.module.Class'"
    ]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import no_such_thing\n", "ModuleNotFoundError: No module named 'no_such_thing' ({path}, line 1)"),
        ("\nx = 1 / 0\n", "ZeroDivisionError: division by zero ({path}, line 2)"),
        ("def f(:\n", "SyntaxError: invalid syntax"),
    ],
)
def test_module_that_fails_says_how_and_where(
    code: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "failing_module.py"
    path.write_text(textwrap.dedent(code))
    monkeypatch.syspath_prepend(tmp_path)
    try:
        [problem] = problems_of("a", a={"class": "failing_module.Auth"})
    finally:
        sys.modules.pop("failing_module", None)
    assert problem.startswith(
        f"p.ini: [middleware] [[a]] class: cannot import failing_module: {reason.format(path=path)}"
    )


def checked(*stack: str, **sections: RawOptions) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        check_stack(settings_of(*stack, **sections))
    return caught.value.problems


def test_check_finds_what_only_constructors_know_beside_everything_else() -> None:
    assert checked(
        "a",
        "b",
        "c",
        "d",
        a={"class": f"{HERE}.Limit", "limit": "-1"},
        b={"class": f"{HERE}.Limit", "limit": "1", "unit": "?"},
        c={"class": f"{HERE}.not_a_middleware"},
        d={"class": f"{HERE}.Limit", "limit": "x"},
    ) == [
        "p.ini: [middleware] [[d]] limit: 'x' is not a whole number",
        "p.ini: [middleware] [[a]] limit: -1 is negative",
        "p.ini: [middleware] [[b]]: no idea what that means: a unit is s or ms",
        "p.ini: [middleware] [[c]] class: made 7, which is not callable",
    ]


def test_check_of_a_good_stack_says_nothing() -> None:
    check_stack(settings_of("a", "request_id", a={"class": f"{HERE}.Limit", "limit": "1"}))


def test_option_that_a_constructor_refuses_is_a_config_error_when_the_stack_is_built() -> None:
    layers = load_stack(settings_of("a", a={"class": f"{HERE}.Limit", "limit": "-1"}))
    with pytest.raises(ConfigError, match=r"p\.ini: \[middleware\] \[\[a\]\] limit: -1 is negative"):
        build_stack(layers, upstream)


def test_other_failure_of_a_constructor_keeps_its_type_and_names_the_section() -> None:
    layers = load_stack(settings_of("a", a={"class": f"{HERE}.Limit", "limit": "1", "unit": "!"}))
    with pytest.raises(RuntimeError, match="out of order") as caught:
        build_stack(layers, upstream)
    assert caught.value.__notes__ == ["while making middleware 'a' of p.ini"]


def test_destination_that_is_no_cluster_is_named() -> None:
    config = (
        "[routing]\nupstream_hosts = http://10.0.0.1:80\n[clusters]\n[[german]]\nservers = http://10.0.0.2:80\n"
        "[middleware]\nstack = negotiate,\n[[negotiate]]\nlanguages = en, de\n[[[route]]]\nde = {}\n"
    )
    for known in ("german", "upstream_hosts", "http://10.0.0.3:80"):
        assert len(load_stack(parse_settings(config.format(known)))) == 1
    with pytest.raises(ConfigError, match=r"\[\[negotiate\]\] route: 'germany' is no section .* german\?"):
        load_stack(parse_settings(config.format("germany")))


def test_files_of_a_section_are_looked_for_where_the_configuration_is(tmp_path: Path) -> None:
    (tmp_path / "404.html").write_text("<p>gone fishing", encoding="utf-8")
    text = "[middleware]\nstack = error_pages,\n[[error_pages]]\n[[[pages]]]\n404 = 404.html\n"
    check_stack(parse_settings(text, str(tmp_path / "p.ini")))
    with pytest.raises(ConfigError, match=r"404\.html"):
        check_stack(parse_settings(text, str(tmp_path / "elsewhere" / "p.ini")))
