"""``Settings``: the configuration as the rest of Pyrox sees it, typed and frozen.

Meaning, range and default of each option stand in ``configspec.ini`` and nowhere else; a test keeps
the names here equal to the names there. Times are seconds (0 switches a timeout off), sizes bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Literal

DEFAULT_CONFIG = "/etc/pyrox/pyrox.conf"  # the file that is read when no other is named

# Networks, and the text "unix" for the peers of a unix socket.
Peers = tuple[IPv4Network | IPv6Network | str, ...]
RawValue = str | list[str]
RawOptions = Mapping[str, RawValue | Mapping[str, RawValue]]  # as written; a mapping is a [[[subsection]]]


@dataclass(frozen=True, slots=True)
class CoreSettings:
    bind_host: tuple[str, ...]
    processes: int
    plugin_paths: tuple[str, ...]
    enable_profiling: bool
    profile_dir: str | None
    worker_connections: int
    graceful_timeout: float
    drain_delay: float
    tunnel_grace: float
    worker_timeout: float
    stall_warning: float  # 0: never
    max_requests: int  # 0: no limit
    max_requests_jitter: int
    backlog: int
    reload: bool
    pid_file: str | None
    user: str  # "": the master's
    group: str
    umask: str  # octal digits; "": as inherited
    daemon: bool
    proc_name: str


@dataclass(frozen=True, slots=True)
class CertificateSettings:
    """A ``[[name]]`` of [ssl]: one more certificate, for the names it holds or for ``server_names``."""

    cert_file: str | None
    key_file: str | None
    server_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SslSettings:
    cert_file: str | None
    key_file: str | None
    minimum_version: str  # TLSv1.2 | TLSv1.3
    ciphers: str
    client_certificates: str  # off | optional | required
    client_ca_file: str | None
    client_certificate_headers: tuple[str, ...]  # "Name: value"
    redirect_bind: tuple[str, ...]
    redirect_port: int
    certificates: Mapping[str, CertificateSettings]


@dataclass(frozen=True, slots=True)
class LoggingSettings:
    console: bool
    logfile: str | None
    verbosity: str
    access_log: str | None
    access_log_format: str


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    upstream: tuple[str, ...]
    downstream: tuple[str, ...]
    use_singletons: bool
    filter_lifetime: Literal["request", "connection", "worker"]
    aliases: Mapping[str, str]
    options: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class RoutingSettings:
    upstream_hosts: tuple[str, ...]
    default_cluster: str  # "": the servers of upstream_hosts
    preserve_host: bool


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """One of the ``servers`` of a cluster; its ``str`` is how it is written."""

    url: str
    weight: int = 1
    is_backup: bool = False
    resolve: bool = False  # its name stands for all the addresses that DNS has for it
    service: str = ""  # ... or for the servers of this service (SRV), as in "_http._tcp"

    def __str__(self) -> str:
        weight = f" weight={self.weight}" if self.weight != 1 else ""
        service = f" service={self.service}" if self.service else ""
        resolve = " resolve" if self.resolve else ""
        return f"{self.url}{service}{resolve}{weight}{' backup' if self.is_backup else ''}"


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """A ``[[name]]`` of [clusters]."""

    servers: tuple[ServerSettings, ...]
    balance: str  # round_robin | least_conn | random_two | hash | sticky | ewma
    hash_on: str  # "header:X-User", "client" ...
    cookie_name: str  # "": pyrox_ and the cluster's name
    cookie_secret: str = field(repr=False)
    cookie_max_age: float  # 0: it ends with the browser
    cookie_path: str
    cookie_domain: str  # "": the host that was asked
    cookie_same_site: str  # lax | strict | none
    retry_on: tuple[str, ...]  # connect | reset | timeout | invalid, and statuses
    retries: int
    retry_body: int
    retry_backoff: float
    retry_backoff_max: float
    retry_budget: int  # per cent
    retry_budget_min: int
    try_timeout: float
    hedge_after: float  # 0: never
    breaker: int  # per cent; 0: never
    breaker_on: tuple[str, ...]  # "error" and statuses
    breaker_volume: int
    breaker_window: float
    breaker_open: float
    breaker_open_max: float
    breaker_trials: int
    max_connections: int  # of one server; 0: no limit
    max_exchanges: int  # of all; 0: no limit
    queue: int
    queue_timeout: float
    slow_start: float  # 0: at once
    health_check: str  # off | connect | http
    health_path: str
    health_host: str  # "": the server's own name
    health_status: tuple[str, ...]  # "204" or "200-299"
    health_body: str  # "": anything
    health_interval: float
    health_timeout: float
    health_rise: int
    health_fall: int
    eject_failures: int  # 0: never
    eject_status: tuple[str, ...]
    eject_deviation: float  # 0: never
    eject_window: float
    eject_volume: int
    eject_time: float
    eject_time_max: float
    eject_most: float  # per cent
    panic_threshold: float  # per cent; 0: never
    servers_file: str | None = None
    resolver: str = ""  # a dotted path
    resolver_options: tuple[str, ...] = ()  # "name=value"

    @property
    def is_discovered(self) -> bool:
        """Whether other servers than those of the file may come, and these go."""
        return bool(self.servers_file or self.resolver or any(server.resolve for server in self.servers))


@dataclass(frozen=True, slots=True)
class ClustersSettings:
    sections: Mapping[str, ClusterSettings]  # [[name]] -> its options


@dataclass(frozen=True, slots=True)
class DiscoverySettings:
    nameservers: tuple[str, ...]  # "10.0.0.2:53"; none: the system's
    dns_timeout: float
    min_ttl: float
    max_ttl: float


@dataclass(frozen=True, slots=True)
class WeightedCluster:
    """One of the ``clusters`` of a route; its ``str`` is how it is written."""

    name: str
    weight: int = 1

    def __str__(self) -> str:
        return f"{self.name} weight={self.weight}"


@dataclass(frozen=True, slots=True)
class RouteSettings:
    """A ``[[name]]`` of [routes]."""

    match: str
    priority: int  # 0: the length of match
    cluster: str
    clusters: tuple[WeightedCluster, ...]
    stack: tuple[str, ...]
    redirect: str  # a template; "": none
    redirect_status: int
    respond: int  # a status; 0: no fixed answer
    respond_body: str
    respond_headers: tuple[str, ...]  # "Name: value"
    strip_prefix: str
    replace_path: str  # a regular expression
    replace_with: str
    add_prefix: str
    max_body_size: int  # 0: that of [limits]
    upstream_first_byte: float | None  # None: that of [timeouts]
    upstream_read: float | None
    exchange: float | None
    mirror: str
    mirror_percent: float
    mirror_body: int
    fallback: str
    fallback_on: tuple[str, ...]  # "error" and statuses


@dataclass(frozen=True, slots=True)
class RoutesSettings:
    sections: Mapping[str, RouteSettings]  # [[name]] -> its options


@dataclass(frozen=True, slots=True)
class TemplatesSettings:
    pyrox_error_sc: int
    rejection_sc: int


@dataclass(frozen=True, slots=True)
class MiddlewareSettings:
    stack: tuple[str, ...]
    sections: Mapping[str, RawOptions]  # [[name]] -> its options as written, "class" among them


@dataclass(frozen=True, slots=True)
class HttpSettings:
    underscore_headers: str  # drop | allow | reject
    trusted_proxies: Peers
    proxy_protocol_from: Peers
    forwarded: bool


@dataclass(frozen=True, slots=True)
class LimitSettings:
    request_line: int
    head_size: int
    head_fields: int
    max_body_size: int  # 0: no limit
    chunk_extension: int
    chunk_extensions: int
    buffer_size: int
    unread_body: int


@dataclass(frozen=True, slots=True)
class TimeoutSettings:
    client_head: float
    client_body: float
    client_idle: float
    client_write: float
    client_half_closed: float
    upstream_connect: float
    upstream_tls: float
    upstream_first_byte: float
    upstream_read: float
    upstream_idle: float
    tunnel_timeout: float
    exchange: float
    linger: float


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    idle_connections: int  # kept per server and worker
    proxy_protocol: str  # off | v1 | v2
    verify: bool
    ca_file: str | None
    cert_file: str | None
    key_file: str | None


@dataclass(frozen=True, slots=True)
class Settings:
    source: str  # the file the settings came from, for messages
    core: CoreSettings
    ssl: SslSettings
    logging: LoggingSettings
    pipeline: PipelineSettings
    routing: RoutingSettings
    clusters: ClustersSettings
    discovery: DiscoverySettings
    routes: RoutesSettings
    templates: TemplatesSettings
    middleware: MiddlewareSettings
    http: HttpSettings
    limits: LimitSettings
    timeouts: TimeoutSettings
    upstream: UpstreamSettings
