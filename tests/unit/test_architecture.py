"""The walls of the house: imports point down the floors, and each library has one room that knows it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# A room may import from its own floor and from those below. What has no floor fails the test: put it on
# one. A name stands for everything in it that is not named itself.
FLOORS = {
    "pyrox.errors": 0,
    "pyrox.http": 1,
    "pyrox.exchange": 1,
    "pyrox.shared_memory": 1,
    "pyrox.threads": 1,
    "pyrox.time_limit": 1,
    "pyrox.departure": 1,
    "pyrox.settings": 2,
    "pyrox.compat_config": 2,
    "pyrox.compat_settings": 2,
    "pyrox.config": 2,
    "pyrox.config_clusters": 2,
    "pyrox.config_discovery": 2,
    "pyrox.config_environment": 2,
    "pyrox.config_failure": 2,
    "pyrox.config_health": 2,
    "pyrox.config_render": 2,
    "pyrox.config_report": 2,
    "pyrox.config_routes": 2,
    "pyrox.config_rules": 2,
    "pyrox.config_rules_process": 2,
    "pyrox.accounts": 2,
    "pyrox.config_sections": 2,
    "pyrox.config_tls": 2,
    "pyrox.config_values": 2,
    "pyrox.config_verbatim": 2,
    "pyrox.log_file": 2,
    "pyrox.prints": 2,
    "pyrox.profiler": 2,
    "pyrox.log_format": 2,
    "pyrox.log_values": 2,
    "pyrox.access_log": 2,
    "pyrox.error_log": 2,
    "pyrox.log": 2,
    "pyrox.server": 2,
    "pyrox.server.config": 2,
    "pyrox.util": 2,
    "pyrox.util.config": 2,
    "pyrox": 3,
    "pyrox.about": 3,
    "pyrox.compat_filters": 3,
    "pyrox.compat_handlers": 3,
    "pyrox.compat_loading": 3,
    "pyrox.compat_pipeline": 3,
    "pyrox.filtering": 3,
    "pyrox.filtering.pipeline": 3,
    "pyrox.stock_filters": 3,
    "pyrox.stock_filters.empty": 3,
    "pyrox.stock_filters.httpd": 3,
    "pyrox.middleware": 3,
    "pyrox.preflight": 3,
    "pyrox.redirect": 3,
    "pyrox.router": 3,
    "pyrox.routing": 3,
    "pyrox.routing.rule": 2,
    "pyrox.routing.functions": 2,
    "pyrox.routing.paths": 2,
    "pyrox.routing.regex": 2,
    "pyrox.routing.templates": 2,
    "pyrox.testing": 3,
    "pyrox.upstreams": 3,
    "pyrox.green": 4,
    "pyrox.green.pipes": 4,
    "pyrox.green.stream": 4,
    "pyrox.green.deadlines": 4,
    "pyrox.green.crew": 4,
    "pyrox.green.body": 4,
    "pyrox.green.tls": 4,
    "pyrox.green.tls_contexts": 4,
    "pyrox.green.tls_files": 4,
    "pyrox.green.pool": 4,
    "pyrox.green.proxy_protocol": 4,
    "pyrox.green.threads": 4,
    "pyrox.green.time_limit": 4,
    "pyrox.green.upstream": 4,
    "pyrox.green.upload": 5,
    "pyrox.green.exchange": 5,
    "pyrox.green.attempt": 5,
    "pyrox.green.wsgi": 5,
    "pyrox.green.failover": 5,
    "pyrox.green.discoverer": 5,
    "pyrox.green.dns_lookup": 5,
    "pyrox.green.forwarder": 5,
    "pyrox.green.hedging": 5,
    "pyrox.green.kept_body": 5,
    "pyrox.green.waiting": 4,
    "pyrox.green.mirror": 6,
    "pyrox.green.routes": 6,
    "pyrox.green.respond": 5,
    "pyrox.green.client": 5,
    "pyrox.green.tunnel": 5,
    "pyrox.green.demo": 6,
    "pyrox.green.demo_pages": 6,
    "pyrox.green.demo_websocket": 6,
    "pyrox.green.engine": 6,
    "pyrox.green.board": 4,
    "pyrox.green.balance": 4,
    "pyrox.green.health_board": 4,
    "pyrox.green.heartbeat": 4,
    "pyrox.green.checker": 5,
    "pyrox.green.health": 5,
    "pyrox.green.listeners": 4,
    "pyrox.green.stalls": 4,
    "pyrox.green.systemd": 4,
    "pyrox.green.daemon": 4,
    "pyrox.green.process_title": 4,
    "pyrox.green.server": 6,
    "pyrox.green.drain": 6,
    "pyrox.green.worker": 6,
    "pyrox.green.workforce": 7,
    "pyrox.green.arbiter": 7,
    "pyrox.green.arbiter_log": 7,
    "pyrox.green.application": 7,
    "pyrox.cli": 7,
    "pyrox.explain": 7,
    "pyrox.new": 7,
    "pyrox.__main__": 7,
}
# Their modules share their floor.
PACKAGES = ("pyrox.http", "pyrox.middleware", "pyrox.routing", "pyrox.upstreams")

# Library -> the rooms that may import it.
KEEPERS = {
    "backports": "pyrox.http.coding",
    "brotli": "pyrox.http.coding",
    "compression": "pyrox.http.coding",
    "configobj": "pyrox.config",
    "dns": "pyrox.green.dns_lookup",
    "httptools": "pyrox.http.llhttp",
    "gevent": "pyrox.green",
    "greenlet": "pyrox.green",
    "gunicorn": "pyrox.green",
    "re2": "pyrox.routing.regex",
    "wsproto": "pyrox.green.demo_websocket",
}


@dataclass(frozen=True)
class Import:
    name: str
    line: int
    for_types: bool  # under TYPE_CHECKING: nothing happens at run time


def imports_of(tree: ast.AST, for_types: bool = False) -> Iterator[Import]:
    """Yield every import, also those inside functions."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, for_types) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (Import(f"{module}.{alias.name}", node.lineno, for_types) for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from imports_of(ast.Module(node.body, []), True)
            yield from imports_of(ast.Module(node.orelse, []), for_types)
        else:
            yield from imports_of(node, for_types)


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_of(path): path for path in sorted((ROOT / "pyrox").rglob("*.py"))}


