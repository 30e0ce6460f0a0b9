"""The ``pyrox`` command: what was asked for, done with what the configuration file says.

Nothing is imported before it is known to be needed: ``--version`` and a mistyped flag should not
wait for gevent, and a start should not wait for what only ``--check`` uses.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from pyrox import __version__
from pyrox.errors import ConfigError
from pyrox.settings import DEFAULT_CONFIG, Settings

Overrides = Mapping[str, Mapping[str, object]]

CONFIG_FAULT = 2  # the exit status of a bad configuration, as of a bad command line

_USAGE = """pyrox [-c FILE] [-w N] [-b HOST:PORT]... [-p PATHS] [-D] [--pid FILE]
             [--user USER] [--group GROUP] [--reload] [--check | --print-config] [start]
       pyrox demo [-b HOST:PORT]...
       pyrox explain [-c FILE] 'METHOD TARGET' [-H 'NAME: VALUE']... [--client ADDRESS] [--tls]
       pyrox new middleware NAME [-d DIR]
       pyrox --version"""
_DESCRIPTION = (
    "An HTTP reverse proxy. start: the proxy. demo: a small upstream to try it with. "
    "explain: which route a request takes. new: a middleware to start from."
)
# The options that take a value, of every command: what stands behind one is no command.
_WITH_VALUE = {"-c", "--config", "-w", "--workers", "-b", "--bind", "-p", "--plugin-paths", "--pid", "--user"}
_WITH_VALUE |= {"--group", "-H", "--header", "--client", "-d", "--directory"}
_OTHER_BINDS = "[::1]:PORT, :PORT, unix:/PATH, fd://N; may be repeated"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 0, or 2 when the configuration is bad."""
    argv = sys.argv[1:] if argv is None else argv
    position = _position_of_command(argv)
    command, others = argv[position : position + 1], [*argv[:position], *argv[position + 1 :]]
    try:
        if command == ["explain"]:
            from pyrox.explain import main as explain_main

            return _until_read_enough(partial(explain_main, others))
        if command == ["new"]:
            from pyrox.new import main as new_main

            return new_main(others)
        return _start(argv)
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        if error.problems == [f"{DEFAULT_CONFIG}: there is no such file"]:
            print("-c FILE names another configuration file", file=sys.stderr)
        return CONFIG_FAULT


def _position_of_command(argv: Sequence[str]) -> int:
    """Return where the first word is that is neither an option nor its value; the end when there is none."""
    position = 0
    while position < len(argv) and argv[position].startswith("-"):
        position += 2 if argv[position] in _WITH_VALUE else 1
    return position


def _start(argv: Sequence[str]) -> int:
    parser = _parser()
    arguments = parser.parse_args(argv)
    return _demo(parser, arguments) if arguments.command == "demo" else _with_config(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("pyrox", usage=_USAGE, description=_DESCRIPTION, allow_abbrev=False)
    add = parser.add_argument
    add("command", nargs="?", type=_command, default="start", help="default: start")
    add("-c", "--config", metavar="FILE", help=f"configuration file (default: {DEFAULT_CONFIG})")
    add("-w", "--workers", metavar="N", help="worker processes; 0: one per CPU")
    add("-b", "--bind", metavar="HOST:PORT", action="append", help=f"where to listen; also {_OTHER_BINDS}")
    add("-p", "--plugin-paths", metavar="PATHS", help="directories to import middleware from, with commas")
    add("-D", "--daemon", action="store_true", help="run in the background; returns when it serves")
    add("--pid", metavar="FILE", help="write the master's process id to FILE")
    add("--user", metavar="USER", help="run the workers as USER")
    add("--group", metavar="GROUP", help="run the workers as GROUP")
    add("--reload", action="store_true", help="restart the workers when their code changes")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--check", action="store_true", help="check the configuration, open no port")
    instead.add_argument("--print-config", action="store_true", help="print the configuration in effect")
    add("--version", action="version", version=f"pyrox {__version__}")
    return parser


def _command(text: str) -> str:
    if text in ("start", "demo"):
        return text
    if text in ("explain", "new"):
        raise argparse.ArgumentTypeError(f"{text} stands first: pyrox {text} ...")
    from pyrox.config_report import did_you_mean

    known = ("start", "demo", "explain", "new")
    hint = f"; did you mean -c {text}?" if os.path.isfile(text) else did_you_mean(text, known)
    raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(known)}{hint}")


