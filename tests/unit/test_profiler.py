"""What a profiler makes of samples; the clock is the test's."""

from __future__ import annotations

import pstats
import sys
import time
from collections.abc import Callable
from pathlib import Path

import gevent
import pytest

from pyrox import profiler as module
from pyrox.profiler import Profiler

Cost = tuple[int, int, float, float, dict[tuple[str, int, str], tuple[int, int, float, float]]]


class Bench:
    """A profiler that is sampled when a function says so, at the cost it says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.profiler = Profiler()
        self.now = 0
        monkeypatch.setattr(module, "thread_time_ns", lambda: self.now)

    def spend(self, seconds: float) -> None:
        """Spend time, and be sampled as the caller."""
        self.now += int(seconds * 1e9)
        self.profiler._sample(0, sys._getframe(1))

    def costs(self) -> dict[str, Cost]:
        """The statistics of this file's functions, by name."""
        found = self.profiler._statistics()
        return {name: cost for (path, _, name), cost in found.items() if path == __file__}


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def outer(bench: Bench, inner: Callable[[Bench], None]) -> None:
    bench.spend(0.001)
    inner(bench)


def inner(bench: Bench) -> None:
    bench.spend(0.002)
    bench.spend(0.004)


def recursive(bench: Bench, depth: int = 3) -> None:
    if depth:
        recursive(bench, depth - 1)
    else:
        bench.spend(0.008)


def callers(cost: Cost) -> dict[str, tuple[int, int, float, float]]:
    return {name: call for (_, _, name), call in cost[4].items()}


def test_time_goes_to_the_function_that_runs_and_to_those_above_it(bench: Bench) -> None:
    outer(bench, inner)
    costs = bench.costs()
    assert costs["inner"][:4] == (2, 2, pytest.approx(0.006), pytest.approx(0.006))
    assert costs["outer"][:4] == (3, 3, pytest.approx(0.001), pytest.approx(0.007))
    assert callers(costs["inner"]) == {"outer": (2, 2, pytest.approx(0.006), pytest.approx(0.006))}


def test_recursion_counts_once(bench: Bench) -> None:
    recursive(bench)
    cost = bench.costs()["recursive"]
    assert cost[:4] == (1, 1, pytest.approx(0.008), pytest.approx(0.008))
    assert callers(cost)["recursive"] == (1, 1, pytest.approx(0.008), pytest.approx(0.008))
    assert callers(cost)["test_recursion_counts_once"] == (1, 1, 0.0, pytest.approx(0.008))


def test_folded_stacks_name_functions_outermost_first(bench: Bench) -> None:
    outer(bench, inner)
    lines = [line.rpartition(" ") for line in bench.profiler._folded()]
    assert [count for _, _, count in lines] == ["1000\n", "6000\n"]
    frames = lines[1][0].split(";")
    assert [frame.partition(" ")[0] for frame in frames[-2:]] == ["outer", "inner"]
    assert frames[-1].endswith(f"test_profiler.py:{inner.__code__.co_firstlineno})")


def test_name_cannot_break_a_line(bench: Bench, tmp_path: Path) -> None:
    odd = compile("bench.spend(0.001)", "a;b\nc\udcff.py", "exec")
    exec(odd, {"bench": bench})
    _, folded = bench.profiler.write(str(tmp_path))
    [line] = Path(folded).read_text(encoding="utf-8").splitlines()
    assert line.endswith("<module> (a,b c\\udcff.py:1) 1000")


def test_files_are_what_pstats_reads(bench: Bench, tmp_path: Path) -> None:
    outer(bench, inner)
    path, _ = bench.profiler.write(str(tmp_path))
    stats = pstats.Stats(path).strip_dirs()
    assert stats.total_tt == pytest.approx(0.007)  # type: ignore[attr-defined]
    assert stats.get_stats_profile().func_profiles["inner"].cumtime == pytest.approx(0.006)


def compute(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def computes() -> None:
    for _ in range(5):
        compute(0.02)
        gevent.sleep(0)


def waits() -> None:
    gevent.sleep(0.1)


def test_greenlet_that_waits_is_not_charged_with_what_others_do() -> None:
    """The reason why this is not cProfile."""
    profiler = Profiler()
    profiler.start()
    try:
        gevent.joinall([gevent.spawn(waits), gevent.spawn(computes), gevent.spawn(waits)], raise_error=True)
    finally:
        profiler.stop()
    costs = {name: cost for (path, _, name), cost in profiler._statistics().items() if path == __file__}
    assert costs["computes"][3] == pytest.approx(0.1, rel=0.3)
    assert costs["compute"][2] == pytest.approx(0.1, rel=0.3)
    assert "waits" not in costs or costs["waits"][3] < 0.02
