"""The options of [clusters] that are about the health of servers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from pyrox.config_values import Raw, check_text, parse_each, split_items
from pyrox.settings import ClusterSettings

_is_path = re.compile(r"/[!-\"$-~]*").fullmatch  # RFC 9112 3.2.1, without a fragment
_is_host = re.compile(r"[A-Za-z0-9\[][A-Za-z0-9.:_\]-]*").fullmatch


def check_statuses(value: Raw) -> tuple[str, ...]:
    """Read statuses, ``204``, and ranges of them, ``200-299``."""
    statuses = parse_each(_statuses, split_items(value))
    if not statuses:
        raise ValueError("names no status; write one such as 200 or 200-299")
    return statuses


def check_health_path(value: Raw) -> str:
    """Read what a check asks for: a path, perhaps with a query."""
    text = check_text(value)
    if not _is_path(text):
        raise ValueError(f"{text!r} is no path; write one such as /healthz, without blanks")
    return text


def check_health_host(value: Raw) -> str:
    """Read the Host of a check, or nothing."""
    text = check_text(value)
    if text and not _is_host(text):
        raise ValueError(f"{text!r} is no host; write one such as app.example or app.example:8080")
    return text


def check_number(value: Raw, max: str) -> float:
    """Read a number from 0 to ``max``."""
    text = check_text(value)
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text) or float(text) > float(max):
        raise ValueError(f"{text!r} is not a number from 0 to {max}")
    return float(text)


CHECKS: dict[str, Callable[..., object]] = {
    "status_list": check_statuses,
    "health_path": check_health_path,
    "health_host": check_health_host,
    "number": check_number,
}


def health_faults(cluster: ClusterSettings) -> Iterator[tuple[str, str]]:
    """Yield what has no use, or is out of proportion, with the option that it is about."""
    if cluster.health_check != "http":
        reason = f"has no use while health_check is {cluster.health_check}; make it http"
        if cluster.health_path != "/":
            yield "health_path", reason
        if cluster.health_host:
            yield "health_host", reason
        if cluster.health_body:
            yield "health_body", reason
    if cluster.eject_time > cluster.eject_time_max:
        yield "eject_time", f"{cluster.eject_time:g} is more than eject_time_max, {cluster.eject_time_max:g}"


def _statuses(text: str) -> str:
    match = re.fullmatch(r"([1-9][0-9]{2})(?:\s*-\s*([1-9][0-9]{2}))?", text)
    if match is None or not 100 <= int(match[1]) <= int(match[2] or match[1]) <= 999:
        raise ValueError(f"{text!r} is neither a status such as 204 nor a range such as 200-299")
    return f"{match[1]}-{match[2]}" if match[2] else match[1]