def is_in(module: str, room: str) -> bool:
    return module == room or module.startswith(room + ".")


def floor_of(module: str) -> int:
    if module not in FLOORS:
        module = next((package for package in PACKAGES if is_in(module, package)), module)
    assert module in FLOORS, f"{module} stands on no floor; give it one in FLOORS"
    return FLOORS[module]


def target_of(name: str) -> str:
    """``pyrox.errors.HTTPError`` -> ``pyrox.errors``; the module that an import reaches."""
    while name not in SOURCES:
        name = name.rpartition(".")[0]
    return name


def faults_of(module: str, source: str) -> list[str]:
    faults = []
    for found in imports_of(ast.parse(source)):
        where = f"{module}:{found.line} imports {found.name}"
        library = found.name.partition(".")[0]
        if found.name.startswith("."):
            faults.append(f"{where}: write the whole name")
        elif library == "pyrox":
            target = target_of(found.name)
            if not found.for_types and floor_of(target) > floor_of(module):
                faults.append(f"{where}: up from floor {floor_of(module)} to {floor_of(target)}")
        elif library in KEEPERS and not is_in(module, KEEPERS[library]):
            faults.append(f"{where}: only {KEEPERS[library]} may")
    return faults


@pytest.mark.parametrize("module", SOURCES)
def test_imports_point_down_and_libraries_stay_in_their_rooms(module: str) -> None:
    floor_of(module)
    assert faults_of(module, SOURCES[module].read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("name", [*FLOORS, *KEEPERS.values()])
def test_rooms_named_here_exist(name: str) -> None:
    assert name in SOURCES


@pytest.mark.parametrize(
    ("module", "source", "fault"),
    [
        ("pyrox.http.framing", "from pyrox.middleware import Middleware", "up from floor 1 to 3"),
        ("pyrox.http.framing", "import pyrox.green.stream", "up from floor 1 to 4"),
        ("pyrox.http.framing", "from pyrox import Request", "up from floor 1 to 3"),
        ("pyrox.router", "def f():\n    from pyrox.green import pool", "up from floor 3 to 4"),
        ("pyrox.router", "try:\n    import gevent.pool\nexcept ImportError: pass", "only pyrox.green may"),
        ("pyrox.router", "if TYPE_CHECKING:\n    from gevent import Greenlet", "only pyrox.green may"),
        ("pyrox.config_rules", "from configobj import ConfigObj", "only pyrox.config may"),
        ("pyrox.http.framing", "import httptools", "only pyrox.http.llhttp may"),
        ("pyrox.router", "from . import errors", "write the whole name"),
        (
            "pyrox.router",
            "if TYPE_CHECKING:\n    import pyrox.cli\nelse:\n    import pyrox.cli",
            "up from floor 3 to 7",
        ),
    ],
)
def test_an_arrow_up_would_be_found(module: str, source: str, fault: str) -> None:
    [found] = faults_of(module, source)
    assert found.endswith(fault)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("pyrox.green.pool", "from gevent import sleep\nfrom pyrox.http import head"),
        ("pyrox.http.message", "if TYPE_CHECKING:\n    from pyrox.router import Router"),
        ("pyrox.config", "import configobj.validate"),
    ],
)
def test_an_arrow_down_is_none_of_its_business(module: str, source: str) -> None:
    assert faults_of(module, source) == []


def run_python(code: str) -> list[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    return run.stdout.split()


def test_import_of_pyrox_loads_only_what_a_middleware_needs_and_starts_nothing() -> None:
    loaded = run_python("import sys, threading, pyrox\nprint(threading.active_count(), *sys.modules)")
    threads, *modules = loaded
    assert threads == "1"
    assert "pyrox.middleware.base" in modules
    assert [name for name in modules if is_in(name, "pyrox") and floor_of(name) > 3] == []


def test_everything_up_to_floor_3_loads_without_gevent_and_patches_nothing() -> None:
    modules = [name for name in SOURCES if floor_of(name) <= 3]
    assert "pyrox.testing" in modules
    threads, sockets, *loaded = run_python(
        f"import socket, sys, threading, {', '.join(modules)}\n"
        "print(threading.active_count(), socket.socket.__module__, *sys.modules)"
    )
    assert (threads, sockets) == ("1", "socket")
    assert {"gevent", "greenlet", "gunicorn"}.isdisjoint(loaded)
