"""``PyroxApplication``: gunicorn's arbiter around ``Settings``."""

from __future__ import annotations

import glob
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger

from pyrox import __version__, error_log
from pyrox.errors import ConfigError
from pyrox.green.worker import APP_LOAD_ERROR, ProxyWorker
from pyrox.settings import Settings

Load = Callable[[], Settings]

EXIT_BAD_CONFIGURATION = 2


def run(load: Load) -> int:
    """Run the proxy until it is told to stop; returns the process's exit status.

    ``load`` reads the settings, now and again at each reload. Raises ``ConfigError`` when the first
    reading fails.
    """
    application = PyroxApplication(load)
    try:
        PyroxArbiter(application).run()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        return EXIT_BAD_CONFIGURATION if status == APP_LOAD_ERROR else status
    return 0


class PyroxApplication(BaseApplication):  # type: ignore[misc]
    """Maps the settings onto gunicorn's, for the arbiter."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self.settings = load()
        super().__init__()

    def do_load_config(self) -> None:
        """Without gunicorn's own handling of errors, which is to exit."""
        self.load_default_config()
        self.load_config()

    def load_config(self) -> None:
        """Set the options of gunicorn that Pyrox has options for, and switch off what it has not."""
        core = self.settings.core
        values: dict[str, Any] = {
            "bind": list(core.bind_host),
            "workers": 1 if core.enable_profiling else core.processes or os.cpu_count() or 1,
            "worker_class": ProxyWorker,
            "worker_connections": core.worker_connections,
            "graceful_timeout": max(1, round(core.graceful_timeout)),
            "backlog": core.backlog,
            "reload": core.reload,
            "reload_extra_files": self._reload_extra_files(),
            "proc_name": "pyrox",
            "logger_class": ArbiterLog,
            "loglevel": self.settings.logging.verbosity.lower(),
            "control_socket_disable": True,
            "when_ready": self._announce,
        }
        for name, value in values.items():
            self.cfg.set(name, value)
        self.cfg.pyrox_logging = self.settings.logging

    def _reload_extra_files(self) -> list[str]:
        """What to watch besides imported modules: a file that cannot be imported is in none of them."""
        plugins = [f"{glob.escape(path)}/**/*.py" for path in self.settings.core.plugin_paths]
        return [path for path in (self.settings.source,) if os.path.exists(path)] + plugins

    def load(self) -> Settings:
        """Return what gunicorn calls the application."""
        return self.settings

    def reload(self) -> None:
        """Read the configuration again; raises ``ConfigError`` and changes nothing when it is bad."""
        self.settings = self._load()
        self.do_load_config()

    def settings_for_worker(self) -> Settings:
        """Return the settings for a new worker; in development mode, as they are on disk now."""
        return self._load() if self.settings.core.reload else self.settings

    def _announce(self, arbiter: Arbiter) -> None:
        where = ", ".join(str(listener) for listener in arbiter.LISTENERS)
        if self.settings.ssl.cert_file is not None:  # gunicorn knows nothing of our TLS
            where = where.replace("http://", "https://")
        workers = f"{self.cfg.workers} worker{'s' * (self.cfg.workers > 1)}"
        upstream = ", ".join(self.settings.routing.upstream_hosts)
        line = f"pyrox {__version__} listening at {where}, {workers}, upstream {upstream}"
        print(line, file=sys.stderr, flush=True)


class PyroxArbiter(Arbiter):  # type: ignore[misc]
    """gunicorn's arbiter; a reload that cannot work leaves everything as it is."""

    def handle_hup(self) -> None:
        """Reload, unless the new configuration is bad."""
        try:
            self.app._load()
        except ConfigError as error:
            self.log.error("not reloaded, still serving with the old configuration:\n%s", error)
            return
        super().handle_hup()

    def spawn_worker(self) -> Any:
        """Fork a worker; a signal that comes before it can handle one waits until it can.

        Until then it has the master's handlers, which only take note: a TERM would be lost on it, and the
        master would wait for the whole grace time to kill it.
        """
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ProxyWorker.SIGNALS)
        try:
            return super().spawn_worker()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class ArbiterLog(Logger):  # type: ignore[misc]
    """gunicorn's messages through Pyrox's handlers."""

    def setup(self, cfg: Any) -> None:
        """Called by gunicorn at start and at reload."""
        super().setup(cfg)
        for handler in list(self.error_log.handlers):
            self.error_log.removeHandler(handler)
        error_log.configure(cfg.pyrox_logging)
        error_log.attach(self.error_log)

    def reopen_files(self) -> None:
        """USR1: reopen the error log."""
        error_log.reopen()
