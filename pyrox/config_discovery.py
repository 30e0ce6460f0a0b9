"""The options of discovery: nameservers, and which servers can be looked up."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from urllib.parse import urlsplit

from pyrox.config_values import Raw, parse_each, split_items
from pyrox.settings import ClusterSettings, ServerSettings

_is_service = re.compile(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*").fullmatch
_is_option = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*").fullmatch
_DNS_PORT = 53


def check_nameservers(value: Raw) -> tuple[str, ...]:
    """Read nameservers, ``10.0.0.2`` or ``[::1]:5353``; each with its port in the result."""
    return parse_each(_nameserver, split_items(value))


CHECKS: dict[str, Callable[..., object]] = {"nameserver_list": check_nameservers}


def parse_service(text: str, name: str) -> str:
    """Read the name of a service as nginx does: ``http`` is ``_http._tcp``, one with dots stands as it is."""
    if not _is_service(name):
        raise ValueError(f"{text!r} names no service; write one such as service=http or service=_http._tcp")
    return name if "." in name else f"_{name.removeprefix('_')}._tcp"


def resolve_fault(server: ServerSettings) -> str:
    """Return why ``server`` cannot be looked up as it is written, or ``""``."""
    if not server.resolve:
        return "has a service, for which it needs resolve as well" if server.service else ""
    parts = urlsplit(server.url)
    if parts.scheme not in ("http", "https"):
        return "has no name that could be resolved"
    if _is_address(parts.hostname or ""):
        return "is an address; there is nothing to resolve"
    if server.service and parts.port:
        return "has a port; it comes with the SRV records"
    if server.service and server.weight != 1:
        return "has a weight; it comes with the SRV records"
    return ""


def discovery_faults(cluster: ClusterSettings) -> Iterator[tuple[str, str]]:
    """Yield the options of ``cluster`` that are wrong, and why."""
    if cluster.resolver_options and not cluster.resolver:
        yield "resolver_options", "have no use without resolver"
    if wrong := [option for option in cluster.resolver_options if not _is_option(option)]:
        yield "resolver_options", f"{wrong[0]!r} is not name=value"
    names = [option.partition("=")[0].strip() for option in cluster.resolver_options]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        yield "resolver_options", f"{', '.join(twice)} stands twice"


def _nameserver(text: str) -> str:
    address, port = text, str(_DNS_PORT)
    if match := re.fullmatch(r"\[([^]]*)\](?::([0-9]{1,5}))?|([0-9.]+):([0-9]{1,5})", text):
        address = match[1] or match[3] or ""
        port = match[2] or match[4] or port
    if not _is_address(address) or not 1 <= int(port) <= 65535:
        raise ValueError(f"{text!r} is no nameserver; write its address, as in 10.0.0.2 or [::1]:5353")
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
