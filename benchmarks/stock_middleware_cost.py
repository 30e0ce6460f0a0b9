#!/usr/bin/env python3
"""Measure what each built-in middleware adds to a request: microseconds of CPU, in the real stack.

No sockets: the request is a copy of a parsed one, as the engine makes it; an upstream answers at once. The
time of a stack with the middleware less that of a stack without, taking turns; the least of many short
runs, because noise only ever adds. What a middleware waits for is not in it.

The rows are in benchmarks/stock/: one module for each middleware.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import timeit
from collections.abc import Callable, Iterator
from pathlib import Path
from time import process_time

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from stock import FIELDS, Row

from pyrox.config import parse_settings
from pyrox.http.forwarding import ClientSide
from pyrox.http.head import HeadLimits
from pyrox.http.head_cache import HeadCache
from pyrox.middleware.base import App
from pyrox.middleware.stack import build_stack, load_stack, reserved_fields
from pyrox.settings import Settings

ROWS = Path(__file__).resolve().parent / "stock"


def all_rows(names: list[str], folder: Path) -> Iterator[Row]:
    """Yield the rows of the middleware called ``names``, or of all."""
    for path in sorted(ROWS.glob("[a-z]*.py")):
        if not names or path.stem in names:
            own = folder / path.stem
            own.mkdir()
            yield from importlib.import_module(f"stock.{path.stem}").rows(own)


def settings_of(row: Row, *, is_bare: bool) -> Settings:
    layers = [*row.outer] if is_bare else [*row.outer, (row.middleware, row.options)]
    sections = "\n".join(f"[[{name}]]\n{options}" for name, options in layers)
    return parse_settings(f"[middleware]\nstack = {''.join(f'{name},' for name, _ in layers)}\n{sections}\n")


def caller(row: Row, *, is_bare: bool) -> Callable[[], None]:
    """Return what takes one request down the stack, and its response to the end."""
    settings = settings_of(row, is_bare=is_bare)
    app: App = build_stack(load_stack(settings), lambda request: row.response())
    heads = HeadCache(HeadLimits(reserved_fields=reserved_fields(settings)))
    side = ClientSide("127.0.0.1")
    raw = f"GET {row.target} HTTP/1.1\r\n{_lines(FIELDS)}{_lines(row.fields)}\r\n".encode()

    def call() -> None:
        request = heads.request(raw)
        side.receive(request)
        response = app(request)
        for _ in response.stream():
            pass
        response.close()

    return call


def _lines(text: str) -> str:
    return "".join(f"{line.strip()}\r\n" for line in text.splitlines() if line.strip())


def microseconds(row: Row, repeats: int) -> float:
    """Return the least time that the middleware of ``row`` adds to one request."""
    bare, full = caller(row, is_bare=True), caller(row, is_bare=False)
    full()  # what is found out once and remembered
    times = [(_seconds(bare, row.calls), _seconds(full, row.calls)) for _ in range(repeats)]
    return (min(full for _, full in times) - min(bare for bare, _ in times)) / row.calls * 1e6


def _seconds(call: Callable[[], None], number: int) -> float:
    """Seconds of this process's CPU, so that services which some middleware ask are not in it."""
    return timeit.timeit(call, timer=process_time, number=number)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="MIDDLEWARE", help="measure only these")
    parser.add_argument("--repeats", type=int, default=30, help="timings of each (%(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = list(all_rows(options.names, Path(folder)))
        print(f"{'middleware':60}{'us':>8}   ({os.cpu_count()} cores, Python {sys.version.split()[0]})")
        for row in rows:
            print(f"{row.name:60}{microseconds(row, options.repeats):8.2f}", flush=True)


if __name__ == "__main__":
    main()
