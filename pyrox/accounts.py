"""The account that workers run as."""

from __future__ import annotations

import grp
import os
import pwd

from pyrox.settings import CoreSettings


def user_id(name: str) -> int:
    """Return the number of the user ``name``, itself a number or not; raises ``KeyError``."""
    return int(name) if name.isdigit() else pwd.getpwnam(name).pw_uid


def group_id(name: str) -> int:
    """Return the number of the group ``name``, itself a number or not; raises ``KeyError``."""
    return int(name) if name.isdigit() else grp.getgrnam(name).gr_gid


def worker_account(core: CoreSettings) -> tuple[int, int]:
    """Return the numbers of the user and the group of the workers; raises ``KeyError``."""
    user = user_id(core.user) if core.user else os.geteuid()
    if core.group:
        return user, group_id(core.group)
    try:
        return user, pwd.getpwuid(user).pw_gid if core.user else os.getegid()
    except KeyError:  # a number that has no entry, as in containers
        return user, os.getegid()


def has_account(core: CoreSettings) -> bool:
    """Whether this machine knows the user and the group that the workers are to run as."""
    try:
        worker_account(core)
    except KeyError:
        return False
    return True


def become_worker(core: CoreSettings) -> None:
    """Give up this process's account for the workers' for good, and every group that is not theirs.

    Does nothing when there is nothing to give up. Raises ``OSError`` when that is not allowed.
    """
    user, group = worker_account(core)
    if (user, group) == (os.geteuid(), os.getegid()):
        return
    if os.geteuid() == 0:
        try:
            os.initgroups(pwd.getpwuid(user).pw_name, group)
        except KeyError:
            os.setgroups([group])
    os.setgid(group)
    os.setuid(user)
