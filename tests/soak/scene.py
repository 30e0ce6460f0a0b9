"""A proxy with the demo upstream behind it and witnesses before it, and what a fault did to them."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.soak.witnesses import LATE, RIGHT, Testimony, Witnesses
from tests.support.config import Config
from tests.support.masters import Master
from tests.support.processes import children_of, fd_count, resident_bytes
from tests.support.proxy import Proxy, running_proxy
from tests.support.wire import Address

WORKERS = 2
RECOVERY = 5.0  # seconds after the end of a fault in which it may still be felt
CALM = 3.0  # seconds of load before a fault, and after the recovery
# MiB that a process may have more in the end: what it loads and allocates once, when it first meets a fault.
GROWTH = 24


class Upstream:
    """The demo upstream in a process of its own, on a port that it keeps."""

    def __init__(self) -> None:
        self.port = free_port()
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "pyrox", "demo", "--bind", f"127.0.0.1:{self.port}"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        return process

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def restart(self) -> None:
        """Kill it, and start it again after a moment in which nobody listens."""
        self._process.kill()
        self._process.wait()
        time.sleep(1)
        self._process = self._start()

    def close(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()


@dataclass
class Scene:
    """What a fault is done to, and where it adds what it finds wrong itself, and what to tell."""

    proxy: Proxy
    upstream: Upstream
    folder: Path
    witnesses: Witnesses
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def wait_until(self, is_true: Callable[[], bool], what: str, timeout: float = RECOVERY) -> None:
        """Wait until it is true; a fault when it is not within ``timeout`` seconds."""
        try:
            self.proxy.wait_until(is_true, what, timeout)
        except TimeoutError as error:
            self.faults.append(str(error))


@dataclass(frozen=True)
class Ordeal:
    """A fault, and what it may cost.

    ``act`` begins the fault, waits, and ends it. ``tolerated`` are the verdicts that are allowed while it
    lasts and ``RECOVERY`` seconds on, besides ``right``. ``config`` makes the proxy's of a folder that is its
    own, ``env`` what is added to its environment.
    """

    name: str
    act: Callable[[Scene], None]
    tolerated: frozenset[str] = frozenset()
    config: Callable[[Path], Config] = lambda folder: {}
    env: Callable[[Path], dict[str, str]] = lambda folder: {}
    after: Callable[[Scene], None] = lambda scene: None
    binds: Callable[[], tuple[str, ...]] = tuple


@dataclass(frozen=True)
class Needs:
    """What the processes of a proxy need: descriptors, and MiB."""

    descriptors: int
    mebibytes: int

    @classmethod
    def of(cls, proxy: Proxy) -> Needs:
        pids = [proxy.pid, *children_of(proxy.pid)]
        return cls(sum(map(fd_count, pids)), sum(map(resident_bytes, pids)) >> 20)


def free_port() -> int:
    """Return a port that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def address_of(proxy: Proxy, binds: tuple[str, ...]) -> Address:
    """Where clients find it."""
    return proxy.addresses()[0] if binds else proxy.address


def base_config(upstream: Upstream) -> Config:
    """Short time-outs, for what is waited for is to be seen."""
    return {
        "core": {"graceful_timeout": 5, "worker_timeout": 10},
        "routing": {"upstream_hosts": f"http://127.0.0.1:{upstream.port}"},
        "timeouts": {"upstream_idle": 2, "upstream_first_byte": 4, "upstream_read": 4, "client_body": 4},
        "logging": {"access_log": "", "verbosity": "INFO"},
    }


def perform(ordeal: Ordeal, folder: Path) -> bool:
    """Go through one ordeal and print what came of it; returns whether all was as it should be."""
    upstream = Upstream()
    try:
        config = merged(base_config(upstream), ordeal.config(folder))
        binds = ordeal.binds()
        with running_proxy(config, workers=WORKERS, env=ordeal.env(folder), binds=binds) as proxy:
            faults, report = _judged(ordeal, proxy, upstream, folder, address_of(proxy, binds))
            if faults:
                print(proxy.error_log()[-3000:], file=sys.stderr)
    finally:
        upstream.close()
    print(f"{'FAIL' if faults else 'ok  '} {ordeal.name:22} {report}", flush=True)
    for fault in faults[:10]:
        print(f"     {fault}", flush=True)
    return not faults


