"""The options of [clusters]: how servers and keys are written, and what goes together."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from pyrox.config_discovery import discovery_faults, parse_service, resolve_fault
from pyrox.config_failure import failure_faults
from pyrox.config_health import CHECKS as HEALTH_CHECKS
from pyrox.config_health import health_faults
from pyrox.config_report import did_you_mean
from pyrox.config_values import Raw, check_text, parse_each, parse_url, split_items
from pyrox.http.headers import is_token
from pyrox.settings import ClusterSettings, ServerSettings, Settings

Problem = tuple[str, str, str]  # section, key, reason

LEAST_SECRET = 32  # characters; `openssl rand -hex 32` writes 64
MOST_WEIGHT = 100
_DEFAULT_CLUSTER = "upstream_hosts"
_KEYS = ("header:NAME", "cookie:NAME", "query:NAME", "client", "path")

_is_name = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*").fullmatch
# RFC 6265 4.1.1, without what would end the attribute.
_is_attribute = re.compile(r"[!-:<-~]*").fullmatch


def check_servers(value: Raw) -> tuple[ServerSettings, ...]:
    """Read servers: ``http://host:port``, perhaps with ``weight=3``, ``backup`` and ``resolve`` behind it."""
    servers = parse_each(parse_cluster_server, split_items(value))
    urls = [server.url for server in servers]
    if twice := [url for url in dict.fromkeys(urls) if urls.count(url) > 1]:
        raise ValueError(f"{', '.join(twice)} stands twice; a weight says that it takes more")
    return servers


def parse_cluster_server(text: str) -> ServerSettings:
    """Read one server of a cluster."""
    url, *parameters = text.split()
    if url == "demo":
        raise ValueError(
            "'demo' can only stand in [routing] upstream_hosts; "
            "run pyrox demo and write http://127.0.0.1:8081 here"
        )
    weight, is_backup, resolve, service = 1, False, False, ""
    for parameter in parameters:
        key, equals, value = parameter.partition("=")
        if key == "weight" and equals:
            weight = _weight(text, value)
        elif key == "service" and equals:
            service = parse_service(text, value)
        elif parameter == "backup":
            is_backup = True
        elif parameter == "resolve":
            resolve = True
        else:
            hint = did_you_mean(key, ("weight", "backup", "resolve", "service"))
            known = "weight=NUMBER, backup, resolve, service=NAME"
            raise ValueError(f"{text!r}: {parameter!r} is none of {known}{hint}")
    server = ServerSettings(parse_url(url), weight, is_backup, resolve, service)
    if reason := resolve_fault(server):
        raise ValueError(f"{text!r} {reason}")
    return server


def check_hash_key(value: Raw) -> str:
    """Read what requests are told apart by: ``header:X-User``, ``cookie:id``, ``client`` ..."""
    text = check_text(value)
    kind, colon, name = text.partition(":")
    if text in ("client", "path"):
        return text
    if colon and kind in ("header", "cookie", "query"):
        if is_token(name):
            return text
        raise ValueError(f"{text!r} needs a name behind the colon, as in {kind}:user")
    meant = [key for key in _KEYS if key.partition(":")[0] == kind]
    hint = f"; did you mean {meant[0]}?" if meant else did_you_mean(text, _KEYS)
    raise ValueError(f"{text!r} is none of {', '.join(_KEYS)}{hint}")


def check_cookie_name(value: Raw) -> str:
    """Read the name of a cookie, or nothing."""
    text = check_text(value)
    if text and not is_token(text):
        raise ValueError(f"{text!r} is no name of a cookie; write letters, digits, - and _")
    return text


def check_attribute(value: Raw) -> str:
    """Read the value of an attribute of a cookie, or nothing."""
    text = check_text(value)
    if not _is_attribute(text):
        raise ValueError(f"{text!r} cannot stand in a cookie; write no blanks, semicolons or umlauts")
    return text


CHECKS: dict[str, Callable[..., object]] = {
    "server_list": check_servers,
    "hash_key": check_hash_key,
    "cookie_name": check_cookie_name,
    "cookie_attribute": check_attribute,
    **HEALTH_CHECKS,
}


def cluster_problems(settings: Settings) -> Iterator[Problem]:
    """Yield what is wrong with the clusters, and between them and [routing]."""
    clusters = settings.clusters.sections
    for name, cluster in clusters.items():
        if reason := _name_fault(name):
            yield "clusters", f"[[{name}]]", reason
        for key, reason in _faults(cluster):
            yield "clusters", f"[[{name}]] {key}", reason
    default = settings.routing.default_cluster
    if default and default not in clusters:
        reason = f"there is no [[{default}]] in [clusters]{did_you_mean(default, clusters)}"
        yield "routing", "default_cluster", reason


def _name_fault(name: str) -> str:
    if name == _DEFAULT_CLUSTER:
        return "is the name of the servers of [routing] upstream_hosts; choose another"
    return "" if _is_name(name) else "is no name of a cluster; write letters, digits, -, _ and ."


def _faults(cluster: ClusterSettings) -> Iterator[tuple[str, str]]:
    backups = [server for server in cluster.servers if server.is_backup]
    if backups and len(backups) == len(cluster.servers) and not cluster.is_discovered:
        yield "servers", "are all backups; leave one without"
    yield from discovery_faults(cluster)
    if cluster.balance != "hash" and cluster.hash_on != "client":
        yield "hash_on", f"has no use while balance is {cluster.balance}; make it hash"
    yield from failure_faults(cluster)
    if cluster.balance == "sticky":
        yield from _cookie_faults(cluster)
    elif cluster.cookie_secret:
        yield "cookie_secret", f"has no use while balance is {cluster.balance}; make it sticky"
    yield from health_faults(cluster)


def _cookie_faults(cluster: ClusterSettings) -> Iterator[tuple[str, str]]:
    # The secret itself stays out of the message.
    if not cluster.cookie_secret:
        yield "cookie_secret", "is missing; balance = sticky signs its cookies with it"
    elif len(cluster.cookie_secret) < LEAST_SECRET:
        length = len(cluster.cookie_secret)
        yield "cookie_secret", f"has {length} characters; {LEAST_SECRET} are the least, and random ones"
    if not cluster.cookie_path.startswith("/"):
        yield "cookie_path", f"{cluster.cookie_path!r} does not begin with /"


def _weight(text: str, number: str) -> int:
    if not re.fullmatch(r"[0-9]{1,4}", number) or not 1 <= int(number) <= MOST_WEIGHT:
        raise ValueError(f"{text!r} needs a weight from 1 to {MOST_WEIGHT}")
    return int(number)
