"""Clusters whose servers come and go: who is asked which servers there are, and what is done with the answer.

A ``Discovery`` is one cluster with the resolvers it has; each resolver is a ``Source``. The engine calls
``source.refresh`` in a greenlet of its own, sleeps for as long as it says, and so on. Nothing that a source
says, or fails to say, can take the last servers away: they are used until others are known, also by workers
that start meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence

from pyrox.error_log import log_failure
from pyrox.upstreams.cluster import Cluster
from pyrox.upstreams.member import Member
from pyrox.upstreams.notebook import Notebook, encode_found
from pyrox.upstreams.resolver import Found, ResolveError, Resolver
from pyrox.upstreams.server import Server

log = logging.getLogger("pyrox.discovery")

_FIRST_RETRY = 1.0  # most seconds after the first failure; each that follows doubles it
_LAST_RETRY = 5.0  # so soon is seen that it is over; Envoy's pause after a failure of DNS
# The least between two calls of a resolver, seconds: one that returns at once must not keep the worker busy.
_LEAST_PAUSE = 0.05

OnGone = Callable[[Server], object]


class Discovery:
    """The servers of ``cluster``: ``static`` ones, and those that its ``sources`` find.

    ``on_gone`` is told of each server that is one no more. A source that has failed is asked again after
    ``retry`` seconds, if that is less than the usual one second. What they find is noted in ``notebook``.
    """

    def __init__(
        self,
        cluster: Cluster,
        static: Sequence[Member],
        on_gone: OnGone,
        retry: float = _FIRST_RETRY,
        notebook: Notebook | None = None,
    ) -> None:
        self.cluster = cluster
        self.notebook = notebook
        self.retry = min(retry, _FIRST_RETRY)
        self.sources: list[Source] = []
        self._static = static
        self._on_gone = on_gone

    def add(self, name: str, resolver: Resolver, stand_in: Member | None = None, asked: str = "") -> None:
        """Let ``resolver``, by its ``name`` in the log, find servers.

        ``stand_in`` is one as long as it has found none. ``asked`` is all that is asked, if the name does not
        say that: what was found last for something else is of no use.
        """
        self.sources.append(Source(self, name, resolver, stand_in, asked or name))

    def apply(self, now: float) -> None:
        """Give the cluster the members that there are now."""
        members = [*self._static]
        for source in self.sources:
            members += source.members()
        before = {member.server for member in self.cluster.members}
        after = {member.server for member in members}
        self.cluster.update_members(members, now)
        for server in before - after:
            self._on_gone(server)
        _log_change(self.cluster.name, before, after)


class Source:
    """One resolver of a cluster. ``name`` says in the log what is asked; ``found`` is what it last found."""

    def __init__(
        self, discovery: Discovery, name: str, resolver: Resolver, stand_in: Member | None, asked: str
    ) -> None:
        self._discovery = discovery
        self._page = f"{discovery.cluster.name} {asked}"  # of the notebook
        self._encoded = b""  # what was found last, for the notebook
        self._stand_in = stand_in
        self.name = name
        self.resolver = resolver
        self.found: frozenset[Found] = frozenset()
        self._failures = 0  # in a row
        self._problem = ""  # that was logged last

    def members(self) -> list[Member]:
        """Return the members of this source, as if they were new."""
        if not self.found and self._stand_in is not None:
            return [self._stand_in]
        found = sorted(self.found, key=lambda one: one.server.url)
        return [Member(one.server, one.weight, one.is_backup) for one in found]

    def refresh(self, clock: Callable[[], float]) -> float:
        """Ask once, and change the cluster if there is anything new; returns seconds until the next time."""
        try:
            resolution = self.resolver.resolve()
            found = frozenset(resolution.servers)
            if not found:
                raise ResolveError("it names no server")
        except ResolveError as error:
            return self._failed(str(error), None, error.retry)
        except Exception as error:  # a resolver may fail in any way, and must be asked again all the same
            return self.failed(error)
        if self._problem:
            log.warning("%s: known again", self._label)
        self._problem, self._failures = "", 0
        self._note(found, clock())
        if found != self.found:
            self.found = found
            self._discovery.apply(clock())
        return max(resolution.valid, _LEAST_PAUSE)

    def failed(self, error: BaseException) -> float:
        """Take note of what came out of the resolver; returns seconds until the next time."""
        return self._failed(f"{type(error).__name__}: {error}", error, None)

    def recall(self, now: float) -> None:
        """Use what this worker's predecessors, or others, found last, if nothing is known yet."""
        notebook = self._discovery.notebook
        known = None if self.found or notebook is None else notebook.recall(self._page, now)
        if known is None:
            return
        self.found, age = known
        self._problem = self._problem or "no answer yet"
        log.warning("%s: not known yet; the %d found %.0f s ago are used", self._label, len(self.found), age)
        self._discovery.apply(now)

    def _note(self, found: frozenset[Found], now: float) -> None:
        """Write down what was found, also when it is the same: it is as new as this."""
        notebook = self._discovery.notebook
        if notebook is not None:
            if found != self.found or not self._encoded:
                self._encoded = encode_found(found)
            notebook.note(self._page, self._encoded, now)

    @property
    def _label(self) -> str:
        return f"servers of cluster {self._discovery.cluster.name} by {self.name}"

    def _failed(self, problem: str, error: BaseException | None, retry: float | None) -> float:
        if problem != self._problem:  # once, not at each of perhaps thousands of times
            self._problem = problem
            kept = f"the {len(self.found)} known stay" if self.found else "none is known yet"
            if error is None:
                log.warning("%s: %s; %s", self._label, problem, kept)
            else:
                log_failure(f"{self._label}: the resolver failed; {kept}", error)
        self._failures += 1
        usual = min(self._discovery.retry * 2.0 ** min(self._failures - 1, 10), _LAST_RETRY)
        return max(usual if retry is None else retry, _LEAST_PAUSE)


def _log_change(cluster: str, before: Collection[Server], after: Collection[Server]) -> None:
    new = sorted(server.url for server in after if server not in before)
    gone = sorted(server.url for server in before if server not in after)
    changes: Sequence[str] = [f"+{url}" for url in new] + [f"-{url}" for url in gone]
    if changes:
        log.info("cluster %s: %s", cluster, " ".join(changes))
