"""Rules of [core]: what this machine, and the user who starts Pyrox, allow its processes."""

from __future__ import annotations

import os
from collections.abc import Iterator

from pyrox.accounts import group_id, user_id
from pyrox.settings import CoreSettings

Problem = tuple[str, str, str]  # section, key, reason


def process_problems(core: CoreSettings) -> Iterator[Problem]:
    """Yield what is wrong with the options of the processes."""
    for key, problem in (
        ("user", _account_problem("user", core.user, os.geteuid())),
        ("group", _account_problem("group", core.group, os.getegid())),
        ("pid_file", _pid_file_problem(core.pid_file)),
        ("proc_name", "" if core.proc_name else "must not be empty"),
    ):
        if problem:
            yield "core", key, problem
    if core.max_requests_jitter and not core.max_requests:
        yield "core", "max_requests_jitter", "has no effect without max_requests"


def _account_problem(kind: str, name: str, own: int) -> str:
    if not name:
        return ""
    try:
        number = user_id(name) if kind == "user" else group_id(name)
    except KeyError:
        return f"there is no {kind} {name!r} on this machine"
    if os.geteuid() != 0 and number != own:
        return f"only root can start workers as another {kind}"
    return ""


def _pid_file_problem(path: str | None) -> str:
    if path is None:
        return ""
    if os.path.isdir(path):
        return f"{path!r} is a directory"
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        return f"{directory!r} is not a directory; make it first"
    if not os.access(directory, os.W_OK):
        return f"no file can be made in {directory!r} by this user"
    return ""
