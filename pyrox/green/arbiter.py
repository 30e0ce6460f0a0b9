"""``PyroxArbiter``: the master process. Starts, reloads, hands over to a new program, ends."""

from __future__ import annotations

import os
import sys
import traceback
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

from gunicorn import util
from gunicorn.pidfile import Pidfile

from pyrox.config_tls import tls_warnings
from pyrox.errors import ConfigError
from pyrox.green import process_title
from pyrox.green.arbiter_log import give_logs_to_workers
from pyrox.green.board import Order
from pyrox.green.daemon import Background
from pyrox.green.health_board import HANDED_OVER as HEALTH_BOARD
from pyrox.green.listeners import (
    HANDED_OVER,
    Listeners,
    are_activated,
    close_listeners,
    hand_over,
    open_listeners,
    redirect_descriptors,
)
from pyrox.green.systemd import Notifier
from pyrox.green.tls_contexts import Tls
from pyrox.green.worker import ProxyWorker
from pyrox.green.workforce import Workforce
from pyrox.middleware.unused import stack_warnings
from pyrox.routing.overlap import route_warnings
from pyrox.settings import Settings
from pyrox.shared_memory import HANDED_OVER as SHARED_MEMORY
from pyrox.shared_memory import hand_over_shared_memory

if TYPE_CHECKING:
    from pyrox.green.application import PyroxApplication

# Seconds between two looks at the certificates' files.
_WATCH_INTERVAL = 1.0
_NOT_RELOADED = "not reloaded, still serving with the old configuration"

# gunicorn's own would say "gunicorn: master [pyrox]".
util._setproctitle = process_title.set_title


@dataclass(frozen=True)
class Generation:
    """A configuration that workers serve with, and the sockets they serve."""

    number: int
    settings: Settings
    listeners: Listeners
    tls: Tls