def merged(config: Config, more: Config) -> Config:
    """Return ``config`` with the options of ``more`` in its sections."""
    return {name: {**config.get(name, {}), **more.get(name, {})} for name in {**config, **more}}


def _judged(
    ordeal: Ordeal, proxy: Proxy, upstream: Upstream, folder: Path, address: Address
) -> tuple[list[str], str]:
    proxy.worker_pids(WORKERS)
    Master(proxy).reload(WORKERS)  # the first one adds a descriptor to each worker
    warm_up(address)
    before = settled(proxy)
    with Witnesses(address) as witnesses:
        scene = Scene(proxy, upstream, folder, witnesses)
        time.sleep(CALM)
        began = time.monotonic()
        ordeal.act(scene)
        ended = time.monotonic()
        time.sleep(RECOVERY + CALM)
    ordeal.after(scene)
    after = _returned(scene, before)
    faults = [*scene.faults, *_misdeeds(witnesses.testimonies, ordeal, began, ended)]
    if after.descriptors > before.descriptors:
        faults.append(f"{after.descriptors} descriptors, were {before.descriptors}")
    if after.mebibytes > before.mebibytes + GROWTH * (1 + WORKERS):
        faults.append(f"{after.mebibytes} MiB, were {before.mebibytes}")
    return faults, _report(scene, began, ended, before, after)


def warm_up(address: Address) -> None:
    """Let a proxy load what it needs."""
    with Witnesses(address, count=40, pause=0.05):
        time.sleep(2)


def settled(proxy: Proxy) -> Needs:
    """What an idle proxy needs: idle connections to servers are closed by now."""
    needs = [Needs.of(proxy)]
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        time.sleep(1.5)
        needs.append(Needs.of(proxy))
        if len(needs) > 3 and len({each.descriptors for each in needs[-3:]}) == 1:
            break
    return needs[-1]


def _returned(scene: Scene, before: Needs) -> Needs:
    with contextlib.suppress(TimeoutError):
        scene.proxy.wait_until(
            lambda: Needs.of(scene.proxy).descriptors <= before.descriptors, "return of descriptors", 20
        )
    return Needs.of(scene.proxy)


def _misdeeds(testimonies: list[Testimony], ordeal: Ordeal, began: float, ended: float) -> Iterator[str]:
    """What no fault excuses."""
    found: Counter[str] = Counter()
    for each in testimonies:
        in_time = each.ended >= began and each.began <= ended + RECOVERY
        if each.verdict != RIGHT and not (in_time and each.verdict in ordeal.tolerated):
            phase = "before" if each.ended < began else "during" if each.began <= ended else "after"
            found[f"{each.verdict} {phase} the fault, {each.request}"] += 1
    yield from (f"{count} x {what}" for what, count in found.items())
    if not any(each.verdict == RIGHT and each.began > ended + RECOVERY for each in testimonies):
        yield "nobody was served after the fault"


def _report(scene: Scene, began: float, ended: float, before: Needs, after: Needs) -> str:
    testimonies = scene.witnesses.testimonies
    verdicts = scene.witnesses.verdicts()
    unwell = [each.ended for each in testimonies if each.verdict != RIGHT]
    slowest = max(each.ended - each.began for each in testimonies)
    bad = ", ".join(f"{count} x {verdict}" for verdict, count in verdicts.items() if verdict != RIGHT)
    felt = f"felt until {max(0.0, max(unwell) - ended):.1f} s after" if unwell else "not felt"
    return (
        f"{ended - began:4.1f} s; {verdicts[RIGHT]} right, {bad or 'no other'}; {felt}; "
        f"slowest {slowest:.1f} s{' (late)' * bool(verdicts[LATE])}; "
        f"fds {before.descriptors} -> {after.descriptors}, MiB {before.mebibytes} -> {after.mebibytes}"
        f"{''.join(f'; {note}' for note in scene.notes)}"
    )


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
