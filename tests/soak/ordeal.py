#!/usr/bin/env python3
"""Faults of the proxy's own machine under load: every answer verified, and all as before in the end::

    python -m tests.soak.ordeal [--only worker-killed]        # as root, about five minutes

Workers and masters are killed and stopped, disks fill up, descriptors run out, the clock jumps, Redis and the
upstream go away, while ``tests/soak/witnesses.py`` asks and judges. Each ordeal holds when

- no answer was wrong, in no moment, and none took longer than the witnesses' patience,
- whatever else is not right was one of the verdicts that the ordeal tolerates, from the fault's beginning to
  5 seconds after its end, and everything was right before and after,
- the proxy has as many descriptors in the end as in the beginning, and no more memory than a first time
  explains.

The exit status is 0 when all hold. Disks are tmpfs in a mount namespace that only this program sees; clocks
jump by libfaketime (Debian: ``faketime``), for one cannot turn the machine's.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

from tests.soak import rates
from tests.soak.faults import FAKETIME, ORDEALS
from tests.soak.scene import perform
from tests.support.redis_server import RedisServer

_INSIDE = "PYROX_SOAK_NAMESPACE"
REDIS = tuple(f"redis-{how}-{choice}" for how in ("killed", "stopped") for choice in rates.EXPECTED)


def lose_redis(name: str) -> bool:
    """Lose Redis under rate limits, as ``tests.soak.rates`` does at length."""
    _, how, choice = name.split("-")
    with RedisServer() as server:
        return rates.lose(server, choice, how, seconds=1.5, bound=2.0)


def go_through(name: str) -> bool:
    """Go through the ordeal of that name; returns whether it holds."""
    if name in REDIS:
        return lose_redis(name)
    with tempfile.TemporaryDirectory(prefix="pyrox-ordeal-") as folder:
        return perform(ORDEALS[name], Path(folder))


def main() -> int:
    names = (*ORDEALS, *REDIS)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=", ".join(names))
    arguments = parser.parse_args()
    if os.geteuid() or shutil.which("unshare") is None:
        print("disks are filled in a mount namespace, which takes root and util-linux", file=sys.stderr)
        return 2
    if not Path(FAKETIME).exists():
        print("libfaketime turns the clock: apt-get install faketime", file=sys.stderr)
        return 2
    if _INSIDE not in os.environ:  # so that what is mounted is nobody else's, and gone with this program
        os.environ[_INSIDE] = "yes"
        os.execvp("unshare", ["unshare", "--mount", *sys.orig_argv])
    failed = [name for name in arguments.only or names if not go_through(name)]
    print(f"failed: {', '.join(failed)}" if failed else "all hold")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
