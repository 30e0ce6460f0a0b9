"""``ProxyWorker``: gunicorn's worker class for Pyrox. Patch, build, serve, drain."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import traceback
from time import monotonic
from typing import TYPE_CHECKING, Any, NoReturn

import gevent
from gevent import hub, monkey
from gevent.event import Event
from gunicorn.workers import base

from pyrox import error_log
from pyrox.accounts import become_worker
from pyrox.departure import use_departure
from pyrox.errors import ConfigError
from pyrox.exchange import Exchange
from pyrox.green.balance import Share
from pyrox.green.board import Board, Seat, Stage
from pyrox.green.drain import Drain
from pyrox.green.engine import Engine
from pyrox.green.health_board import HealthBoard
from pyrox.green.heartbeat import Heartbeat
from pyrox.green.server import ProxyServer
from pyrox.green.stalls import StallRecord
from pyrox.green.threads import run_in_pool
from pyrox.green.time_limit import limit_time
from pyrox.green.tls_contexts import ignore_undecodable_names
from pyrox.prints import print_at_once
from pyrox.profiler import profiling
from pyrox.redirect import RedirectToHttps
from pyrox.settings import Settings
from pyrox.threads import use_runner
from pyrox.time_limit import use_limiter

if TYPE_CHECKING:
    from pyrox.green.demo import DemoServer

log = logging.getLogger("pyrox")

APP_LOAD_ERROR = 4  # tells gunicorn's arbiter that a restart would not help
_HEARTBEAT = 1.0
# Seconds between two looks at the other workers, and at what is left while draining.
_REFRESH = 0.25
_DRAIN_BEAT = 0.05
# Seconds that the first of several workers waits for the others, and between two looks at them.
_PATIENCE, _POLL = 1.0, 0.01

# gunicorn's needs a disk.
base.WorkerTmp = Heartbeat


class ProxyWorker(base.Worker):  # type: ignore[misc]
    """One worker process: owns the engine, the listeners' servers and the heartbeat.

    The master sets ``board``, ``health_board``, ``seat``, ``generation`` and ``stalls`` before the fork;
    ``is_retired`` is its note that this worker was told to leave.
    """

    board: Board
    health_board: HealthBoard
    seat: Seat
    generation: int
    stalls: StallRecord
    alive: bool
    is_retired = False

    def init_process(self) -> None:
        """Patch with gevent here, never in the master; called by gunicorn after the fork."""
        # Until the first beat gunicorn takes the time of day for one, and would wait for that to pass.
        self.tmp.notify()
        become_worker(self.app.settings.core)
        # A module edited twice within a second would leave bytecode that looks fresh and is not.
        sys.dont_write_bytecode = True
        print_at_once()
        monkey.patch_all()
        hub.reinit()
        ignore_undecodable_names()
        use_runner(run_in_pool)
        use_limiter(limit_time)
        use_departure(lambda: self.board.is_ending)
        self._wake = Event()
        self._at_once = False
        with profiling(self.app.settings.core):
            super().init_process()

    def load_wsgi(self) -> None:
        """Build the engine from the settings that the application holds."""
        try:
            settings: Settings = self.app.settings_for_worker()
            self._demo, hosts = _start_demo(settings)
            self._tls = self.app.tls_for(settings)
            self.engine = Engine(settings, self._tls, self.health_board, hosts)
            error_log.reclaim(settings.logging)
        except ConfigError as error:
            print(error, file=sys.stderr, flush=True)
            if self.reloader is None:
                sys.exit(APP_LOAD_ERROR)
            self._await_reload()
        except Exception:  # a middleware's constructor may fail in any way
            if self.reloader is None:
                raise
            traceback.print_exc()
            self._await_reload()

    def _await_reload(self) -> NoReturn:
        """In development, a mistake waits here for its correction instead of ending everything."""
        log.error("not reloaded; clients wait until this is corrected")
        self.seat.stage = Stage.SERVING  # a start that failed would be tried again and again
        self.reloader.start()
        while self.alive:
            self.notify()
            self._wake.wait(_HEARTBEAT)
        sys.exit(0)

    def run(self) -> None:
        """Serve until told to stop, then drain; the worker's main greenlet."""
        engine = self.engine
        self._share = share = Share(self.board, self.seat)
        servers = [self._server_at(listener) for listener in self.sockets]
        if self.cfg.max_requests:
            self._count_requests()
        engine.start()
        loop = engine.clock.hub.loop
        watchers = [loop.io(self.PIPE[0], 1), loop.timer(_REFRESH, _REFRESH)]
        watchers[0].start(self._read_wakeups)
        watchers[1].start(share.refresh)
        _warn_of_slow_loop()
        if patience := engine.settings.core.stall_warning:
            self.stalls.watch(loop, patience)
        self._open(servers)
        while self.alive:
            self._beat(_HEARTBEAT)
        self._leave(servers)
        engine.close()
        self.stalls.unwatch()
        for watcher in watchers:
            watcher.close()
        if self._demo is not None:
            self._demo.stop()

    def _server_at(self, listener: Any) -> ProxyServer:
        engine = self.engine
        if listener.fileno() in self.app.redirects:
            redirect = RedirectToHttps(engine.settings.ssl.redirect_port)
            return ProxyServer(_gevent_socket(listener), engine, None, self._share, redirect)
        return ProxyServer(_gevent_socket(listener), engine, self._tls.server, self._share)

    def _open(self, servers: list[ProxyServer]) -> None:
        share, deadline = self._share, monotonic() + _PATIENCE
        share.refresh()
        self.seat.stage = Stage.READY
        while self.alive and share.is_early() and monotonic() < deadline:
            self._wake.wait(_POLL)
        share.join()
        for server in servers:
            server.start()
        self.seat.stage = Stage.SERVING

    def _count_requests(self) -> None:
        """Ask for a successor after ``max_requests``, and serve until it is there."""
        record, left = self.engine.record, self.max_requests

        def count_and_record(exchange: Exchange) -> None:
            nonlocal left
            left -= 1
            if not left:
                self.log.info("worker %s has had %d requests and is replaced", self.pid, self.max_requests)
                self.seat.stage = Stage.SPENT
            record(exchange)

        self.engine.record = count_and_record

    def _read_wakeups(self) -> None:
        """Each signal writes a byte: Python's handlers run only when the loop lets Python run."""
        os.read(self.PIPE[0], 4096)

    def _beat(self, timeout: float) -> None:
        self.notify()
        self.engine.access_log.flush()
        self._tls.refresh()
        self._wake.wait(timeout)

    def _leave(self, servers: list[ProxyServer]) -> None:
        engine = self.engine
        self.seat.stage = Stage.LEAVING
        is_last = not self._share.has_others()
        for server in servers:
            # What waits in the kernel is lost with the last process that could accept it.
            if is_last and not self._at_once:
                server.accept_waiting()
            server.close()
        drain = Drain(engine)
        self._wake.clear()
        drain.begin(self.seat.order)
        while not self._at_once and drain.proceed():
            self._beat(_DRAIN_BEAT)
            if self._wake.is_set():  # another signal, perhaps with another order
                self._wake.clear()
                drain.begin(self.seat.order)
        if cut := engine.cut():
            self.log.warning("%d connections cut off at the end of the grace time", cut)
        gevent.sleep(0)

    def notify(self) -> None:
        """Tell the master that this worker is alive; leave when the master is gone."""
        super().notify()
        if self.alive and self.ppid != os.getppid():
            self.log.info("the master is gone, worker %s leaves", self.pid)
            self.alive = False

    def handle_exit(self, sig: int, frame: Any) -> None:
        """TERM: finish what is in progress."""
        self.alive = False
        self._wake.set()

    def handle_quit(self, sig: int, frame: Any) -> None:
        """QUIT and INT: stop at once."""
        self.alive = False
        self._at_once = True
        self._wake.set()

    def handle_abort(self, sig: int, frame: Any) -> None:
        """ABRT: the master has not heard of this worker for ``worker_timeout``; say what it was at."""
        stack = "".join(traceback.format_stack(frame))
        log.critical("worker %s hangs and is replaced; it was at\n%s", self.pid, stack.rstrip())
        os._exit(1)  # an exception would be raised into whatever hangs, and could be caught there

    def handle_usr1(self, sig: int, frame: Any) -> None:
        """USR1: reopen the log files."""
        gevent.spawn(self._reopen_logs)

    def _reopen_logs(self) -> None:
        self.log.reopen_files()
        while not self.booted:  # a middleware that waits while it is made lets this run
            gevent.sleep(_POLL)
        self.engine.access_log.reopen()

    def init_signals(self) -> None:
        """As gunicorn does, with INT left to the master when both got it from a terminal."""
        super().init_signals()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self.SIGNALS)  # blocked around the fork


