"""``Engine``: what one worker builds once and all its connections share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from math import inf
from random import random
from time import monotonic
from typing import Any

from greenlet import getcurrent, greenlet

from pyrox.access_log import AccessLog
from pyrox.green.checker import Prober
from pyrox.green.client import ClientConnection
from pyrox.green.deadlines import Deadlines
from pyrox.green.discoverer import Discoverer
from pyrox.green.dns_lookup import DnsLookup
from pyrox.green.exchange import LiveExchange
from pyrox.green.forwarder import Forwarder
from pyrox.green.health import Health
from pyrox.green.health_board import HealthBoard
from pyrox.green.pool import UpstreamPool
from pyrox.green.proxy_protocol import Introductions
from pyrox.green.routes import EngineRoutes
from pyrox.green.stream import StreamSettings
from pyrox.green.tls_contexts import Tls, UpstreamTls
from pyrox.green.upstream import Connector
from pyrox.green.wsgi import Applications
from pyrox.http.certificate import CertificateFields
from pyrox.http.framing import ChunkLimits
from pyrox.http.head import HeadLimits
from pyrox.http.head_cache import HeadCache
from pyrox.middleware.base import App
from pyrox.middleware.stack import build_stack, load_stack, reserved_fields
from pyrox.router import Router
from pyrox.routing.dispatch import build_routes
from pyrox.settings import Settings
from pyrox.upstreams.applications import application_clusters, load_applications
from pyrox.upstreams.building import DEFAULT_CLUSTER, make_clusters
from pyrox.upstreams.cluster import Cluster
from pyrox.upstreams.discovering import make_discoveries

log = logging.getLogger("pyrox")


class Engine:
    """The stack, the pool, the limits and the log of one worker; made after the fork.

    ``health_board`` is shared with the other workers. Raises ``ConfigError`` when the middleware cannot be
    built.
    """

    def __init__(
        self,
        settings: Settings,
        tls: Tls,
        health_board: HealthBoard,
        upstream_hosts: tuple[str, ...] | None = None,
    ) -> None:
        limits, timeouts = settings.limits, settings.timeouts
        self.settings = settings
        self.clock = clock = Deadlines()
        self.heads, self.chunk_limits = _limits_of_messages(settings)
        self.max_body_size = limits.max_body_size
        self.unread_body = limits.unread_body
        self.error_status = settings.templates.pyrox_error_sc
        self.head_patience = clock.ticks(timeouts.client_head)
        self.body_patience = clock.ticks(timeouts.client_body)
        self.first_byte_patience = clock.ticks(timeouts.upstream_first_byte)
        self.tunnel_patience = clock.ticks(timeouts.tunnel_timeout)
        self.linger_patience = clock.ticks(timeouts.linger) if timeouts.linger else 0
        half_closed = timeouts.client_half_closed
        self.half_closed_patience = clock.ticks(half_closed) if half_closed else 0
        self.idle_patience = clock.ticks(timeouts.client_idle)  # that a client may keep an idle connection
        self.exchange_timeout = timeouts.exchange
        self.is_draining = False
        self.connections: dict[greenlet, ClientConnection] = {}  # by the greenlet that serves it
        self.accepted = 0  # clients whose socket is open: those in connections, and those about to be
        self.waiting_for_room: set[Callable[[], object]] = set()  # called when there are fewer
        self.access_log = AccessLog(settings.logging.access_log, settings.logging.access_log_format)
        self.record = self.access_log.write
        self.client_streams = self._streams(timeouts.client_write)
        self.introductions = Introductions(settings)
        self._connector = self._make_connector(tls.upstream)
        self.pool = self._make_pool(self._connector)
        hosts = upstream_hosts or settings.routing.upstream_hosts
        self._clusters = clusters = make_clusters(hosts, settings.clusters.sections, random)
        discoveries = make_discoveries(settings, clusters, partial(DnsLookup, settings), self.pool.forget)
        self._discoverer = Discoverer(discoveries)
        clusters |= application_clusters(settings)
        self.health = Health(clusters.values(), health_board, self._make_prober())
        self.app = self._make_app(clusters)

    def _streams(self, write_timeout: float) -> StreamSettings:
        size = self.settings.limits.buffer_size
        return StreamSettings(self.clock, self.clock.ticks(write_timeout), size)

    def _make_connector(self, tls: UpstreamTls) -> Connector:
        settings = self.settings
        streams = self._streams(settings.timeouts.upstream_read)
        return Connector(streams, settings.timeouts, tls, self.introductions.own)

    def _make_pool(self, connector: Connector) -> UpstreamPool:
        settings = self.settings
        idle_timeout = settings.timeouts.upstream_idle
        return UpstreamPool(connector, self.clock, idle_timeout, settings.upstream.idle_connections)

    def pool_for(self, introduction: bytes) -> UpstreamPool:
        """Return a new pool, whose connections begin with ``introduction``; its user closes it."""
        return self._make_pool(self._connector.introducing(introduction))

    def _make_prober(self) -> Prober:
        # Not with the cache of heads that clients profit from.
        return Prober(self._connector, self.clock, HeadCache(self.heads.limits), self.chunk_limits)

    def _make_app(self, clusters: Mapping[str, Cluster]) -> App:
        settings = self.settings
        self._applications = Applications(
            load_applications(settings), self.clock, multiprocess=settings.core.processes != 1
        )
        router = Router(clusters, settings.routing.default_cluster or DEFAULT_CLUSTER)
        routes = EngineRoutes(self, partial(self._make_forwarder, router))
        innermost = build_routes(settings, routes) if settings.routes.sections else routes.forward(None)
        return build_stack(load_stack(settings), innermost)

    def _make_forwarder(
        self,
        router: Router,
        first_byte_patience: int,
        read_patience: int,
        current_exchange: Callable[[], LiveExchange | None],
    ) -> Forwarder:
        return Forwarder(
            router,
            self.pool,
            self.heads,
            self.chunk_limits,
            first_byte_patience=first_byte_patience,
            read_patience=read_patience,
            preserve_host=self.settings.routing.preserve_host,
            current_exchange=current_exchange,
            applications=self._applications,
        )

    def current_exchange(self) -> LiveExchange | None:
        """Return the exchange that the running greenlet, or the one that spawned it, works for."""
        running = getcurrent()
        while running is not None:
            connection = self.connections.get(running)
            if connection is not None:
                return connection.exchange
            running = _spawner_of(running)
        return None

    def broke_off(self, exchange: LiveExchange) -> None:
        """Let the cluster of the server that answered last know that it did not send all of its response."""
        member = exchange.attempts[-1].member if exchange.attempts else None
        for cluster in self._clusters.values():
            if member is not None and member in cluster.members:
                cluster.broke_off(member, monotonic())

    def start_exchange_timer(self, exchange: LiveExchange) -> None:
        """Start the timer of a whole exchange; to be called when there is an ``exchange_timeout``."""
        exchange.timer = self.clock.hub.loop.timer(self.exchange_timeout)
        exchange.timer.start(exchange.expire)

    def restart_exchange_timer(self, exchange: LiveExchange, timeout: float) -> None:
        """Let ``exchange`` take ``timeout`` seconds from its start, 0 for any time, instead."""
        if exchange.timer is not None:
            exchange.timer.close()
            exchange.timer = None
        if timeout:
            left = max(timeout - (monotonic() - exchange.started), 0.001)
            exchange.timer = self.clock.hub.loop.timer(left)
            exchange.timer.start(exchange.expire)

    def start(self) -> None:
        """Start what runs beside the connections; wait a moment for servers that are to be discovered."""
        self.clock.start()
        # No longer than half of the time after which a worker that gives no sign of life is killed.
        patience = self.settings.core.worker_timeout / 2 or inf
        self._discoverer.start(min(self.settings.discovery.dns_timeout, patience))
        self.health.start()

    def drain(self, idle_timeout: float) -> None:
        """Let every exchange finish, and no connection start another after the one it is at.

        A client may use an idle connection once more within ``idle_timeout`` seconds.
        """
        self.is_draining = True
        self.health.leave()
        self.idle_patience = self.clock.ticks(idle_timeout)
        for connection in self.connections.values():
            connection.drain()

    def cut(self, spare_tunnels: bool = False) -> int:
        """End connections whatever they are doing; returns how many there were."""
        doomed = [c for c in self.connections.values() if not (spare_tunnels and c.is_tunnel)]
        for connection in doomed:
            connection.abort()
        return len(doomed)

    def drain_deadline(self) -> int:
        """Return the tick at which idle connections are given up while draining."""
        return self.clock.now + self.idle_patience

    def close(self) -> None:
        """Release everything: idle upstream connections, the clock, the log."""
        self.health.close()
        self._discoverer.close()
        self.pool.close()
        self.clock.stop()
        self.access_log.close()


def _spawner_of(running: Any) -> Any:
    """Return the greenlet that spawned ``running``; None when that serves another connection by now."""
    reference = getattr(running, "spawning_greenlet", None)
    spawner = None if reference is None else reference()
    if spawner is None or getattr(spawner, "spawn_tree_locals", None) is not running.spawn_tree_locals:
        return None
    return spawner


def _limits_of_messages(settings: Settings) -> tuple[HeadCache, ChunkLimits]:
    limits = settings.limits
    identity_fields = CertificateFields(settings.ssl.client_certificate_headers).names
    reserved = reserved_fields(settings)
    heads = HeadLimits(
        limits.request_line,
        limits.head_size,
        limits.head_fields,
        settings.http.underscore_headers,
        identity_fields,
        reserved,
    )
    chunks = ChunkLimits(
        limits.chunk_extension,
        limits.chunk_extensions,
        limits.head_size,
        limits.head_fields,
        identity_fields | reserved,
    )
    return HeadCache(heads), chunks
