"""The command line, up to where the engine or the demo takes over."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from pyrox import __version__, cli, explain, new
from pyrox.config import load_settings
from pyrox.errors import ConfigError
from pyrox.settings import Settings

SHIPPED = Path(__file__).resolve().parents[2] / "conf" / "pyrox.ini"


@pytest.fixture(autouse=True)
def _import_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", sys.path.copy())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "p.ini"
    path.write_text("[core]\nbind_host = localhost:80\nprocesses = 3\n")
    return path


class Engine:
    """Stands for ``pyrox.green.application``: loads the settings as it does, and serves nobody."""

    def __init__(self) -> None:
        self.settings: list[Settings] = []
        self.load: Callable[[], Settings]

    def run(self, load: Callable[[], Settings]) -> int:
        self.load = load
        self.settings.append(load())
        return 7


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    engine = Engine()
    monkeypatch.setitem(sys.modules, "pyrox.green.application", SimpleNamespace(run=engine.run))  # type: ignore[arg-type]
    return engine


# --- start --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [[], ["start"]])
def test_start_hands_the_settings_to_the_engine(file: Path, engine: Engine, command: list[str]) -> None:
    assert cli.main(["-c", str(file), *command]) == 7
    assert engine.settings == [load_settings(str(file))]


def test_flags_win_over_the_file(file: Path, engine: Engine) -> None:
    arguments = ["start", "-c", str(file), "-w", "5", "-b", ":81", "--bind", "[::1]:81", "--reload"]
    assert cli.main([*arguments, "-p", f"{file.parent}, ."]) == 7
    core = engine.settings[0].core
    assert core.bind_host == (":81", "[::1]:81")
    assert (core.processes, core.reload) == (5, True)
    assert core.plugin_paths == (str(file.parent), os.getcwd())
    assert str(file.parent) in sys.path


def test_flags_say_how_the_processes_live(file: Path, engine: Engine) -> None:
    user = str(os.geteuid())
    arguments = ["-c", str(file), "--daemon", "--pid", f"{file.parent}/p.pid", "--user", user, "--group", "0"]
    assert cli.main(arguments) == 7
    core = engine.settings[0].core
    assert (core.daemon, core.pid_file) == (True, str(file.parent / "p.pid"))
    assert (core.user, core.group) == (user, "0")


def test_a_reload_reads_the_file_again_with_the_same_flags(file: Path, engine: Engine) -> None:
    cli.main(["-c", str(file), "-w", "5"])
    file.write_text("[core]\nbind_host = localhost:82\nprocesses = 9\n")
    core = engine.load().core
    assert (core.bind_host, core.processes) == (("localhost:82",), 5)
    file.write_text("[core]\nbind_host = localhost\n")
    with pytest.raises(ConfigError):
        engine.load()


def test_without_c_the_documented_file_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.DEFAULT_CONFIG == "/etc/pyrox/pyrox.conf"
    monkeypatch.setattr(cli, "DEFAULT_CONFIG", str(tmp_path / "pyrox.conf"))
    assert cli.main(["--check"]) == 2
    expected = [f"{tmp_path}/pyrox.conf: there is no such file", "-c FILE names another configuration file"]
    assert capsys.readouterr().err.splitlines() == expected


def test_a_named_file_that_is_missing_needs_no_hint_at_c(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["-c", "/no/where", "--check"]) == 2
    assert capsys.readouterr().err == "/no/where: there is no such file\n"


@pytest.mark.parametrize("mode", [[], ["--check"]])
def test_a_bad_configuration_exits_2_with_every_problem(
    file: Path, engine: Engine, mode: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(
        "[core]\nproceses = 1\n[logging]\nlogfile = /no/where/x\n[middleware]\nstack = request_ip\n"
    )
    assert cli.main(["-c", str(file), "-b", "nowhere", *mode]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "command line: [core] bind_host: 'nowhere' has no port; write nowhere:8080",
        f"{file}: [core] proceses: unknown option; did you mean processes?",
        f"{file}: [logging] logfile: '/no/where' is not a directory; make it first",
        f"{file}: [middleware] stack: 'request_ip' has no section [[request_ip]] and is not built in; "
        "did you mean request_id?",
    ]
    assert engine.settings == []


@pytest.mark.parametrize("mode", [[], ["--check"]])
@pytest.mark.parametrize("stack", ["", "[middleware]\nstack = request_id,\n"])
def test_an_account_that_nobody_has_is_a_problem_like_others(
    file: Path, mode: list[str], stack: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(f"[core]\nuser = no-such-user\ngroup = no-such-group\n{stack}")
    assert cli.main(["-c", str(file), *mode]) == 2
    assert [line.partition(": ")[2] for line in capsys.readouterr().err.splitlines()] == [
        "[core] user: there is no user 'no-such-user' on this machine",
        "[core] group: there is no group 'no-such-group' on this machine",
    ]


def test_a_worker_leaves_the_checks_to_the_master(file: Path) -> None:
    file.write_text("[logging]\nlogfile = /no/where/x\n")
    with pytest.raises(ConfigError):
        cli._load_to_serve(str(file), {})
    assert cli._load_to_serve(str(file), {}, for_worker=True).logging.logfile == "/no/where/x"


# --- check, print, version ----------------------------------------------------------------------------


def test_check_says_ok_and_starts_nothing(
    file: Path, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["-c", str(file), "--check"]) == 0
    assert capsys.readouterr().out == f"{file}: configuration OK\n"
    assert engine.settings == []


def test_check_finds_middleware_in_plugin_paths(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (file.parent / "cli_probe.py").write_text("def probe(app, size: int): return app\n")
    options = "class = cli_probe.probe\nsize = "
    text = "[core]\nplugin_paths = .\n[middleware]\nstack = probe\n[[probe]]\n" + options
    file.write_text(text + "3")
    assert cli.main(["-c", str(file), "--check"]) == 0
    file.write_text(text + "three")
    assert cli.main(["-c", str(file), "--check"]) == 2
    assert capsys.readouterr().err == f"{file}: [middleware] [[probe]] size: 'three' is not a whole number\n"


def test_the_shipped_configuration_passes_the_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["-c", str(SHIPPED), "--check"]) == 0, capsys.readouterr().err


def test_print_config_prints_a_file_with_the_same_meaning(
    file: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert cli.main(["-c", str(file), "-w", "4", "--print-config"]) == 0
    printed = file.with_name("printed.ini")
    printed.write_bytes(capfdbinary.readouterr().out)
    before = load_settings(str(file), {"core": {"processes": 4}})
    after = load_settings(str(printed))
    assert (after.core, after.middleware, after.timeouts) == (before.core, before.middleware, before.timeouts)


def test_print_config_of_a_bad_file_exits_2(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("[core]\nx = 1\n")
    assert cli.main(["-c", str(file), "--print-config"]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"{file}: [core] x: unknown option\n")


def test_as_a_module_it_tells_its_version() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "pyrox", "--version"], capture_output=True, text=True, check=True
    )
    assert ran.stdout == f"pyrox {__version__}\n"


# --- a bad command line -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--wrokers=2"], "unrecognized arguments: --wrokers=2"),
        (["--worker=2"], "unrecognized arguments: --worker=2"),
        (["stop"], "'stop' is none of start, demo, explain, new"),
        (["expain", "/"], "'expain' is none of start, demo, explain, new; did you mean explain?"),
        ([str(SHIPPED)], f"did you mean -c {SHIPPED}?"),
        (["-Dw", "2", "explain"], "explain stands first: pyrox explain ..."),
        (["-w", "2", "explain", "/"], "pyrox explain: error: unrecognized arguments: -w"),
        (["explain"], "the following arguments are required: 'METHOD TARGET'"),
        (
            ["explain", "/", "--client", "me"],
            "--client: 'me' is no IP address; a peer at a unix socket is unix",
        ),
        (["--check", "--print-config"], "not allowed with argument"),
        (["demo", "-w", "2"], "demo takes no option but --bind"),
        (["demo", "--check"], "demo takes no option but --bind"),
        (["demo", "-b", "localhost"], "--bind: 'localhost' has no port; write localhost:8080"),
        (["demo", "-b", "fd://3"], "--bind: demo cannot listen on a descriptor"),
    ],
)
def test_a_bad_command_line_exits_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("command", ["explain", "new", ""])
def test_every_option_with_a_value_is_known_as_one(command: str) -> None:
    """Or its value would be taken for the command."""
    module = {"explain": explain, "new": new}.get(command, cli)
    options = [
        action for action in module._parser()._actions if action.option_strings and action.nargs is None
    ]
    assert options
    assert {name for action in options for name in action.option_strings} <= cli._WITH_VALUE


@pytest.mark.parametrize("flag", ["-w", "-b"])
def test_an_empty_flag_is_not_ignored(file: Path, flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["-c", str(file), flag, "", "--check"]) == 2
    assert capsys.readouterr().err.startswith("command line: [core] ")


# --- demo ---------------------------------------------------------------------------------------------


def test_demo_gets_its_binds(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Sequence[str]] = []

    def demo(binds: Sequence[str]) -> int:
        seen.append(binds)
        return 5

    monkeypatch.setitem(sys.modules, "pyrox.green.demo", SimpleNamespace(main=demo))  # type: ignore[arg-type]
    assert cli.main(["demo"]) == 5
    assert cli.main(["demo", "-b", "127.0.0.1:0", "-b", "unix:/tmp/x.sock"]) == 5
    assert seen == [[], ["127.0.0.1:0", "unix:/tmp/x.sock"]]


@pytest.mark.parametrize("arguments", [["--print-config"], ["explain", "/"]])
def test_reader_that_has_read_enough_is_no_fault(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "p.ini").write_text("")
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "pyrox", *arguments, "-c", str(tmp_path / "p.ini")]
    with open(writer, "wb") as pipe:
        ended = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")
