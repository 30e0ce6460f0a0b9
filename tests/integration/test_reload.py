"""``--reload``: an edit takes effect, and a mistake waits for its correction."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from time import time

import pytest

from tests.integration.kit import get
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client, PeerClosed

GREETER = """
from pyrox import Middleware, Response

class Greeter(Middleware):
    def __init__(self, app):
        {setup}

    def __call__(self, request):
        return Response(200, "{greeting}")
"""
CONFIG = """
[core]
plugin_paths = {folder}
[middleware]
stack = greeter,
[[greeter]]
class = reloaded_greeter.Greeter
"""


def greeter(greeting: str, setup: str = "pass") -> str:
    return GREETER.format(greeting=greeting, setup=setup)


class Editor:
    """Writes a file again, each time newer, until that had its effect.

    What is written before a worker has looked at the file for the first time is not seen as an edit.
    """

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._seconds = count(int(time()) + 2, 2)

    def write(self, path: Path, text: str, has_effect: Callable[[], bool]) -> None:
        def is_done() -> bool:
            path.write_text(text)
            second = next(self._seconds)
            os.utime(path, (second, second))
            return has_effect()

        self._proxy.wait_until(is_done, f"effect of {text!r}", timeout=30)

    def greets(self, greeting: bytes) -> Callable[[], bool]:
        """Whether a request is answered so; while a worker is replaced it may be cut off, or have to wait."""

        def is_answered() -> bool:
            with contextlib.suppress(PeerClosed, OSError), Client(self._proxy.address, timeout=2) as client:
                return client.ask(get()).body == greeting
            return False

        return is_answered

    def complains(self, text: str) -> Callable[[], bool]:
        """Whether the log says ``text``, and since now that nothing was reloaded."""
        log = self._proxy.error_log
        before = log().count("not reloaded")

        def is_logged() -> bool:
            with contextlib.suppress(TimeoutError):
                self._proxy.wait_until(lambda: log().count("not reloaded") > before, text, timeout=2)
                return text in log()
            return False

        return is_logged


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "reloaded_greeter.py"
    path.write_text(greeter("one"))
    return path


@pytest.fixture
def proxy(plugin: Path) -> Iterator[Proxy]:
    with running_proxy(CONFIG.format(folder=plugin.parent), arguments=["--reload"]) as proxy:
        with Client(proxy.address) as client:
            assert client.ask(get()).body == b"one"
        yield proxy


def test_edited_middleware_takes_effect(proxy: Proxy, plugin: Path) -> None:
    editor = Editor(proxy)
    editor.write(plugin, greeter("two"), editor.greets(b"two"))


@pytest.mark.parametrize(
    "mistake, complaint",
    [("def broken(:", "SyntaxError"), (greeter("two", setup="raise OSError('odd')"), "OSError: odd")],
)
@pytest.mark.usefixtures("expected_tracebacks")
def test_mistake_in_a_middleware_waits_for_its_correction(
    proxy: Proxy, plugin: Path, mistake: str, complaint: str
) -> None:
    editor = Editor(proxy)
    editor.write(plugin, mistake, editor.complains(complaint))
    editor.write(plugin, greeter("three"), editor.greets(b"three"))


def test_mistake_in_the_configuration_waits_for_its_correction(proxy: Proxy) -> None:
    editor, path = Editor(proxy), proxy.folder / "pyrox.ini"
    good = path.read_text()
    editor.write(path, good + "[bad\n", editor.complains("[bad is no section here"))
    editor.write(path, good, editor.greets(b"one"))


def test_stop_does_not_wait_for_a_correction(proxy: Proxy, plugin: Path) -> None:
    editor = Editor(proxy)
    editor.write(plugin, "def broken(:", editor.complains("SyntaxError"))
    assert proxy.terminate(timeout=10) == 0
