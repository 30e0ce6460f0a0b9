"""What systemd is told (sd_notify(3)) and what it hands over (sd_listen_fds(3))."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import MutableMapping

log = logging.getLogger("pyrox")

_FIRST_DESCRIPTOR = 3


class Notifier:
    """Tells the service manager how the master is; does nothing when there is none.

    Takes ``NOTIFY_SOCKET`` out of the environment: gunicorn would say that it is ready before a worker
    is, and no child of a worker should speak for the service.
    """

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        address = environ.pop("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address

    def ready(self, status: str) -> None:
        """The workers serve."""
        self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """A reload began; ``ready`` ends it, also when it failed."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The proxy ends."""
        self._send("STOPPING=1")

    def follow(self, pid: int) -> None:
        """The service's main process is ``pid`` from now on."""
        self._send(f"MAINPID={pid}")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            log.warning("cannot tell the service manager %r: %s", lines[0], error)


def activation_descriptors(environ: MutableMapping[str, str]) -> list[int]:
    """Return the listening sockets that systemd opened for this process, and forget that it did."""
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdigit():
        return []
    return list(range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + int(count)))
