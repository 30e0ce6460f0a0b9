"""What ``ps`` and ``top`` call a process."""

from __future__ import annotations

import contextlib
import importlib


def set_title(title: str) -> None:
    """Name this process after ``title``, ``role [name]``: ``name`` in ``ps -o comm``, cut to 15 bytes.

    With the package setproctitle installed the whole command line reads ``pyrox: role [name]``.
    """
    with contextlib.suppress(ImportError):
        importlib.import_module("setproctitle").setproctitle(f"pyrox: {title}")
    name = title.partition("[")[2].rpartition("]")[0]
    # Elsewhere than on Linux there is no such file, and no harm in that.
    with contextlib.suppress(OSError), open("/proc/self/comm", "wb") as comm:
        comm.write(name.encode()[:15])