def _with_config(arguments: argparse.Namespace) -> int:
    path, overrides = arguments.config or DEFAULT_CONFIG, _overrides(arguments)
    if arguments.print_config:
        return _until_read_enough(partial(_print_config, path, overrides))
    if arguments.check:
        return _check(path, overrides)
    from pyrox.green.application import run

    return run(partial(_load_to_serve, path, overrides))


def _overrides(arguments: argparse.Namespace) -> Overrides:
    """Return what the flags say as options of [core]; it is checked with the file."""
    core: dict[str, object] = {}
    if arguments.workers is not None:
        core["processes"] = arguments.workers
    if arguments.bind is not None:
        core["bind_host"] = arguments.bind
    if arguments.plugin_paths is not None:
        paths = [path.strip() for path in arguments.plugin_paths.split(",")]
        core["plugin_paths"] = [os.path.abspath(path) for path in paths if path]
    if arguments.pid is not None:
        core["pid_file"] = os.path.abspath(arguments.pid)
    core |= {key: value for key in ("user", "group") if (value := getattr(arguments, key)) is not None}
    core |= {key: "yes" for key in ("reload", "daemon") if getattr(arguments, key)}
    return {"core": core}


def _load_to_serve(path: str, overrides: Overrides, *, for_worker: bool = False) -> Settings:
    """Load the settings for a start or, later, a reload; a worker leaves the checks to the master."""
    from pyrox.config import load_settings
    from pyrox.preflight import check_logs, check_middleware_in_child, use_plugin_paths

    checks = () if for_worker else (check_logs, check_middleware_in_child)
    return load_settings(path, overrides, (use_plugin_paths, *checks))


def _check(path: str, overrides: Overrides) -> int:
    from pyrox.config import load_settings
    from pyrox.config_tls import tls_warnings
    from pyrox.middleware.unused import stack_warnings
    from pyrox.preflight import check_logs, check_middleware, use_plugin_paths
    from pyrox.routing.overlap import route_warnings

    settings = load_settings(path, overrides, (use_plugin_paths, check_logs, check_middleware))
    for warning in (*tls_warnings(settings), *stack_warnings(settings), *route_warnings(settings)):
        print(f"{path}: warning: {warning}", file=sys.stderr)
    print(f"{path}: configuration OK")
    return 0


def _until_read_enough(tell: Callable[[], int]) -> int:
    """Return the status of ``tell``, which prints; a reader that ends first, as head does, is no fault."""
    try:
        status = tell()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is flushed at the exit
        return 0
    return status


def _print_config(path: str, overrides: Overrides) -> int:
    from pyrox.config import load_settings
    from pyrox.config_render import render_settings

    # A configuration file is UTF-8 whatever the terminal is.
    sys.stdout.buffer.write(render_settings(load_settings(path, overrides)).encode())
    sys.stdout.flush()
    return 0


def _demo(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    defaults = {"command": "demo", "bind": arguments.bind}
    if vars(arguments) != {**vars(parser.parse_args([])), **defaults}:
        parser.error("demo takes no option but --bind")
    from pyrox.config_values import parse_bind

    try:
        binds = [parse_bind(bind) for bind in arguments.bind or ()]
    except ValueError as error:
        parser.error(f"--bind: {error}")
    if any(bind.startswith("fd://") for bind in binds):
        parser.error("--bind: demo cannot listen on a descriptor")
    from pyrox.green.demo import main as demo_main

    return demo_main(binds)
