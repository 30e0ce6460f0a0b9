"""docs/middleware.md and docs/built_in.md are true: Python runs, configurations load, nothing is left out."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyrox import BodyFilter, Flow, Headers, Request, Response
from pyrox.config import parse_settings
from pyrox.middleware.importing import import_target
from pyrox.middleware.stack import BUILT_IN
from pyrox.testing import ClientResponse, TestClient

DOCS = Path(__file__).resolve().parents[2] / "docs"
MANUAL, BUILT_IN_PAGE = DOCS / "middleware.md", DOCS / "built_in.md"

# What the engine keeps on a message for itself.
OF_THE_ENGINE = {
    "accepts_trailers",
    "body_length",
    "claims",
    "content_length",
    "exchange",
    "fields",
    "from_fields",
    "from_head",
    "keep_alive",
    "popitem",  # comes with MutableMapping
}


def blocks(language: str, page: Path = MANUAL) -> Iterator[tuple[int, str]]:
    """Yield the line on which each block starts, and its text."""
    text = page.read_text(encoding="utf-8")
    for match in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        yield text.count("\n", 0, match.start(1)) + 1, match[1]


def test_python_of_the_manual_runs_from_top_to_bottom() -> None:
    ran = 0
    namespace: dict[str, object] = {"__name__": "manual"}
    for line, code in blocks("python"):
        # Empty lines in front make a traceback point into the manual.
        exec(compile("\n" * (line - 1) + code, str(MANUAL), "exec"), namespace)
        ran += 1
    assert ran == len(re.findall(r"^```python$", MANUAL.read_text(encoding="utf-8"), re.MULTILINE)) > 15


@pytest.mark.parametrize(("line", "text"), [*blocks("ini"), *blocks("ini", BUILT_IN_PAGE)])
def test_configuration_of_the_manual_loads(line: int, text: str) -> None:
    settings = parse_settings(re.sub(r"^plugin_paths = .*$", "", text, flags=re.MULTILINE), f"line {line}")
    assert settings.middleware.stack


def test_built_in_middleware_of_the_manual_runs_with_its_options() -> None:
    [text] = [text for _, text in blocks("ini", BUILT_IN_PAGE) if "[[access_control]]" in text]
    client = TestClient.from_config(textwrap.dedent(text), client_address="10.0.0.1")
    answer = client.get("/", headers={"X-Debug": "1"})
    assert answer.headers["cache-control"] == "no-cache, private"
    assert answer.headers["link"] == "</style.css>; rel=preload"
    assert "x-debug" not in client.upstream_requests[-1].headers
    assert client.get("/", client_address="10.6.6.6").status == 403


@pytest.mark.parametrize("cls", [Request, Response, Headers, BodyFilter, TestClient, ClientResponse, Flow])
def test_manual_shows_everything_that_a_middleware_may_use(cls: type) -> None:
    code = "\n".join(text for _, text in blocks("python"))
    names = {name for name in dir(cls) if not name.startswith("_")} - OF_THE_ENGINE
    assert {name for name in names if not re.search(rf"(\.|def ){name}\b", code)} == set()


@pytest.mark.parametrize("name", BUILT_IN)
def test_manual_describes_every_built_in_middleware(name: str) -> None:
    assert f"\n## {name}\n" in BUILT_IN_PAGE.read_text(encoding="utf-8")


def section_of(name: str) -> str:
    """The manual's section on a built-in middleware."""
    page = BUILT_IN_PAGE.read_text(encoding="utf-8")
    return page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("name", BUILT_IN)
def test_manual_lists_every_option_of_a_built_in_middleware_and_no_other(name: str) -> None:
    table = section_of(name).partition("| option | default | |\n")[2].partition("\n\n")[0]
    listed = [option for row in table.splitlines() for option in re.findall(r"`(\w+)`", row.split(" | ")[0])]
    target = import_target(BUILT_IN[name])
    options = list(inspect.signature(target).parameters)[1:]
    assert sorted(listed) == sorted(options)


@pytest.mark.parametrize("name", BUILT_IN)
def test_docstring_of_a_built_in_middleware_explains_every_option(name: str) -> None:
    target = import_target(BUILT_IN[name])
    explained = set(re.findall(r"``(\w+)``", target.__doc__ or ""))
    assert [
        option for option in list(inspect.signature(target).parameters)[1:] if option not in explained
    ] == []
