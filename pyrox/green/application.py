"""``PyroxApplication``: Pyrox's settings as gunicorn's, and the way into the master."""

from __future__ import annotations

import glob
import math
import os
import sys
from typing import Any, Protocol

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.pidfile import Pidfile

from pyrox import __version__
from pyrox.accounts import worker_account
from pyrox.errors import ConfigError
from pyrox.green.arbiter import PyroxArbiter
from pyrox.green.arbiter_log import ArbiterLog
from pyrox.green.daemon import Background
from pyrox.green.listeners import HANDED_OVER, close_listeners, inherited_listeners, open_listeners
from pyrox.green.tls_contexts import Tls
from pyrox.green.worker import APP_LOAD_ERROR, ProxyWorker
from pyrox.settings import Settings
from pyrox.shared_memory import keep_shared_memory

EXIT_NOT_NOW = 1
EXIT_BAD_CONFIGURATION = 2


class Load(Protocol):
    """Reads the settings.

    ``for_worker``: the master has checked already what only a start can show. Raises ``ConfigError``.
    """

    def __call__(self, *, for_worker: bool = False) -> Settings: ...


def run(load: Load) -> int:
    """Run the proxy until it is told to stop; returns the process's exit status.

    ``load`` reads the settings, now and again at each reload. Raises ``ConfigError`` when the first
    reading fails. That an address is taken is no fault of the configuration and may pass: status 1.
    """
    application = PyroxApplication(load)
    core, is_upgrade = application.settings.core, HANDED_OVER in os.environ
    keep_shared_memory(os.environ)
    try:
        if not is_upgrade:
            _check_alone(application)
        inherited = inherited_listeners(os.environ, application.cfg)
        listeners = open_listeners(application.settings, application.cfg, inherited)
        # Else clients would be let in where nobody serves them any more.
        unused = {bind: listener for bind, listener in inherited.items() if bind not in listeners}
        close_listeners(unused, unlink=False)
    except ConfigError as error:
        print(error, file=sys.stderr, flush=True)
        return EXIT_NOT_NOW
    background = Background() if core.daemon and not is_upgrade else None
    try:
        PyroxArbiter(application, listeners, background).run()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        return EXIT_BAD_CONFIGURATION if status == APP_LOAD_ERROR else status
    return 0


def _check_alone(application: PyroxApplication) -> None:
    path = application.settings.core.pid_file
    if path is not None and (pid := Pidfile(path).validate()):
        reason = f"{path!r} says that Pyrox runs with pid {pid} already"
        raise ConfigError([f"{application.settings.source}: [core] pid_file: {reason}"])


class PyroxApplication(BaseApplication):  # type: ignore[misc]
    """What gunicorn asks for its configuration, and workers for their settings."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self.settings = load()
        self.tls = Tls(self.settings)
        self.redirects: frozenset[int] = frozenset()  # descriptors of listeners that only redirect
        super().__init__()

    def do_load_config(self) -> None:
        """Without gunicorn's own handling of errors, which is to exit."""
        self.cfg = self.config_of(self.settings)

    def load_settings(self) -> Settings:
        """Read and check the configuration as it is now; raises ``ConfigError``."""
        return self._load()

    def adopt(self, settings: Settings, tls: Tls) -> None:
        """Use ``settings`` from now on, and the TLS that was made for them."""
        self.settings = settings
        self.tls = tls
        self.cfg = self.config_of(settings)

    def config_of(self, settings: Settings) -> Config:
        """Return gunicorn's configuration for ``settings``; what Pyrox has no option for is off."""
        core = settings.core
        user, group = worker_account(core)
        cfg = Config(self.usage, prog=self.prog)
        for name, value in {
            "bind": list(core.bind_host),
            "workers": 1 if core.enable_profiling else core.processes or len(os.sched_getaffinity(0)),
            "worker_class": ProxyWorker,
            "worker_connections": core.worker_connections,
            "max_requests": core.max_requests,
            "max_requests_jitter": core.max_requests_jitter,
            "timeout": math.ceil(core.worker_timeout),
            "graceful_timeout": max(1, math.ceil(core.graceful_timeout)),
            "backlog": core.backlog,
            "reload": core.reload,
            "reload_extra_files": _reload_extra_files(settings),
            "pidfile": core.pid_file,
            "user": user,
            "group": group,
            "umask": int(core.umask or "0", 8),
            "daemon": core.daemon,
            "proc_name": core.proc_name,
            "logger_class": ArbiterLog,
            "loglevel": settings.logging.verbosity.lower(),
            "control_socket_disable": True,
            "when_ready": _announce,
            "pre_fork": _welcome,
            "post_fork": _leave_to,
        }.items():
            cfg.set(name, value)
        cfg.pyrox = settings
        return cfg

    def load(self) -> Settings:
        """Return what gunicorn calls the application."""
        return self.settings

    def tls_for(self, settings: Settings) -> Tls:
        """Return the TLS for a worker with ``settings``: the master's, unless those say another."""
        ours = self.settings
        is_ours = (settings.ssl, settings.upstream) == (ours.ssl, ours.upstream)
        return self.tls if is_ours else Tls(settings)

    def settings_for_worker(self) -> Settings:
        """Return the settings for a new worker; in development mode, as they are on disk now."""
        return self._load(for_worker=True) if self.settings.core.reload else self.settings


def _reload_extra_files(settings: Settings) -> list[str]:
    """What to watch besides imported modules: a file that cannot be imported is in none of them."""
    plugins = [f"{glob.escape(path)}/**/*.py" for path in settings.core.plugin_paths]
    return [path for path in (settings.source,) if os.path.exists(path)] + plugins


def _welcome(arbiter: PyroxArbiter, worker: ProxyWorker) -> None:
    arbiter.welcome(worker)


def _leave_to(arbiter: PyroxArbiter, worker: ProxyWorker) -> None:
    arbiter.leave_to(worker)


def _name_of(arbiter: Arbiter, listener: Any) -> str:
    """What gunicorn, which knows nothing of our TLS, calls a listener; with the right scheme."""
    application: PyroxApplication = arbiter.app
    speaks_tls = application.tls.server is not None and listener.fileno() not in application.redirects
    return str(listener).replace("http://", "https://") if speaks_tls else str(listener)


def _announce(arbiter: Arbiter) -> None:
    settings = arbiter.app.settings
    where = ", ".join(_name_of(arbiter, listener) for listener in arbiter.LISTENERS)
    workers = f"{arbiter.cfg.workers} worker{'s' * (arbiter.cfg.workers > 1)}"
    upstream = settings.routing.default_cluster or ", ".join(settings.routing.upstream_hosts) or "by route"
    line = f"pyrox {__version__} listening at {where}, {workers}, upstream {upstream}"
    print(line, file=sys.stderr, flush=True)
