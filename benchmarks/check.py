#!/usr/bin/env python3
"""Tell whether the road of a request has become longer than it was when benchmarks/recorded.json was written.

No sockets, no load, no clock: valgrind counts the instructions that a request costs on the whole road through
a worker, for several kinds of request, and those of a turn of plain Python. Compared is the ratio of the two,
so that another processor or another build of the interpreter makes little difference; other work on the
machine makes none. Ends with 1 when a ratio is above the recorded one by more than the tolerance.

On another version of Python than those recorded, and where valgrind cannot count, nothing can be said: it
says so, and ends with 0.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from callgrind import CannotCount, run_counted
from roads import KINDS, PLAIN, REQUESTS
from variants import chosen

HERE = Path(__file__).resolve().parent
TOLERANCE = 0.03  # README.md says why
SLOWER, FASTER = "SLOWER", "faster: record anew"
ADVICE = """
SLOWER: a request costs more than was recorded. Where, says a profile of before beside one of after:
    python benchmarks/roads.py {kind}        # then: python -m pstats, as docs/operating.md describes
If it is worth it, record anew, and say why in the commit:
    python benchmarks/check.py --record"""

Ratios = Mapping[str, float]


def measure(kinds: list[str], burden: int) -> dict[str, int]:
    """Return the instructions of one request, by kind, and of one turn of plain Python."""
    counts = run_counted(HERE / "roads.py", ["--burden", str(burden), *kinds])
    return {name: count // REQUESTS for name, count in counts.items()}


def verdict(ratio: float, recorded: float | None, tolerance: float) -> str:
    """Say in a word how a ratio compares with the recorded one; nothing when it is the same."""
    if recorded is None:
        return "not recorded yet: --record"
    if ratio > recorded * (1 + tolerance):
        return SLOWER
    return FASTER if ratio < recorded * (1 - tolerance) else ""


def show(costs: Mapping[str, int], recorded: Ratios, tolerance: float) -> list[str]:
    """Print a table of instructions for each request, and return the kinds that are slower."""
    print(f"{'':10}{'instructions':>12}{'ratio':>9}{'recorded':>10}{'change':>9}   up to {tolerance:+.0%}")
    slower = []
    for name, cost in costs.items():
        ratio, before = cost / costs[PLAIN], recorded.get(name)
        if name == PLAIN:
            print(f"{name:10}{cost:12,}{ratio:9.3f}")
            continue
        said = verdict(ratio, before, tolerance)
        compared = f"{before:10.3f}{ratio / before - 1:+9.1%}" if before else f"{'-':>10}{'':9}"
        print(f"{name:10}{cost:12,}{ratio:9.3f}{compared}   {said}".rstrip())
        if said == SLOWER:
            slower.append(name)
    return slower


def record(path: Path, python: str, costs: Mapping[str, int]) -> None:
    """Write the ratios of this version of Python into ``path``; those of others stay."""
    everything = json.loads(path.read_text()) if path.exists() else {}
    ratios = {name: round(cost / costs[PLAIN], 3) for name, cost in costs.items() if name != PLAIN}
    everything[python] = {**everything.get(python, {}), **ratios}
    path.write_text(json.dumps(everything, indent=1, sort_keys=True) + "\n")


def parse_arguments() -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    option = parser.add_argument
    option("--record", action="store_true", help="write down what is counted, and compare it with nothing")
    option("--kinds", default=",".join(KINDS), help="of: %(default)s")
    option("--tolerance", type=float, default=TOLERANCE, help="a part of the ratio (%(default)s)")
    option("--recorded", type=Path, default=HERE / "recorded.json", metavar="FILE", help="(%(default)s)")
    option(
        "--burden",
        type=int,
        default=0,
        metavar="N",
        help="add N turns of plain Python, two microseconds each, to each request, to see them noticed",
    )
    return parser.parse_args()


def main() -> int:
    options = parse_arguments()
    python = ".".join(platform.python_version_tuple()[:2])
    try:
        costs = measure(chosen(options.kinds, KINDS, "kind"), options.burden)
    except CannotCount as reason:
        print(f"nothing is {'recorded' if options.record else 'checked'}: {reason}")
        return 1 if options.record else 0
    if options.record:
        record(options.recorded, python, costs)
    everything = json.loads(options.recorded.read_text())
    if python not in everything:
        print(f"nothing is recorded on Python {python}, only on {', '.join(everything)}: --record")
    slower = show(costs, everything.get(python, {}), options.tolerance)
    if slower:
        print(ADVICE.format(kind=slower[0]))
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
