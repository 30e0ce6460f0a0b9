#!/usr/bin/env python3
"""Draw the figures of one run of run.py as an SVG: CPU time of each proxy, as a multiple of Pyrox's.

Every number comes from that run's JSON, and so do the machine and the command in the caption. Readable on
light and on dark pages.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from textwrap import wrap
from typing import Any

WIDTH, COLUMN, ROW = 840, 420, 20  # pixels
MARGIN, TOP, TITLE, NAMES, VALUES = 16, 62, 34, 130, 64
BAR = COLUMN - MARGIN - NAMES - VALUES  # the longest bar
CLIP = 6.0  # a bar is no longer than this multiple; its number says the rest
NAMES_SHOWN = {
    "relay": "byte relay, no HTTP",
    "proxy_py": "proxy.py",
    "pyrox": "Pyrox",
    "node": "node http-proxy",
}
UNITS = {"us/req": "CPU a request", "ms/GB": "CPU a gigabyte"}
STYLE = """
svg { font: 13px system-ui, sans-serif; }
.page { fill: #ffffff; } text { fill: #1f2328; } .quiet { fill: #59636e; font-size: 11px; }
.title { font-weight: 600; } .bar { fill: #b6bec8; } .ours { fill: #0969da; }
@media (prefers-color-scheme: dark) {
  .page { fill: #0d1117; } text { fill: #f0f6fc; } .quiet { fill: #9198a1; }
  .bar { fill: #4b535d; } .ours { fill: #4493f8; }
}
"""


def text(x: float, y: float, content: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{kind}" text-anchor="{anchor}">{escape(content)}</text>'


def bar(x: float, y: float, length: float, kind: str) -> str:
    return f'<rect x="{x:g}" y="{y:g}" width="{length:.1f}" height="14" class="{kind}"/>'


def panel(result: Mapping[str, Any], x: float, y: float) -> Iterator[str]:
    """Yield a workload's bars, the cheapest proxy first."""
    costs = {name: row["cost"] for name, row in result["figures"].items()}
    ours, unit = costs["pyrox"], result["unit"]
    yield text(x, y, result["title"], "title")
    yield text(x, y + 14, f"{UNITS[unit]}; Pyrox: {ours:.0f} {unit.partition('/')[0]}", "quiet")
    for place, name in enumerate(sorted(costs, key=costs.__getitem__)):
        middle, ratio = y + TITLE + place * ROW, costs[name] / ours
        length = BAR * min(ratio, CLIP) / CLIP
        number = f"{ratio:.2f}" if ratio < CLIP else f"{ratio:.0f} \u2192"
        yield text(x + NAMES, middle + 4, NAMES_SHOWN.get(name, name), anchor="end")
        yield bar(x + NAMES + 8, middle - 7, length, "bar ours" if name == "pyrox" else "bar")
        yield text(x + NAMES + 14 + length, middle + 4, number)


def caption(run: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines that say where the figures come from."""
    shares = [result["other_work"] for result in run["results"]]
    turns = f"{run['rounds']} turns of {run['slice_seconds']} s each, one worker each"
    busy = f"other work took {min(shares):.0%} to {max(shares):.0%} of it, so ratios are what counts"
    yield f"{run['machine']}; {turns}; {busy}."
    command = run["command"]
    if "--json" in command:
        place = command.index("--json")
        command = command[:place] + command[place + 2 :]
    yield "python " + " ".join(command)


def chart(run: Mapping[str, Any]) -> str:
    """Return the SVG of a run."""
    results = [result for result in run["results"] if "pyrox" in result["figures"]]
    drawn = [text(MARGIN, 28, "CPU time as a multiple of Pyrox's: less is better", "title")]
    y = float(TOP)
    for left in range(0, len(results), 2):
        pair = results[left : left + 2]
        for column, result in enumerate(pair):
            drawn += panel(result, column * COLUMN + MARGIN, y)
        y += TITLE + ROW * max(len(result["figures"]) for result in pair) + 24
    for line in caption(run):
        drawn += [text(MARGIN, y + 15 * number, part, "quiet") for number, part in enumerate(wrap(line, 130))]
        y += 15 * len(wrap(line, 130))
    size = f'width="{WIDTH}" height="{y:g}" viewBox="0 0 {WIDTH} {y:g}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">\n<style>{STYLE}</style>'
    page = f'<rect width="{WIDTH}" height="{y:g}" class="page"/>'
    return "\n".join([head, page, *drawn, "</svg>\n"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("figures", type=Path, help="what run.py --json has written")
    parser.add_argument("svg", type=Path, help="where the chart goes")
    options = parser.parse_args()
    options.svg.write_text(chart(json.loads(options.figures.read_text())))


if __name__ == "__main__":
    main()
