"""A Debian machine of its own, to install packages on: a root made by mmdebstrap, in namespaces.

It shares the kernel with the machine the tests run on, and nothing else: not its files, its processes, its
users, its network or its service manager. What a machine changed is gone when it ends::

    with running_machine(root, tmp_path, SYSTEMD) as machine:
        machine.run("dpkg", "-i", "/opt/pyrox.deb")
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.support.processes import children_of

# A first process that does nothing but to reap what its children left behind.
IDLE = ("/bin/sh", "-c", "while :; do sleep 3600 & wait; done")
# Enough of the system for services to start; the rest would be about devices and terminals.
SYSTEMD = ("/lib/systemd/systemd", "--unit=basic.target")

_BOOT = Path(__file__).with_name("boot_machine.sh")
_NAMESPACES = ("--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup")
_ENTER = ("--mount", "--pid", "--net", "--uts", "--ipc", "--root", "--wd")
_PATH = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
_TIMEOUT = 60.0


def why_no_machine() -> str:
    """Say what this computer lacks to run one; ``""`` when nothing is."""
    if os.geteuid() != 0:
        return "needs root"
    if "ID=debian" not in Path("/etc/os-release").read_text().splitlines():
        return "needs Debian, whose packages it installs"
    missing = [name for name in ("mmdebstrap", "unshare", "nsenter", "ip") if shutil.which(name) is None]
    if missing:
        return f"needs {', '.join(missing)}"
    allowed = subprocess.run(
        ["unshare", *_NAMESPACES, "--fork", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True
    )
    return "" if allowed.returncode == 0 else f"needs namespaces: {allowed.stderr.decode().strip()}"


def make_root(folder: Path, packages: Sequence[str]) -> None:
    """Install this release's essential packages and ``packages`` into ``folder``.

    Raises ``CalledProcessError`` when a package cannot be had.
    """
    release = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line
    )
    command = ["mmdebstrap", "--quiet", "--variant=essential", f"--include={','.join(packages)}"]
    command += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("man", "locale", "doc")]
    command.append("--dpkgopt=force-unsafe-io")  # nobody needs it after a power cut
    subprocess.run([*command, release["VERSION_CODENAME"].strip('"'), folder], check=True, timeout=500)
    (folder / "etc/hosts").write_text("127.0.0.1 localhost\n")


class Machine:
    """A machine that runs; made by ``running_machine``."""

    def __init__(self, pid: int, files: Path) -> None:
        self._pid = pid  # of its first process, as seen from outside
        self.files = files  # what it changed, by path

    def try_run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run ``command`` there as root, with a bare environment; standard error goes to ``stdout``, too."""
        enter = ["nsenter", "--target", str(self._pid), *_ENTER, "env", "-i", _PATH]
        return subprocess.run(
            [*enter, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_TIMEOUT,
        )

    def run(self, *command: str) -> str:
        """Run ``command`` and return what it printed; ``AssertionError`` when it fails."""
        done = self.try_run(*command)
        assert done.returncode == 0, f"{' '.join(command)}: status {done.returncode}\n{done.stdout}"
        return done.stdout

    def wait_until(self, *command: str) -> None:
        """Run ``command`` again and again until it succeeds."""
        deadline = time.monotonic() + _TIMEOUT
        while (done := self.try_run(*command)).returncode:
            assert time.monotonic() < deadline, f"{' '.join(command)} still fails:\n{done.stdout}"
            time.sleep(0.05)


@contextlib.contextmanager
def running_machine(root: Path, scratch: Path, init: Sequence[str]) -> Iterator[Machine]:
    """Boot ``root``, which stays as it is, with ``init`` as the first process."""
    with _own_cgroup() as group:
        command = ["unshare", *_NAMESPACES, "--fork", "--kill-child", _BOOT, root, scratch, *init]
        with (scratch / "boot.log").open("wb") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=group.join
            )
        try:
            yield _booted(process, scratch, init)
        finally:
            process.kill()  # and the kernel everything in its namespaces
            process.wait()


def _booted(process: subprocess.Popen[bytes], scratch: Path, init: Sequence[str]) -> Machine:
    deadline = time.monotonic() + _TIMEOUT
    ready = ("systemctl", "is-active", "basic.target") if init == SYSTEMD else ("test", "!", "-e", "/mnt/etc")
    while True:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the machine did not boot:\n{(scratch / 'boot.log').read_text()}")
        for pid in children_of(process.pid):
            machine = Machine(pid, scratch / "changes")
            if _is_init(pid, init) and machine.try_run(*ready).returncode == 0:
                return machine
        time.sleep(0.05)


def _is_init(pid: int, init: Sequence[str]) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except FileNotFoundError:
        return False
    return command[: len(init)] == list(init)


class _Group:
    """A control group for the machine's own systemd to divide."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def join(self) -> None:
        (self._folder / "cgroup.procs").write_text("0")

    def remove(self) -> None:
        folders = sorted((path for path in self._folder.rglob("*") if path.is_dir()), reverse=True)
        for folder in [*folders, self._folder]:
            _remove_when_empty(folder)


@contextlib.contextmanager
def _own_cgroup() -> Iterator[_Group]:
    mounts = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    top = next(Path(fields[1]) for fields in mounts if fields[2] == "cgroup2")
    folder = top / f"pyrox-test-{os.getpid()}-{time.monotonic_ns()}"
    folder.mkdir()
    group = _Group(folder)
    try:
        yield group
    finally:
        group.remove()


def _remove_when_empty(folder: Path) -> None:
    deadline = time.monotonic() + _TIMEOUT
    while True:
        try:
            folder.rmdir()
            return
        except OSError:  # the kernel is still ending the processes in it
            if time.monotonic() > deadline:
                raise
        time.sleep(0.02)