class PyroxArbiter(Workforce):
    """gunicorn's arbiter; a reload that cannot work leaves everything as it is.

    ``background`` is told when a daemon serves.
    """

    pidfile: Pidfile | None

    def __init__(
        self, application: PyroxApplication, listeners: Listeners, background: Background | None
    ) -> None:
        former_board = os.environ.pop(HEALTH_BOARD, "")
        self._environ = os.environ.copy()  # what a new master starts with
        self._notifier = Notifier(os.environ)
        self._background = background
        self._current = Generation(1, application.settings, listeners, application.tls)
        self._former: Generation | None = None  # what is served until the current one is complete
        self._newest = 1  # generation; the current one is older after a reload that failed
        self._is_announced = False
        self._watch_at = 0.0
        self._end_at = inf
        super().__init__(application)
        self.health_board.take_over(former_board)
        self._prepare(self._current)
        # gunicorn's: [python, *sys.argv], which turns "python -m pyrox" into a file whose directory, with
        # its http/ and errors.py, would hide the standard library's.
        self.START_CTX["args"] = [sys.executable, *sys.orig_argv[1:]]

    # --- a start ---

    def start(self) -> None:
        """Called by gunicorn once, before the first worker."""
        super().start()
        self._warn()
        if self.master_pid:
            self.log.info("upgrading from the master with pid %d", self.master_pid)

    def on_complete(self) -> None:
        """All workers serve: what they replace may go."""
        if self._former is not None:
            former, self._former = self._former, None
            self._close_unused(former.listeners, self._current.listeners)
            self.log.info("reloaded")
        elif self._is_announced:
            return
        self._is_announced = True
        self._notifier.ready(f"{self.num_workers} workers")
        if self._background is not None:
            self._background.serving()

    def murder_workers(self) -> None:
        """Called by gunicorn in every round, several times a second."""
        super().murder_workers()
        if (now := monotonic()) >= self._watch_at:
            self._watch_at = now + _WATCH_INTERVAL
            self._current.tls.watch()
        if now >= self._end_at:
            raise StopIteration

    # --- reload ---

    def handle_hup(self) -> None:
        """Reload, unless something about the new configuration is wrong: then say what, and go on."""
        self._notifier.reloading()
        try:
            settings = self.app.load_settings()
            tls = Tls(settings)
            listeners = open_listeners(settings, self.app.config_of(settings), self._open_listeners())
        except Exception as error:  # no room for a process, say: nothing here may end what serves
            trace = None if isinstance(error, ConfigError) else error
            self.log.error("%s:\n%s", _NOT_RELOADED, error, exc_info=trace)
            self._notifier.ready("not reloaded")
            return
        self._newest += 1
        self.generation = self._newest
        superseded = self._current
        self._current = Generation(self.generation, settings, listeners, tls)
        if self._former is None:
            self._former = superseded
        else:  # the last reload has not got through yet, and will not any more
            self._close_unused(superseded.listeners, listeners, self._former.listeners)
        self._take_over(self._current)
        self._warn()
        self._move_pid_file()

    def _open_listeners(self) -> Listeners:
        """Return what is open, also for the generation that serves until the current one is complete."""
        return {**(self._former.listeners if self._former else {}), **self._current.listeners}

    def _warn(self) -> None:
        settings = self._current.settings
        for warning in (*tls_warnings(settings), *stack_warnings(settings), *route_warnings(settings)):
            self.log.warning("%s", warning)

    def on_failed_generation(self) -> bool:
        """Go back to what was served before a reload that is under way; the workers of the new one retire."""
        if self._former is None:
            return False
        self.log.error("%s: a new worker cannot start", _NOT_RELOADED)
        failed, self._current, self._former = self._current, self._former, None
        self._close_unused(failed.listeners, self._current.listeners)
        self.generation = self._current.number
        self._take_over(self._current)
        self._move_pid_file()
        self._notifier.ready("not reloaded")
        return True

    def _take_over(self, generation: Generation) -> None:
        """Let the workers that are forked from now on be of ``generation``."""
        self.app.adopt(generation.settings, generation.tls)
        self._prepare(generation)
        self.setup(self.app)
        self._hire_at = 0.0

    def leave_to(self, worker: ProxyWorker) -> None:
        """Let go in a new worker of what is only the old ones': else an address would never be closed."""
        super().leave_to(worker)
        former, self._former = self._former, None
        if former is not None:
            _close_unused(former.listeners, self._current.listeners)

    def _prepare(self, generation: Generation) -> None:
        if umask := generation.settings.core.umask:
            os.umask(int(umask, 8))
        self.LISTENERS = list(generation.listeners.values())
        self.app.redirects = redirect_descriptors(generation.listeners, generation.settings)
        self.systemd = are_activated(generation.listeners)
        self._give_logs_to_workers()

    def _give_logs_to_workers(self) -> None:
        try:
            give_logs_to_workers(self._current.settings)
        except OSError as error:
            self.log.error("the log files cannot be given to the workers: %s", error)

    def _close_unused(self, listeners: Listeners, *used: Listeners) -> None:
        is_ours = not self.systemd and not self.reexec_pid and not self.master_pid
        _close_unused(listeners, *used, unlink=is_ours)

    def _move_pid_file(self) -> None:
        path = self.cfg.pidfile and self.cfg.pidfile + (".2" if self.master_pid else "")
        if path == (self.pidfile and self.pidfile.fname):
            return
        new = Pidfile(path) if path else None
        try:
            if new is not None:
                new.create(self.pid)
        except (RuntimeError, OSError) as error:
            self.log.error("the pid file stays where it is: %s", error)
            return
        if self.pidfile is not None:
            self.pidfile.unlink()
        self.pidfile = new

    def handle_usr1(self) -> None:
        """Reopen the logs, also those of the workers."""
        self._give_logs_to_workers()
        super().handle_usr1()

    # --- upgrade ---

    def reexec(self) -> None:
        """Start a new master, as this one was started, with the listening sockets of this one."""
        if self.reexec_pid or self.master_pid:
            self.log.warning("USR2 ignored: an upgrade is in progress already")
            return
        if self._end_at < inf:  # or a new master would go on where nobody is to serve any more
            self.log.warning("USR2 ignored: the proxy is about to end")
            return
        environ = {**self._environ, "GUNICORN_PID": str(os.getpid())}
        environ[HANDED_OVER] = hand_over(self._current.listeners)
        environ[SHARED_MEMORY] = hand_over_shared_memory()
        environ[HEALTH_BOARD] = self.health_board.hand_over()
        try:
            self.reexec_pid = os.fork()
        except OSError as error:
            self.log.error("no upgrade: %s", error)
            return
        if self.reexec_pid:
            self.log.info("upgrade: the new master has pid %d", self.reexec_pid)
            return
        try:
            os.chdir(self.START_CTX["cwd"])
            os.execve(self.START_CTX[0], self.START_CTX["args"], environ)
        except BaseException:
            # Nothing but an end is safe here: this is a copy of a master, whose workers are not its own.
            traceback.print_exc()
        finally:
            os._exit(1)

    def handle_winch(self) -> None:
        """Let the workers go, keep the master: the way back of an upgrade is a HUP to it.

        A terminal sends this signal, too, when its size changes.
        """
        if _has_terminal():
            self.log.debug("SIGWINCH ignored: it may be the terminal's")
            return
        self.log.info("graceful stop of the workers")
        self.num_workers = 0

    def maybe_promote_master(self) -> None:
        """Become the only master when the old one has gone."""
        was_second = self.master_pid
        # gunicorn would end this master, too, when the file of one that was killed seems to be in use.
        pid_file, self.pidfile = self.pidfile, None
        super().maybe_promote_master()
        self.pidfile = pid_file
        if was_second and not self.master_pid:
            if self.cfg.pidfile:
                left = Pidfile(self.cfg.pidfile)
                left.pid = was_second  # killed, though its number is not free until its parent asks for it
                left.unlink()
            self._move_pid_file()
            self._notifier.follow(self.pid)

    # --- the end ---

    def handle_term(self) -> None:
        """Stop; before that, load balancers get ``drain_delay`` to notice, unless this is the second TERM."""
        delay = self._current.settings.core.drain_delay
        has_other = self.reexec_pid or self.master_pid
        if not delay or has_other or self._end_at < inf:
            raise StopIteration
        self._end_at = monotonic() + delay
        self.board.announce_end()
        self.log.info("stopping in %g s; until then all is served", delay)

    def halt(self, reason: str | None = None, exit_status: int = 0) -> None:
        """Called by gunicorn to end the master."""
        if self.reexec_pid:
            self._notifier.follow(self.reexec_pid)
        elif not self.master_pid:
            self._notifier.stopping()
        super().halt(reason, exit_status)

    def stop(self, graceful: bool = True) -> None:
        """Called by gunicorn to end all workers, within the grace time."""
        order = Order.HAND_OVER if self.reexec_pid or self.master_pid else Order.STOP
        if order is Order.STOP:
            self.board.announce_end()
        for worker in self.WORKERS.values():
            worker.seat.order = order
            worker.is_retired = True
        if self.LISTENERS:  # gunicorn stops twice on QUIT
            self.LISTENERS = []
            for generation in filter(None, (self._former, self._current)):
                self._close_unused(generation.listeners)
        super().stop(graceful)


def _close_unused(listeners: Listeners, *used: Listeners, unlink: bool = False) -> None:
    in_use = [id(listener) for group in used for listener in group.values()]
    unused = {bind: listener for bind, listener in listeners.items() if id(listener) not in in_use}
    close_listeners(unused, unlink)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
