"""A profiled worker: one, and its CPU time in files at its end."""

from __future__ import annotations

import pstats
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import PLUGINS
from tests.integration.kit import get
from tests.support.config import Config
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Client

REQUESTS, SECONDS_EACH = 20, 0.02


def config(folder: Path) -> Config:
    return {
        "core": {"enable_profiling": True, "profile_dir": str(folder), "processes": 4, "graceful_timeout": 5},
        "middleware": {"stack": "busy", "busy": {"class": "busy.Busy"}},
    }


def profile_of(proxy: Proxy, folder: Path) -> tuple[Path, Path]:
    """The files of the one worker, which has been told to stop."""
    proxy.wait_for_log("profile written to ")
    paths = re.findall(r"profile written to (\S+\.pstats) and (\S+\.folded)", proxy.error_log())
    assert len(paths) == 1
    assert sorted(folder.iterdir()) == sorted(map(Path, paths[0]))
    return Path(paths[0][0]), Path(paths[0][1])


def ask_at_the_same_time(proxy: Proxy) -> None:
    clients = [Client(proxy.address) for _ in range(REQUESTS)]
    for client in clients:
        client.send(get())
    for client in clients:
        assert client.read_response().status == 200
        client.close()


@pytest.fixture(scope="module", params=[signal.SIGTERM, signal.SIGQUIT], ids=["TERM", "QUIT"])
def files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """What a run leaves behind that had twenty requests, whose greenlets take turns."""
    folder = tmp_path_factory.mktemp("profile")
    with running_proxy(config(folder), workers=4, python_path=[PLUGINS]) as proxy:
        ask_at_the_same_time(proxy)
        [worker] = proxy.worker_pids(1)
        assert list(folder.iterdir()) == []
        proxy.signal(request.param)
        assert proxy.wait() == 0
        paths = profile_of(proxy, folder)
        assert paths[0].name == f"pyrox-{worker}.pstats"
        return paths


def test_pstats_knows_what_a_middleware_costs_and_charges_nobody_for_waiting(
    files: tuple[Path, Path],
) -> None:
    stats = pstats.Stats(str(files[0])).stats  # type: ignore[attr-defined]
    costs = {name: cost for (path, _, name), cost in stats.items() if path.endswith("/busy.py")}
    total = REQUESTS * SECONDS_EACH
    assert costs["Busy.compute"][2] == pytest.approx(total, rel=0.3)  # in the function itself
    assert costs["Busy.__call__"][3] == pytest.approx(total, rel=0.4)  # and below it
    assert costs.get("Busy.idle", (0, 0, 0.0, 0.0))[3] < 0.1 * total
    [caller] = [name for _, _, name in costs["Busy.compute"][4]]
    assert caller == "Busy.__call__"


def test_pstats_prints_it(files: tuple[Path, Path]) -> None:
    command = [sys.executable, "-m", "pstats", str(files[0])]
    shown = subprocess.run(command, input=b"sort cumulative\nstats 10\n", capture_output=True, timeout=60)
    assert b"(Busy.compute)" in shown.stdout


def test_folded_stacks_are_whole_and_have_a_count_each(files: tuple[Path, Path]) -> None:
    lines = files[1].read_text().splitlines()
    # What flamegraph.pl and speedscope read: frames between semicolons, a blank, a number.
    stacks = [re.fullmatch(r"([^;]+(?:;[^;]+)*) ([0-9]+)", line) for line in lines]
    assert all(stacks)
    computing = [
        (match[1].split(";"), int(match[2])) for match in stacks if match and "Busy.compute" in match[1]
    ]
    assert sum(count for _, count in computing) == pytest.approx(REQUESTS * SECONDS_EACH * 1e6, rel=0.3)
    frames = computing[0][0]
    names = [frame.partition(" ")[0] for frame in frames]
    assert names[-2:] == ["Busy.__call__", "Busy.compute"]
    assert names.index("ProxyServer.handle") < names.index("ClientConnection.serve")
    assert frames[-1].endswith("(busy.py:18)")
    serve = frames[names.index("ClientConnection.serve")]
    assert re.fullmatch(r"ClientConnection\.serve \(pyrox/green/client\.py:\d+\)", serve)


def test_reload_ends_one_profile_and_begins_another(tmp_path: Path) -> None:
    with running_proxy(config(tmp_path), python_path=[PLUGINS]) as proxy:
        [before] = proxy.worker_pids(1)
        proxy.signal(signal.SIGHUP)
        proxy.wait_until(lambda: (tmp_path / f"pyrox-{before}.folded").exists(), "the first worker's profile")
        proxy.wait_until(lambda: proxy.worker_pids(1) not in ([], [before]), "a second worker")
        ask_at_the_same_time(proxy)
        [after] = proxy.worker_pids(1)
        proxy.terminate()
    assert "Busy.compute" in (tmp_path / f"pyrox-{after}.folded").read_text()


def test_profile_that_cannot_be_written_is_an_error_in_the_log(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    with running_proxy(config(folder), python_path=[PLUGINS]) as proxy:
        proxy.worker_pids(1)
        folder.rmdir()
        assert proxy.terminate() == 0
        proxy.wait_for_log("ERROR the profile cannot be written: ")


def test_without_the_option_nothing_is_written(tmp_path: Path) -> None:
    with running_proxy({}, python_path=[PLUGINS]) as proxy:
        proxy.worker_pids(1)
        assert proxy.terminate() == 0
        assert [path.name for path in proxy.folder.iterdir() if path.name.startswith("pyrox-")] == []
