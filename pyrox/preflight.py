"""What a start needs besides a valid file: logs that can be written and middleware that can be made."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

from pyrox.accounts import become_worker, has_account, worker_account
from pyrox.config_report import Report
from pyrox.errors import ConfigError
from pyrox.settings import Settings

_CHECK_TIMEOUT = 60  # seconds that importing and constructing all middleware may take


def use_plugin_paths(settings: Settings) -> None:
    """Put ``plugin_paths`` on the import path.

    They come last, so that a file in them can not take the place of an installed module by its name.
    """
    sys.path += [path for path in settings.core.plugin_paths if path not in sys.path]


def check_logs(settings: Settings) -> None:
    """Raise ``ConfigError`` when a log could not be opened for writing; nothing is created."""
    report = Report(settings.source, {})
    for key in ("logfile", "access_log"):
        path = getattr(settings.logging, key)
        if path not in (None, "-") and (reason := _unwritable(path)):
            report.add("logging", key, reason)
    report.raise_if_any()


def check_middleware(settings: Settings) -> None:
    """Import and construct every middleware, application and resolver, and throw them away.

    Where the workers run as somebody else, a process that gives up this one's rights does it; where they
    would run as nobody that is known, a problem of [core], nothing is. Raises ``ConfigError`` with every
    problem; what only its author can understand is also shown with its traceback.
    """
    if not has_account(settings.core):
        return
    if _workers_are_others(settings):
        check_middleware_in_child(settings)
        return
    from pyrox.middleware.stack import check_stack
    from pyrox.upstreams.applications import load_applications
    from pyrox.upstreams.discovering import check_discovery

    problems: list[str] = []
    for check in (check_stack, load_applications, check_discovery):
        try:
            check(settings)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)


def check_middleware_in_child(settings: Settings) -> None:
    """Do as ``check_middleware`` in a process of its own, so that nothing is imported into this one.

    A master that has imported a middleware would hand it to its workers before they are patched, and
    could never hand them a newer one. A mistake found in a worker, on the other hand, is found too late:
    after a reload there would be none left that serves.
    """
    if not has_account(settings.core) or not (_has_code(settings) or _workers_are_others(settings)):
        return
    reader, writer = os.pipe()
    with _ended_by_a_stop() as begun:
        child = os.fork()
        if child == 0:
            _run_child(settings, writer)
        begun(child)
        os.close(writer)
        with open(reader, encoding="utf-8", errors="replace") as report:
            *problems, verdict = report.read().split("\0")
    with contextlib.suppress(ChildProcessError):  # a master that reaps all children was faster
        os.waitpid(child, 0)
    if verdict != "checked":
        problems.append(f"{settings.source}: [middleware]: making the middleware ended the process")
    if problems:
        raise ConfigError(problems)


@contextlib.contextmanager
def _ended_by_a_stop() -> Iterator[Callable[[int], None]]:
    """Let a signal that stops this process end a child too: it would otherwise be waited for first.

    Gives what is to be called with the child's pid; a stop that comes before that ends it then.
    """
    formers: dict[int, Callable[[int, FrameType | None], object]] = {}
    children: list[int] = []
    is_stopped = False

    def begun(child: int) -> None:
        children.append(child)
        if is_stopped:
            end()

    def end() -> None:
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal is_stopped
        is_stopped = True
        end()
        formers[number](number, frame)

    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
        former = signal.getsignal(signum)
        if callable(former):
            formers[signum] = former
            signal.signal(signum, stop)
    try:
        yield begun
    finally:
        for number, handler in formers.items():
            signal.signal(number, handler)


def _has_code(settings: Settings) -> bool:
    from pyrox.upstreams.applications import application_places
    from pyrox.upstreams.discovering import has_discovery

    pipeline = settings.pipeline
    of_routes = any(route.stack for route in settings.routes.sections.values())
    has_others = any(application_places(settings)) or has_discovery(settings)
    stacks = settings.middleware.stack or pipeline.upstream or pipeline.downstream or of_routes
    return bool(stacks or has_others)


def _workers_are_others(settings: Settings) -> bool:
    return worker_account(settings.core) != (os.geteuid(), os.getegid())


def _folders_of_code(settings: Settings) -> list[str]:
    folders = (os.path.dirname(os.__file__), os.path.dirname(__file__), *settings.core.plugin_paths)
    return [folder for folder in folders if os.path.isdir(folder)]


def _check_readable(folders: list[str], settings: Settings) -> None:
    """Tell of folders by their names: the imports that fail would be anywhere, and blame what is no fault."""
    report = Report(settings.source, {})
    for folder in folders:
        if not os.access(folder, os.R_OK | os.X_OK):
            key = "user" if settings.core.user else "group"
            report.add("core", key, f"the workers may not read {folder!r}, which has code that they run")
    report.raise_if_any()


def _run_child(settings: Settings, writer: int) -> NoReturn:
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.alarm(_CHECK_TIMEOUT)
        # A module edited twice within a second would leave bytecode that looks fresh and is not.
        sys.dont_write_bytecode = True
        folders = _folders_of_code(settings)
        become_worker(settings.core)
        try:
            _check_readable(folders, settings)
            check_middleware(settings)
        except ConfigError as error:
            problems = error.problems
        else:
            problems = []
        with open(writer, "w", encoding="utf-8", errors="replace") as report:
            report.write("".join(f"{problem}\0" for problem in problems) + "checked")
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        # Not sys.exit: what the parent would do at its end is not this process's to do.
        os._exit(0)


def _unwritable(path: str) -> str:
    """Return why ``path`` cannot be written, or ``""``."""
    if os.path.isdir(path):
        return f"{path!r} is a directory"
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        return f"{directory!r} is not a directory; make it first"
    if not os.access(path if os.path.exists(path) else directory, os.W_OK):
        return f"{path!r} cannot be written by this user"
    return ""
