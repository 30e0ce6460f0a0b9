"""``Heartbeat``: the file by which a worker shows its master that it lives, in memory.

gunicorn's is a file of the directory for temporary files. A worker that dies while that disk is full could
not be replaced, and one whose disk does not answer would hang with it.
"""

from __future__ import annotations

import os

from gunicorn.config import Config
from gunicorn.workers.workertmp import WorkerTmp


class Heartbeat(WorkerTmp):  # type: ignore[misc]
    """Made by the master before the fork; its time of change is the monotonic time of the last beat.

    Raises ``OSError`` where there is no descriptor for it.
    """

    def __init__(self, cfg: Config) -> None:
        self._tmp = os.fdopen(os.memfd_create("pyrox-heartbeat"), "w+b", 0)
        if (cfg.uid, cfg.gid) != (os.geteuid(), os.getegid()):
            os.fchown(self._tmp.fileno(), cfg.uid, cfg.gid)  # whoever beats must own it
