"""What is tried out before a start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pyrox import preflight
from pyrox.config import parse_settings
from pyrox.errors import ConfigError
from pyrox.settings import Settings

Check = Callable[[Settings], None]

PASSING = """
from pyrox import Middleware

class Probe(Middleware):
    def __init__(self, app, x: int):
        super().__init__(app)
"""


def problems_of(check: Check, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        check(parse_settings(text, "p.ini"))
    return caught.value.problems


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Write a module with the given source where it can be imported, and return the class in it."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])

    def write(source: str) -> str:
        name = f"preflight_{tmp_path.name}"
        (tmp_path / f"{name}.py").write_text(source)
        monkeypatch.delitem(sys.modules, name, raising=False)
        return f"{name}.Probe"

    return write


def test_plugin_paths_come_last_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = list(sys.path)
    monkeypatch.setattr(sys, "path", before.copy())
    settings = parse_settings(f"[core]\nplugin_paths = {tmp_path}")
    preflight.use_plugin_paths(settings)
    preflight.use_plugin_paths(settings)
    assert sys.path == [*before, str(tmp_path)]


def test_missing_plugin_path_does_not_hide_what_is_in_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", sys.path.copy())
    (tmp_path / "found_beside_missing.py").write_text("def probe(app): return app\n")
    text = f"[core]\nplugin_paths = {tmp_path}, {tmp_path}/no\n[middleware]\nstack = probe\n"
    text += "[[probe]]\nclass = found_beside_missing.probe"
    checks = (preflight.use_plugin_paths, preflight.check_middleware_in_child)
    with pytest.raises(ConfigError) as caught:
        parse_settings(text, "p.ini", further_checks=checks)
    assert caught.value.problems == [f"p.ini: [core] plugin_paths: '{tmp_path}/no' is not a directory"]


def test_logs_that_can_be_written_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "old.log").write_text("kept\n")
    preflight.check_logs(
        parse_settings(f"[logging]\nlogfile = {tmp_path}/new.log\naccess_log = {tmp_path}/old.log")
    )
    assert [path.name for path in tmp_path.iterdir()] == ["old.log"]
    assert (tmp_path / "old.log").read_text() == "kept\n"


def test_standard_output_and_no_log_need_no_file() -> None:
    preflight.check_logs(parse_settings("[logging]\naccess_log = -"))
    preflight.check_logs(parse_settings("[logging]\naccess_log ="))


def test_logs_that_cannot_be_written_are_problems(tmp_path: Path) -> None:
    text = f"[logging]\nlogfile = {tmp_path}/no/error.log\naccess_log = {tmp_path}"
    assert problems_of(preflight.check_logs, text) == [
        f"p.ini: [logging] logfile: '{tmp_path}/no' is not a directory; make it first",
        f"p.ini: [logging] access_log: '{tmp_path}' is a directory",
    ]


def test_a_log_of_somebody_else_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root, who may run this, can write everything.
    monkeypatch.setattr(os, "access", lambda path, mode: not (path == str(tmp_path) and mode == os.W_OK))
    assert problems_of(preflight.check_logs, f"[logging]\naccess_log = {tmp_path}/a.log") == [
        f"p.ini: [logging] access_log: '{tmp_path}/a.log' cannot be written by this user"
    ]


@pytest.mark.parametrize("check", [preflight.check_middleware, preflight.check_middleware_in_child])
class TestMiddleware:
    def test_a_good_stack_passes(self, check: Check, module: Callable[[str], str]) -> None:
        target = module(PASSING)
        text = f"[middleware]\nstack = request_id, probe\n[[probe]]\nclass = {target}\nx = 1"
        check(parse_settings(text))

    def test_every_problem_is_found(self, check: Check, module: Callable[[str], str]) -> None:
        target = module("class Probe:\n    def __init__(self, app): raise ValueError('keys: none given')\n")
        text = f"[middleware]\nstack = nope, probe\n[[probe]]\nclass = {target}"
        assert problems_of(check, text) == [
            "p.ini: [middleware] stack: 'nope' has no section [[nope]] and is not built in",
            "p.ini: [middleware] [[probe]] keys: none given",
        ]

    def test_an_unexpected_error_is_a_problem_and_shows_its_traceback(
        self, check: Check, module: Callable[[str], str], capfd: pytest.CaptureFixture[str]
    ) -> None:
        target = module("class Probe:\n    def __init__(self, app): raise OSError('odd')\n")
        text = f"[middleware]\nstack = probe, headers\n[[probe]]\nclass = {target}\n"
        text += "[[headers]]\nrequest_set = x"
        problem, other = problems_of(check, text)
        assert problem.startswith("p.ini: [middleware] [[probe]]: OSError: odd (")
        assert problem.endswith(".py, line 2)")
        assert "request_set" in other
        assert "Traceback" in capfd.readouterr().err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can try what another account may do")
@pytest.mark.parametrize("check", [preflight.check_middleware, preflight.check_middleware_in_child])
def test_code_that_the_workers_may_not_read_is_a_problem(check: Check, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    reason = f"the workers may not read {str(tmp_path)!r}, which has code that they run"
    core = f"[core]\nplugin_paths = {tmp_path}\n[middleware]\nstack =\n"
    assert f"p.ini: [core] user: {reason}" in problems_of(check, core.replace("]", "]\nuser = nobody", 1))


def test_nothing_is_imported_into_this_process(module: Callable[[str], str]) -> None:
    target = module("def Probe(app): return app\n")
    preflight.check_middleware_in_child(
        parse_settings(f"[middleware]\nstack = probe\n[[probe]]\nclass = {target}")
    )
    assert target.partition(".")[0] not in sys.modules


@pytest.mark.parametrize("source", ["import os\nos._exit(0)\n", "import signal\nsignal.pause()\n", "1 / 0"])
def test_a_middleware_that_ends_or_stops_the_process_is_a_problem(
    source: str, module: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "_CHECK_TIMEOUT", 1)
    text = f"[middleware]\nstack = probe\n[[probe]]\nclass = {module(source)}"
    (problem,) = problems_of(preflight.check_middleware_in_child, text)
    if "1 / 0" in source:
        assert "ZeroDivisionError" in problem
    else:
        assert problem == "p.ini: [middleware]: making the middleware ended the process"


def test_the_command_loads_little_before_it_knows_what_to_do() -> None:
    heavy = "{'gevent', 'gunicorn', 'configobj', 'ssl', 'httptools'}"
    code = f"import sys, pyrox.cli; print({heavy} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"


def test_stop_that_comes_in_the_moment_of_the_fork_ends_the_trial_too(
    module: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = module("import time\nclass Probe:\n    def __init__(self, app): time.sleep(100)\n")
    stopped: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))
    fork = os.fork

    def fork_and_be_stopped() -> int:
        child = fork()
        if child:
            os.kill(os.getpid(), signal.SIGTERM)
        return child

    monkeypatch.setattr(os, "fork", fork_and_be_stopped)
    started = time.monotonic()
    try:
        text = f"[middleware]\nstack = probe\n[[probe]]\nclass = {target}"
        assert problems_of(preflight.check_middleware_in_child, text) == [
            "p.ini: [middleware]: making the middleware ended the process"
        ]
    finally:
        signal.signal(signal.SIGTERM, before)
    assert stopped == [signal.SIGTERM]
    assert time.monotonic() - started < 30  # a trial that goes on is ended after a minute
