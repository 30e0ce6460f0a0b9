"""Policies as they are written: ``100/minute per client``.

    [NAME: ] QUOTA/[N ]UNIT [burst N] [per KEY[+KEY ...]] [using STRATEGY]

The unit is second, minute, hour, day, month (30 days) or year (360 days), as the ``limits`` library has
them. ``burst`` is how much a token bucket holds. Without ``per``, all requests are counted together.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from limits import parse

from pyrox.config_report import did_you_mean
from pyrox.http.message import Request
from pyrox.middleware.limiting.demands import STRATEGIES, Demand, Store
from pyrox.middleware.limiting.keys import Key, parse_key

_match = re.compile(
    r"(?:(?P<name>[A-Za-z][A-Za-z0-9_.-]{0,63}):\s+)?"
    r"(?P<quota>[0-9]{1,9})/(?P<times>[0-9]{1,6})?\s*(?P<unit>second|minute|hour|day|month|year)s?"
    r"(?:\s+burst\s+(?P<burst>[0-9]{1,9}))?"
    r"(?:\s+per\s+(?P<key>\S+))?"
    r"(?:\s+using\s+(?P<strategy>\w+))?"
).fullmatch
_not_in_names = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Policy:
    """``quota`` for each ``window`` seconds to what ``key`` counts together; ``name`` is shown to clients."""

    name: str
    quota: int
    window: int
    burst: int
    strategy: str
    key: Key
    counter: str  # what the key in the store begins with; a policy with another quota goes on counting

    @property
    def most(self) -> int:
        """The most that can be had at once."""
        return self.burst if self.strategy == "token_bucket" else self.quota

    def demand(self, request: Request, cost: int, store: Store) -> Demand:
        """Return what ``request`` asks of ``store``."""
        key = store.key(self.counter + self.key(request))
        return Demand(self.strategy, key, self.quota, self.window, self.burst, cost)


def parse_policies(texts: Sequence[str], strategy: str, ipv6_prefix: int) -> list[Policy]:
    """Read all policies; ``strategy`` is that of those which name none.

    Raises ``ValueError`` that says which one is wrong.
    """
    if not texts:
        raise ValueError("policies: there is none; for example: policies = 100/minute per client")
    policies = [_parse(text.strip(), strategy, ipv6_prefix) for text in texts]
    names = [policy.name for policy in policies]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"policies: two are called {name!r}; name one of them: 'other: 10/second ...'")
    return policies


def _parse(text: str, strategy: str, ipv6_prefix: int) -> Policy:
    found = _match(text)
    if found is None:
        raise ValueError(
            f"policies: {text!r} is not like '100/minute per client' or 'burst: 10/5seconds'; "
            "units are second, minute, hour, day, month, year"
        )
    strategy = found["strategy"] or strategy
    if strategy not in STRATEGIES:
        hint = did_you_mean(strategy, STRATEGIES) or f"; there are {', '.join(STRATEGIES)}"
        raise ValueError(f"policies: {text!r}: {strategy!r} is no strategy{hint}")
    limit = parse(f"{found['quota']}/{found['times'] or ''}{found['unit']}")
    key_text = found["key"] or "all"
    try:
        key = parse_key(key_text, ipv6_prefix)
    except ValueError as error:
        raise ValueError(f"policies: {text!r}: {error}") from None
    burst = limit.amount if found["burst"] is None else int(found["burst"])
    _check(text, strategy, limit.amount, limit.get_expiry(), burst, found["burst"] is not None)
    name = found["name"] or _name_of(key_text, found["times"], found["unit"])
    counter = f"{name} {strategy} {limit.get_expiry()} {key_text}\n"
    return Policy(name, limit.amount, limit.get_expiry(), burst, strategy, key, counter)


def _check(text: str, strategy: str, quota: int, window: int, burst: int, has_burst: bool) -> None:
    if not quota or not window or not burst:
        raise ValueError(f"policies: {text!r}: 0 would let nothing through; refuse it with access_control")
    if has_burst and strategy != "token_bucket":
        raise ValueError(f"policies: {text!r}: only a token_bucket has a burst; add 'using token_bucket'")


def _name_of(key: str, times: str | None, unit: str) -> str:
    span = f"{times}-{unit}s" if times and times != "1" else unit
    return _not_in_names.sub("-", f"{key.removeprefix('header:').lower()}-per-{span}")
