"""Counting the instructions of a call with valgrind's callgrind: a cost that does not depend on the machine.

Time depends on the processor, on what its caches hold and on who else uses it; the number of instructions
does not. What it cannot see are system calls and cache misses.

A program under valgrind starts uncounted, at a fifth of its speed (counted it would be a thirtieth), and asks
for counting around the call alone. Each call is counted in a child of its own, forked when all modules are
loaded: it does not pay for their start again, and leaves nothing behind for the next one.
"""

from __future__ import annotations

import ctypes
import gc
import json
import mmap
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

Call = Callable[[], object]

# A client request, as valgrind/valgrind.h writes it: instructions without an effect, which valgrind knows.
# mov rax,rdi; xor edx,edx; rol rdi,3; rol rdi,13; rol rdi,61; rol rdi,51; xchg rbx,rbx; mov rax,rdx; ret
REQUEST = bytes.fromhex("4889f8 31d2 48c1c703 48c1c70d 48c1c73d 48c1c733 4887db 4889d0 c3")
START, STOP = 0x43540004, 0x43540005  # valgrind/callgrind.h: 'C' << 24 | 'T' << 16, then their places
RUNNING_ON_VALGRIND = 0x1001
PATIENCE = 900  # seconds for a call, which takes some ten, and a few minutes on a machine with too much to do


class CannotCount(RuntimeError):
    """This machine cannot count; the message says why, and what to do."""


def run_counted(script: Path, arguments: Sequence[str]) -> dict[str, int]:
    """Run a script that prints what ``count_each`` returned as JSON, and return that.

    Raises ``CannotCount``, and ``CalledProcessError`` when the script fails.
    """
    if platform.machine() != "x86_64":
        raise CannotCount(f"counting is written for x86_64, and this is {platform.machine()}")
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise CannotCount("counting needs valgrind: apt-get install valgrind")
    with tempfile.TemporaryDirectory(prefix="pyrox-count-") as directory:
        counting = ["--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={directory}/%p"]
        counter = [valgrind, "--quiet", *counting]
        # A sandbox may refuse what it does with memory, and its tools may be missing.
        tried = subprocess.run([*counter, "true"], stderr=subprocess.PIPE, text=True)
        if tried.returncode:
            raise CannotCount(f"valgrind does not work here: {tried.stderr.strip()}")
        command = [*counter, sys.executable, str(script), "--count-in", directory]
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        done = subprocess.run([*command, *arguments], stdout=subprocess.PIPE, env=environment, check=True)
    counts: dict[str, int] = json.loads(done.stdout)
    return counts


def count_each(prepares: Mapping[str, Callable[[], Call]], directory: Path) -> dict[str, int]:
    """Return the instructions of each call, by name; ``directory`` is where valgrind writes.

    ``prepares`` make the calls. Each call is run once before it is counted. All are counted at the same time.
    """
    children = {name: _fork(prepare) for name, prepare in prepares.items()}
    ends = {name: os.waitpid(child, 0)[1] for name, child in children.items()}
    if failed := [name for name, end in ends.items() if end]:
        raise RuntimeError(f"counting {', '.join(failed)} failed")
    return {name: _total(directory / str(child)) for name, child in children.items()}


def _fork(prepare: Callable[[], Call]) -> int:
    """Start a child that does nothing but count, and return its process id."""
    if child := os.fork():
        return child
    signal.alarm(PATIENCE)  # a road that waits for ever is to fail, not to stand still
    try:
        _count(prepare())
        os._exit(0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    os._exit(1)


def _count(call: Call) -> None:
    valgrind = Valgrind()
    if not valgrind.request(RUNNING_ON_VALGRIND):
        raise RuntimeError("not under valgrind")
    call()  # what is found out once and remembered
    gc.collect()
    gc.freeze()  # what was made until now is no part of the collector's rounds, as in a worker
    valgrind.request(START)
    call()
    valgrind.request(STOP)


class Valgrind:
    """What this process runs under, as it can be spoken to from within."""

    def __init__(self) -> None:
        self._code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        self._code.write(REQUEST)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._code))
        self._call = ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_void_p)(address)

    def request(self, number: int) -> int:
        """Make a client request without arguments, and return the answer: 0 when nobody hears it."""
        arguments = (ctypes.c_ulong * 6)(number)
        answer: int = self._call(ctypes.addressof(arguments))
        return answer


def _total(written: Path) -> int:
    """Return the sum in what callgrind wrote."""
    totals = [line.split()[1] for line in written.read_text().splitlines() if line.startswith("totals:")]
    return int(totals[-1])
