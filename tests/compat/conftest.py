"""Fixtures of the tests of old filters: proxies that many of them share, and what they wrote down."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.compat.proxies import ALIASES, PLUGINS, Log, Parts, Ran, config_of_named
from tests.support.proxy import Proxy, running_proxy


@pytest.fixture(scope="session")
def acting_proxy() -> Iterator[Proxy]:
    """A filter that acts, between two that note what they see."""
    filters = {alias: "acting.Acts" if alias == "acts" else "acting.Notes" for alias in ALIASES}
    with running_proxy(config_of_named(**filters), python_path=PLUGINS) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def treating_proxy() -> Iterator[Proxy]:
    """Two filters that treat bodies."""
    config = config_of_named(one="bodies.Treats", two="bodies.Treats")
    with running_proxy(config, python_path=PLUGINS) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def decoding_proxy() -> Iterator[Proxy]:
    """One filter that decodes between two that do not."""
    filters = {"one": "bodies.Treats", "plain": "bodies.Decodes", "two": "bodies.Treats"}
    with running_proxy(config_of_named(**filters), python_path=PLUGINS) as proxy:
        yield proxy


@pytest.fixture
def ran(acting_proxy: Proxy) -> Ran:
    """What filters have written down since the test began."""
    notes = acting_proxy.folder / "ran.txt"
    start = len(notes.read_text()) if notes.exists() else 0
    return lambda: [line.rstrip() for line in notes.read_text()[start:].splitlines()]


@pytest.fixture
def parts(treating_proxy: Proxy) -> Parts:
    """The lengths of the parts that a filter has seen of one side since the test began: ``"one request"``."""
    notes = treating_proxy.folder / "parts.txt"
    start = len(notes.read_text()) if notes.exists() else 0

    def seen(who: str) -> list[int]:
        lines = notes.read_text()[start:].splitlines() if notes.exists() else []
        assert all(line.split()[2] == "bytes" for line in lines)
        return [int(line.split()[-1]) for line in lines if line.startswith(who + " ")]

    return seen


@pytest.fixture
def new_log(proxy: Proxy) -> Log:
    """What was added to the error log since the test began."""
    start = len(proxy.error_log())
    return lambda: proxy.error_log()[start:]


@pytest.fixture
def target(request: pytest.FixtureRequest) -> str:
    """A request target that no other test uses, to find its record in the access log."""
    return "/" + "".join(letter if letter.isalnum() else "-" for letter in request.node.name)
