"""Whom and what a request is for: Host and the four forms of a request-target (RFC 9112 3.2)."""

from __future__ import annotations

import re
from ipaddress import IPv6Address

from pyrox.errors import ClientError
from pyrox.http.headers import Field
from pyrox.http.message import Request

_is_named = re.compile(rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+(?::[0-9]{0,5})?").fullmatch
_ip_literal = re.compile(rb"\[([0-9A-Fa-f:.]+)(?:%25[A-Za-z0-9\-._~]+)?\](?::[0-9]{0,5})?").fullmatch
_absolute_form = re.compile(rb"(?i:https?)://([^/?]*)(.*)").fullmatch
LONGEST_HOST = 261  # of what is worth remembering: a name of DNS (RFC 1035 2.3.4), a colon and a port
_MAX_HOSTS = 1024
_known_hosts: set[bytes] = set()  # authorities that were found valid, a bounded number


def check_host(request: Request, hosts: list[Field]) -> None:
    """Refuse all but exactly one valid Host; HTTP/1.0 may do without (RFC 9112 3.2).

    ``hosts`` are all Host fields. Raises ``ClientError`` 400.
    """
    if len(hosts) == 1:
        host = hosts[0][2]
        if host in _known_hosts:
            return
        if _is_authority(host):
            if len(_known_hosts) < _MAX_HOSTS and len(host) <= LONGEST_HOST:
                _known_hosts.add(host)
            return
        raise ClientError("invalid Host")
    if hosts:
        raise ClientError("more than one Host field")
    if request.version == "1.1":
        raise ClientError("no Host field in an HTTP/1.1 request")


def _is_authority(value: bytes) -> bool:
    """RFC 3986 3.2.2, without userinfo and without IPvFuture, of which there is none."""
    literal = _ip_literal(value)
    if literal is None:
        return _is_named(value) is not None
    try:
        IPv6Address(literal[1].decode())
    except ValueError:
        return False
    return True


def settle_target(request: Request, target: bytes) -> None:
    """Bring the three other forms of a target to origin form or ``*`` (RFC 9112 3.2).

    The authority of an absolute form becomes the request's Host. Raises ``ClientError``: 405 for CONNECT,
    400 for a form that the method does not allow.
    """
    if request._method == "CONNECT":
        raise ClientError("CONNECT is for forward proxies", status=405)
    if target == b"*" and request._method == "OPTIONS":
        return
    absolute = _absolute_form(target)
    if absolute is None or not _is_authority(absolute[1]):
        raise ClientError("invalid request target")
    # RFC 9112 3.2.2: the authority of an absolute-form target replaces Host.
    request.headers["Host"] = absolute[1].decode()
    rest = absolute[2].decode()
    asterisk = not rest and request._method == "OPTIONS"
    request._target = "*" if asterisk else rest if rest[:1] == "/" else "/" + rest
