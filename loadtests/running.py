"""The proxy under load: started here when no ``--host`` names another."""

from __future__ import annotations

import atexit
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

from locust import events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import WorkerRunner

_FOLDER = Path(__file__).resolve().parent
_PATIENCE = 30.0


def register() -> None:
    """Let Locust ask for the proxy's options, and start the proxy when it has begun."""
    events.init_command_line_parser.add_listener(_add_options)
    events.init.add_listener(_start_unless_given)


def _add_options(parser: LocustArgumentParser) -> None:
    parser.add_argument(
        "--proxy-workers",
        type=int,
        default=1,
        env_var="PYROX_WORKERS",
        include_in_web_ui=False,
        help="worker processes of the proxy that is started without --host (%(default)s)",
    )
    parser.add_argument(
        "--proxy-config",
        default=str(_FOLDER / "pyrox.ini"),
        env_var="PYROX_CONFIG",
        include_in_web_ui=False,
        help="configuration of that proxy (%(default)s)",
    )


def _start_unless_given(environment: Environment, **_: object) -> None:
    # A worker of Locust's is told by its master whom to ask.
    if environment.host and "://" not in environment.host:
        sys.exit(f"--host {environment.host}: write it with its scheme, http://{environment.host}")
    if environment.host or isinstance(environment.runner, WorkerRunner):
        return
    options = environment.parsed_options
    environment.host = options.host = start_proxy(options.proxy_config, options.proxy_workers)


def start_proxy(config: str, workers: int) -> str:
    """Start a proxy on a free port, to be ended with this process; returns its URL."""
    log = tempfile.NamedTemporaryFile(prefix="pyrox-load-", suffix=".log", delete=False)  # noqa: SIM115
    command = [
        sys.executable,
        "-m",
        "pyrox",
        "-c",
        config,
        "--bind",
        "127.0.0.1:0",
        "--workers",
        str(workers),
    ]
    process = subprocess.Popen(command, stderr=log, stdout=log)
    atexit.register(_stop, process)
    url = _url_of(process, Path(log.name))
    print(f"Pyrox serves at {url}, and writes to {log.name}", flush=True)
    return url


def _url_of(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + _PATIENCE
    while not (found := re.search(r"listening at (http://\S+),", log.read_text(errors="replace"))):
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"Pyrox did not start:\n{log.read_text(errors='replace')}")
        time.sleep(0.05)
    # The master listens before its workers serve: users would measure how long these take to start.
    try:
        build_opener(ProxyHandler({})).open(found[1], timeout=_PATIENCE).close()
    except HTTPError as answer:  # 404, say: whoever answers serves
        answer.close()
    except OSError as error:
        sys.exit(f"Pyrox did not serve: {error}\n{log.read_text(errors='replace')}")
    return found[1]


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
