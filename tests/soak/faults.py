"""The faults of ``tests.soak.ordeal``, by name, each with what it may cost."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

from tests.soak.scene import WORKERS, Ordeal, Scene, cpu_seconds, free_port
from tests.soak.witnesses import LOST
from tests.support.config import Config
from tests.support.masters import Master, has_ended
from tests.support.processes import children_of
from tests.support.proxy import ROOT

FAKETIME = f"/usr/lib/{sysconfig.get_config_var('MULTIARCH')}/faketime/libfaketime.so.1"


# --- processes


def kill_workers(scene: Scene) -> None:
    """One after the other, and in the end all at once."""
    master = Master(scene.proxy)
    for _ in range(2):
        victim = master.workers()[0]
        os.kill(victim, signal.SIGKILL)
        master.wait_for_workers(WORKERS, none_of=[victim])
    victims = master.workers()
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
    master.wait_for_workers(WORKERS, none_of=victims)


def pause_worker(scene: Scene) -> None:
    """For less than ``worker_timeout``: its clients wait."""
    victim = Master(scene.proxy).workers()[0]
    os.kill(victim, signal.SIGSTOP)
    time.sleep(4)
    os.kill(victim, signal.SIGCONT)


def hang_worker(scene: Scene) -> None:
    """For ever: the master has to end it after ``worker_timeout``."""
    master = Master(scene.proxy)
    victim = master.workers()[0]
    os.kill(victim, signal.SIGSTOP)
    scene.wait_until(lambda: has_ended(victim), "end of a worker that hangs", 10)
    master.wait_for_workers(WORKERS, none_of=[victim])


def pause_all(scene: Scene) -> None:
    """The whole proxy, for longer than ``worker_timeout``, as a container that is frozen."""
    pids = [scene.proxy.pid, *children_of(scene.proxy.pid)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(5)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def kill_master(scene: Scene) -> None:
    """The workers must leave the port to the master that is started in its place."""
    proxy, orphans = scene.proxy, children_of(scene.proxy.pid)
    command = Path(f"/proc/{proxy.pid}/cmdline").read_bytes().decode().split("\0")[:-1]
    proxy.signal(signal.SIGKILL)
    proxy.wait()
    scene.wait_until(lambda: all(map(has_ended, orphans)), "end of the workers without a master", 10)
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (proxy.folder / "error.log").open("ab") as log:
        group = subprocess.Popen(
            command, cwd=proxy.folder, env=environ, stdout=log, stderr=log, start_new_session=True
        )
    proxy.process = group
    Master(proxy).wait_for_workers(WORKERS)


# --- disks


def disk(folder: Path) -> Path:
    """A disk of 256 KiB and a few dozen files."""
    place = folder / "disk"
    if not place.is_mount():
        place.mkdir()
        size = "size=256k,nr_inodes=64"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", place], check=True)
    return place


def logs_on_disk(folder: Path) -> Config:
    place = disk(folder)
    return {
        "logging": {
            "access_log": str(place / "access.log"),
            "access_log_format": "json",
            "logfile": str(place / "error.log"),
        }
    }


def fill_disk(scene: Scene) -> None:
    """No block, no file; a worker is killed, and the configuration loaded again, before there is room."""
    place, master = scene.folder / "disk", Master(scene.proxy)
    with contextlib.suppress(OSError), (place / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))
    with contextlib.suppress(OSError):
        for number in range(1000):
            (place / f"file-{number}").touch()
    time.sleep(2)
    victim = master.workers()[0]
    os.kill(victim, signal.SIGKILL)
    scene.wait_until(lambda: len(set(master.workers()) - {victim}) == WORKERS, "worker on a full disk", 4)
    master.signal(signal.SIGHUP)
    time.sleep(3)
    for name in place.glob("file-*"):
        name.unlink()
    (place / "filler").unlink()
    with (place / "access.log").open("rb+") as log:  # what a rotation would do
        log.truncate()
    scene.wait_until(lambda: len(master.workers()) == WORKERS, "all workers")


def logs_are_whole(scene: Scene) -> None:
    """After the disk was full: lines are written again, none of them torn or mixed up."""
    place = scene.folder / "disk"
    scene.wait_until(lambda: b"writing again" in (place / "error.log").read_bytes(), "word of lost lines")
    lines = (place / "access.log").read_bytes().split(b"\n")
    torn = [line for line in lines[:-1] if line and not _is_json(line)]
    scene.notes.append(f"{len(lines) - 1} lines logged after")
    scene.faults.extend(f"torn line {line[:60]!r}" for line in torn[:3])
    subprocess.run(["umount", "--lazy", place], check=True)


def _is_json(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line.strip(b"\0")), dict)
    except ValueError:
        return False


# --- descriptors


@contextlib.contextmanager
def descriptors_below(limit: int, pid: int) -> Iterator[None]:
    """Let a process open no descriptor from ``limit`` on; those that it has stay open."""
    old = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, old[1]))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, old)


def exhaust_workers(scene: Scene) -> None:
    """Connections that say nothing take all the descriptors of the workers; then they leave."""
    workers = Master(scene.proxy).workers()
    with contextlib.ExitStack() as stack:
        for pid in workers:
            highest = max(map(int, os.listdir(f"/proc/{pid}/fd")))
            stack.enter_context(descriptors_below(highest + 30, pid))
        hoard = [socket.create_connection(scene.proxy.address, 10) for _ in range(200)]
        time.sleep(1)
        used = sum(map(cpu_seconds, workers))
        time.sleep(4)
        share = (sum(map(cpu_seconds, workers)) - used) / 4
        for sock in hoard:
            sock.close()
        left = time.monotonic()
        scene.wait_until(lambda: bool(scene.witnesses.verdicts(left)["right"]), "service when others left")
    scene.notes.append(f"workers used {share:.0%} of a core meanwhile")
    if share > 0.5:
        scene.faults.append(f"workers without descriptors use {share:.0%} of a core")


def exhaust_master(scene: Scene) -> None:
    """The master cannot start a worker in place of one that was killed, and has to go on trying."""
    master = Master(scene.proxy)
    victim = master.workers()[0]
    with descriptors_below(3, scene.proxy.pid):
        os.kill(victim, signal.SIGKILL)
        scene.proxy.wait_for_log("no worker can be started")
        master.signal(signal.SIGHUP)
        time.sleep(3)
    master.wait_for_workers(WORKERS, none_of=[victim])


# --- the clock


def wrong_clock(folder: Path) -> dict[str, str]:
    """The time of day is that of the file ``clock``; durations are true."""
    (folder / "clock").write_text("+0")
    return {
        "LD_PRELOAD": FAKETIME,
        "FAKETIME_TIMESTAMP_FILE": str(folder / "clock"),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }


def limited_by_time(folder: Path) -> Config:
    return {
        "middleware": {"stack": "rate_limit", "rate_limit": {"policies": "1000000/minute per client"}},
        "logging": {"access_log": str(folder / "access.log")},
    }


def turn_clock(scene: Scene) -> None:
    """A day on, two back, a year on, back to the truth; a worker is replaced at every turn."""
    master = Master(scene.proxy)
    for offset in ("+1d", "-2d", "+1y", "+0"):
        (scene.folder / "clock").write_text(offset)
        time.sleep(1)
        master.reload(WORKERS)


def clock_was_turned(scene: Scene) -> None:
    """The log shows whether it was."""
    years = {line.split("/")[2][:4] for line in (scene.folder / "access.log").read_text().splitlines()}
    scene.notes.append(f"years in the log: {', '.join(sorted(years))}")
    if len(years) < 2:
        scene.faults.append("the clock was not turned")


# --- the upstream


def stop_upstream(scene: Scene) -> None:
    """It stands still for longer than it may, then goes on."""
    scene.upstream.signal(signal.SIGSTOP)
    time.sleep(6)
    scene.upstream.signal(signal.SIGCONT)


def restart_upstream(scene: Scene) -> None:
    """It dies in the middle of everything, and is back a second later."""
    for _ in range(2):
        scene.upstream.restart()
        time.sleep(1)


def own_bind() -> tuple[str, ...]:
    return (f"127.0.0.1:{free_port()}",)


def hasty_master(folder: Path) -> Config:
    return {"core": {"worker_timeout": 3}}


_LOST = frozenset({LOST})
_NO_UPSTREAM = frozenset({LOST, "502", "504"})
ORDEALS = {
    each.name: each
    for each in (
        Ordeal("worker-killed", kill_workers, _LOST),
        Ordeal("worker-paused", pause_worker),
        Ordeal("worker-hangs", hang_worker, _LOST, config=hasty_master),
        Ordeal("all-paused", pause_all, frozenset({"504"}), config=hasty_master),
        Ordeal("master-killed", kill_master, _LOST, binds=own_bind),
        Ordeal(
            "disk-full", fill_disk, _LOST, logs_on_disk, lambda folder: {"TMPDIR": str(disk(folder))},
            after=logs_are_whole,
        ),
        Ordeal("no-descriptors", exhaust_workers, frozenset({"502", "503"})),
        Ordeal("no-descriptors-master", exhaust_master, _LOST),
        Ordeal("clock-jumps", turn_clock, config=limited_by_time, env=wrong_clock, after=clock_was_turned),
        Ordeal("upstream-stopped", stop_upstream, _NO_UPSTREAM),
        Ordeal("upstream-restarted", restart_upstream, _NO_UPSTREAM),
    )
}  # fmt: skip