def _gevent_socket(listener: Any) -> Any:
    """Take the descriptor out of gunicorn's socket object into one that gevent can serve."""
    sock = socket.socket(listener.FAMILY, socket.SOCK_STREAM, fileno=listener.sock.detach())
    sock.setblocking(False)
    return sock


def _warn_of_slow_loop() -> None:
    """libuv, and libev's other backends, cost 1.5 to 2.4 times the CPU per request."""
    loop = gevent.get_hub().loop
    name = f"{type(loop).__module__.rpartition('.')[2]}, {getattr(loop, 'backend', 'its own backend')}"
    if "libev" not in type(loop).__module__ or loop.backend != "epoll":
        log.warning("gevent runs on %s; unset GEVENT_LOOP and GEVENT_BACKEND for libev with epoll", name)


def _start_demo(settings: Settings) -> tuple[DemoServer | None, tuple[str, ...]]:
    """Start the embedded demo upstream where the configuration asks for it."""
    hosts = settings.routing.upstream_hosts
    if "demo" not in hosts:
        return None, hosts
    from pyrox.green.demo import DemoServer  # loads a second HTTP server that only a demo needs

    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    listener.setblocking(False)
    demo = DemoServer(listener)
    demo.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    return demo, tuple(url if host == "demo" else host for host in hosts)
