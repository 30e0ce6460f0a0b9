"""What ``/proc`` knows of a process: children, descriptors, memory."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def children_of(pid: int) -> list[int]:
    """The living children of ``pid``, oldest first; zombies do not count."""
    return sorted(child for child in _all_pids() if _state_and_parent(child) == (True, pid))


def fd_count(pid: int) -> int:
    """How many descriptors ``pid`` has open; 0 when it is gone."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except FileNotFoundError:
        return 0


def open_files(pid: int) -> list[str]:
    """What each descriptor of ``pid`` leads to; one that is closed while they are read is left out."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    return found


def resident_bytes(pid: int) -> int:
    """The resident memory of ``pid`` in bytes; 0 when it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except FileNotFoundError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _state_and_parent(pid: int) -> tuple[bool, int]:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False, 0
    state, parent = stat.rpartition(")")[2].split()[:2]  # the command before it may hold anything
    return state not in ("Z", "X"), int(parent)
