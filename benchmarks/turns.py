"""Timing without noise: what is compared takes turns, and of each the least counts, since noise only adds."""

from __future__ import annotations

import gc
import timeit
from collections.abc import Callable, Mapping
from time import process_time


def least_of_each(variants: Mapping[str, Callable[[], object]], turns: int, calls: int) -> dict[str, float]:
    """Return the least microseconds of CPU that one call takes, by variant.

    Each of ``turns`` gives every variant ``calls`` in a row. What was made until now is left out of the
    collector's rounds, as a worker does it before it serves.
    """
    gc.collect()
    gc.freeze()
    least = dict.fromkeys(variants, float("inf"))
    for _ in range(turns):
        for name, call in variants.items():
            seconds = timeit.timeit(call, timer=process_time, number=calls) / calls
            least[name] = min(least[name], seconds * 1e6)
    return least
