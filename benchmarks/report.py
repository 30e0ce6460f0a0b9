"""Figures and tables out of slices: percentiles, ratios with their spread, budgets met or not."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from load import Load, percentile
from machine import QUIET
from workloads import Budget, Workload

RESAMPLES = 500
PERCENTILE = 25  # of the slices: what is above it is other people's work on the machine


@dataclass(frozen=True)
class Slice:
    """One variant's turn: what the load did and the CPU seconds that the variant spent on it."""

    cpu_seconds: float
    user_ticks: int
    system_ticks: int
    load: Load

    def cost(self, per_byte: bool) -> float:
        """CPU milliseconds per GB of body, or microseconds per request."""
        if per_byte:
            return self.cpu_seconds * 1e12 / self.load.body_bytes
        return self.cpu_seconds * 1e6 / self.load.requests


@dataclass
class Result:
    """One workload measured: each variant's slices, and why the others have none."""

    workload: Workload
    slices: dict[str, list[Slice]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    pyroxes: list[str] = field(default_factory=list)
    other_work: float = 0.0  # the part of the machine's CPU time that was not the benchmark's

    def costs(self, name: str) -> list[float]:
        return [each.cost(self.workload.per_byte) for each in self.slices[name]]


@dataclass(frozen=True)
class Figures:
    """A row of the table.

    ``spread`` is the distance of the quartiles as a part of ``cost``, ``user`` the part of the CPU time that
    was spent outside the kernel.
    """

    cost: float
    spread: float
    user: float
    requests_per_second: float
    gigabytes_per_second: float
    p50_ms: float
    p99_ms: float
    errors: int


def figures(result: Result, name: str) -> Figures:
    """Sum one variant's slices up."""
    slices = result.slices[name]
    costs, loads = result.costs(name), [each.load for each in slices]
    user, system = sum(each.user_ticks for each in slices), sum(each.system_ticks for each in slices)
    cost = percentile(costs, PERCENTILE)
    return Figures(
        cost=cost,
        spread=(percentile(costs, 75) - cost) / cost,
        user=user / max(user + system, 1),
        requests_per_second=median(each.requests / each.seconds for each in loads),
        gigabytes_per_second=median(each.body_bytes / each.seconds for each in loads) / 1e9,
        p50_ms=median(each.p50_us for each in loads) / 1e3,
        p99_ms=median(each.p99_us for each in loads) / 1e3,
        errors=sum(each.errors for each in loads),
    )


@dataclass(frozen=True)
class Ratio:
    """One figure over another of the same run, with the 90 % interval of resampled slices."""

    value: float
    low: float
    high: float


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """Return the ratio of the two sets of costs."""
    generator = random.Random(0)

    def resampled(costs: Sequence[float]) -> float:
        return percentile(generator.choices(costs, k=len(costs)), PERCENTILE)

    values = [resampled(ours) / resampled(theirs) for _ in range(RESAMPLES)]
    value = percentile(list(ours), PERCENTILE) / percentile(list(theirs), PERCENTILE)
    return Ratio(value, percentile(values, 5), percentile(values, 95))


def verdict(value: float, must: float, aim: float | None) -> str:
    """Say in words where ``value`` stands; a ``must`` met within the 3 % of noise is still met."""
    if value > must:
        return "MISSED"
    if aim is None:
        return "met"
    return "met, aim reached" if value <= aim else "met, aim not reached"


def absolute_table(result: Result) -> list[str]:
    """Lines of every variant's figures, and of those that could not run."""
    unit = result.workload.unit
    lines = [f"  {'':14}{unit:>9}  spread  user     req/s   GB/s   p50 ms   p99 ms  errors"]
    for name in sorted(result.slices, key=lambda each: figures(result, each).cost):
        row = figures(result, name)
        lines.append(
            f"  {name:14}{row.cost:9.1f} {row.spread:7.1%} {row.user:5.0%} {row.requests_per_second:9.0f} "
            f"{row.gigabytes_per_second:6.2f} {row.p50_ms:8.2f} {row.p99_ms:8.2f} {row.errors:7}"
        )
    lines += [f"  {name:14}missing: {reason}" for name, reason in result.absent.items()]
    return lines


def ratio_table(result: Result) -> list[str]:
    """Lines of each Pyrox's ratio to every other variant, beside the budget where there is one."""
    budgets = {budget.peer: budget for budget in result.workload.budgets}
    lines = [f"  {'ratio':26}{'':>6}  {'90 % interval':15} {'must':>6} {'aim':>6}"]
    lines += [_missing_line(result, peer) for peer in budgets if not _is_measured(result, peer)]
    for ours in result.pyroxes:
        if ours in result.slices:
            lines += [_ratio_line(result, ours, name, budgets.get(name)) for name in _peers_of(result, ours)]
    return lines + _throughput_lines(result)


def _throughput_lines(result: Result) -> list[str]:
    """Compare what the builds of Pyrox got done, by the median: what more workers are worth."""
    first, *others = result.pyroxes
    if first not in result.slices:
        return []
    rate = figures(result, first).requests_per_second
    return [
        f"  {f'req/s of {name} / {first}':26}{figures(result, name).requests_per_second / rate:6.2f}"
        for name in others
        if name in result.slices
    ]


def _is_measured(result: Result, peer: str) -> bool:
    return result.pyroxes[0] in result.slices and peer in result.slices


def _missing_line(result: Result, peer: str) -> str:
    """Say of a budget that nothing can be said of it."""
    return f"  {f'{result.pyroxes[0]} / {peer}':26}{'-':>6}  not measured: one of the two is missing"


def _peers_of(result: Result, ours: str) -> list[str]:
    """Everything to compare ``ours`` with: those with a budget first; of two builds each pair once."""
    rank = [budget.peer for budget in result.workload.budgets]
    earlier = result.pyroxes[: result.pyroxes.index(ours) + 1]
    others = [name for name in result.slices if name not in earlier]
    return sorted(others, key=lambda name: rank.index(name) if name in rank else len(rank))


def _ratio_line(result: Result, ours: str, peer: str, budget: Budget | None) -> str:
    found = ratio(result.costs(ours), result.costs(peer))
    line = f"  {ours + ' / ' + peer:26}{found.value:6.2f}  {f'{found.low:.2f} - {found.high:.2f}':15}"
    if budget is None:
        return line
    aim = f"{budget.aim:6.2f}" if budget.aim else f"{'':6}"
    return f"{line} {budget.must:6.2f} {aim}  {verdict(found.value, budget.must, budget.aim)}"


def text(result: Result, only_ratios: bool) -> str:
    """Return one workload's tables."""
    absolute = [] if only_ratios else [*absolute_table(result), ""]
    title = f"{result.workload.name}: {result.workload.title}"
    return "\n".join([title, *_warning(result), *absolute, *ratio_table(result), ""])


def _warning(result: Result) -> list[str]:
    if result.other_work <= QUIET:
        return []
    return [f"  other work took {result.other_work:.0%} of the machine's CPU time: repeat when it is quiet"]


def as_json(result: Result) -> Mapping[str, Any]:
    """Return everything about one workload: slices, figures, ratios and budgets."""
    ratios = [
        {"pyrox": ours, "peer": name, **asdict(ratio(result.costs(ours), result.costs(name)))}
        for ours in result.pyroxes
        if ours in result.slices
        for name in _peers_of(result, ours)
    ]
    return {
        "workload": result.workload.name,
        "title": result.workload.title,
        "unit": result.workload.unit,
        "other_work": result.other_work,
        "figures": {name: asdict(figures(result, name)) for name in result.slices},
        "slices": {name: [asdict(each) for each in slices] for name, slices in result.slices.items()},
        "missing": result.absent,
        "ratios": ratios,
        "budgets": [asdict(budget) for budget in result.workload.budgets],
    }
