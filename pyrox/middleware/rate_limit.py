"""``rate_limit``: how many requests a client, a tenant or everybody may send in a window of time."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal, NoReturn

from pyrox.errors import HTTPError
from pyrox.http.error_response import answer_headers
from pyrox.http.message import Request, Response
from pyrox.middleware.base import App, Middleware
from pyrox.middleware.extras import require
from pyrox.middleware.limiting.demands import Demand, Store, StoreError, Verdict
from pyrox.middleware.observe import OBSERVED
from pyrox.middleware.place import current_place
from pyrox.routing.methods import methods_of

log = logging.getLogger("pyrox")

Strategy = Literal["sliding_window", "fixed_window", "token_bucket"]


class RateLimit(Middleware):
    """Answers 429 to requests that exceed a quota; exact across all workers, and with Redis across machines.

    A request must fit all policies, and when one refuses it, none is consumed. Put it inside of what finds
    out who the client is.

    * ``policies``: one or more of ``[NAME: ] QUOTA/[N ]UNIT [burst N] [per KEY] [using STRATEGY]``, for
      example ``100/minute per client`` or ``1000/hour per identity``. Keys are ``client`` (the address),
      ``identity``, ``route``, ``method``, ``host``, ``header:NAME``, and several of them joined by ``+``.
    * ``strategy``: that of policies which name none: ``sliding_window``, ``fixed_window`` or
      ``token_bucket``. Default ``sliding_window``.
    * ``cost``: what one request takes from each quota; a number, or a subsection of numbers by method, where
      ``other`` stands for those it does not name. 0 is free. Where ``X-HTTP-Method-Override`` and the like
      ask for another method, the dearer counts. Default 1.
    * ``ipv6_prefix``: how many bits of an IPv6 address tell clients apart. Default 64.
    * ``store``: ``memory``, which all workers of this proxy share, or ``redis://host:port/db``,
      ``rediss://...``, ``redis+unix:///path`` for several machines. Default ``memory``.
    * ``max_keys``: how many keys there is room for in memory. Default 65536.
    * ``prefix``: what keys in Redis begin with, before the name of the section. Default ``pyrox``.
    * ``store_timeout``: seconds that Redis has for an answer. Default 0.02.
    * ``on_store_error``: while Redis does not answer, ``local`` counts in memory, ``allow`` lets all requests
      pass, ``deny`` answers 503. Default ``local``.
    * ``fields``: tell clients in RateLimit and RateLimit-Policy. Default yes.
    * ``x_fields``: tell them in X-RateLimit-Limit, -Remaining and -Reset, too. Default no.
    * ``dry_run``: count, but let everything pass and tell clients nothing; what would have been refused is
      in the access log's ``$observed``. Default no.
    """

    def __init__(
        self,
        app: App,
        policies: Sequence[str],
        strategy: Strategy = "sliding_window",
        cost: int | dict[str, int] = 1,
        ipv6_prefix: int = 64,
        store: str = "memory",
        max_keys: int = 65536,
        prefix: str = "pyrox",
        store_timeout: float = 0.02,
        on_store_error: Literal["local", "allow", "deny"] = "local",
        fields: bool = True,
        x_fields: bool = False,
        dry_run: bool = False,
    ) -> None:
        super().__init__(app)
        require("limits", "rate_limit")
        # They need the library.
        from pyrox.middleware.limiting import fields as fields_module
        from pyrox.middleware.limiting.building import make_store
        from pyrox.middleware.limiting.policies import parse_policies

        _check_between("ipv6_prefix", ipv6_prefix, 1, 128)
        _check_between("max_keys", max_keys, 64, 1 << 24)
        place = current_place()
        self._name = "rate_limit" if place is None else place.section
        self._policies = parse_policies(policies, strategy, ipv6_prefix)
        self._costs, self._other_cost = _costs(cost, min(policy.most for policy in self._policies))
        self._store: Store = make_store(store, self._name, max_keys, prefix, store_timeout, on_store_error)
        self._on_store_error = on_store_error
        self._dry_run = dry_run
        tells = not dry_run
        self._fields = fields_module.Fields(self._policies, fields and tells, x_fields and tells)
        self._refusal_text = fields_module.refusal_text

    def __call__(self, request: Request) -> Response:
        cost = self._cost_of(request) if self._costs else self._other_cost
        if not cost:
            return self.app(request)
        try:
            verdicts = self._store.take(self._demands(request, cost))
        except StoreError as error:
            return self._go_without(request, error)
        for verdict in verdicts:
            if not verdict.granted:
                self._refuse(request, verdicts)
                return self.app(request)  # as nothing but a dry run does
        fields = self._fields.of(verdicts)
        try:
            response = self.app(request)
        except Exception as error:
            answer_headers(error).fields += fields
            raise
        response.headers.fields += fields
        return response

    def _cost_of(self, request: Request) -> int:
        """Return the most that it costs by any method that a server may take it for."""
        return max(self._costs.get(method, self._other_cost) for method in methods_of(request))

    def _demands(self, request: Request, cost: int) -> list[Demand]:
        store = self._store
        return [policy.demand(request, cost, store) for policy in self._policies]

    def _refuse(self, request: Request, verdicts: list[Verdict]) -> None:
        names = [p.name for p, verdict in zip(self._policies, verdicts, strict=True) if not verdict.granted]
        if self._dry_run:
            request.state.setdefault(OBSERVED, []).append(f"{self._name}=429")
            log.info("%s would refuse %r of %s: %s", self._name, request, request.client_address, names)
            return
        text, media_type = self._refusal_text(names, request.headers.get("accept"))
        error = HTTPError(429, text, {"Content-Type": media_type})
        answer_headers(error).fields += self._fields.of_refusal(verdicts)
        raise error

    def _go_without(self, request: Request, error: StoreError) -> Response:
        if self._on_store_error == "deny" and not self._dry_run:
            self._deny(error)
        return self.app(request)

    def _deny(self, error: StoreError) -> NoReturn:
        raise HTTPError(503, "", {"Retry-After": "1"}) from error


def _costs(cost: int | dict[str, int], most: int) -> tuple[dict[str, int], int]:
    """Return the cost by method, and that of other methods."""
    costs = dict(cost) if isinstance(cost, dict) else {"other": cost}
    for method, number in costs.items():
        if not 0 <= number <= most:
            raise ValueError(f"cost: {number} is not between 0 and {most}, the most that can be had at once")
        if method not in ("other", method.upper()):
            raise ValueError(f"cost: methods are written in capitals: {method.upper()}, not {method}")
    other = costs.pop("other", 1)
    return costs, other


def _check_between(option: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise ValueError(f"{option}: {value} is not between {least} and {most}")
