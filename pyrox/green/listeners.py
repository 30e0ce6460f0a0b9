"""Listening sockets: opened, inherited, kept over a reload, handed to the next master.

gunicorn opens its own at a start, and at a reload exits when one cannot be opened. Here each belongs to
the text of its bind, so that a reload touches only those that changed.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
from collections.abc import Mapping, MutableMapping
from typing import Any

from gunicorn import sock as gunicorn_sockets
from gunicorn.util import parse_address

from pyrox.errors import ConfigError
from pyrox.green.systemd import activation_descriptors
from pyrox.settings import Settings

log = logging.getLogger("pyrox")

Listeners = dict[str, Any]  # bind -> gunicorn's socket object

HANDED_OVER = "PYROX_LISTENERS"  # in the environment of the next master: {bind: descriptor}
_ACTIVATED = "systemd:"  # stands for the bind of a socket that systemd opened
# What helps, by the error and whether it is about a unix socket.
_REMEDIES = {
    (errno.EADDRINUSE, False): "end what listens there, or choose another port",
    (errno.EADDRINUSE, True): "end what listens there, or choose another path",
    (errno.EADDRNOTAVAIL, False): "choose an address of this machine, or none to listen at all of them",
    (errno.EACCES, False): "start as root or with CAP_NET_BIND_SERVICE, or choose a port above 1023",
    (errno.EACCES, True): "let this user write to its directory",
    (errno.ENOENT, True): "make its directory first",
}
_SERVE, _REDIRECT = "[core] bind_host", "[ssl] redirect_bind"


def open_listeners(settings: Settings, cfg: Any, kept: Mapping[str, Any]) -> Listeners:
    """Return a listener for each bind of ``settings``: from ``kept`` where it has one, newly opened else.

    Sockets from systemd stand for all binds. Raises ``ConfigError`` when one cannot be opened; then those
    that were are closed again.
    """
    activated = {bind: listener for bind, listener in kept.items() if bind.startswith(_ACTIVATED)}
    if activated:
        return activated
    listeners: Listeners = {}
    problems = []
    for key, (option, bind) in _binds(settings).items():
        try:
            listeners[key] = kept[key] if key in kept else _open(bind, cfg)
        except (OSError, ValueError) as error:
            reason = _reason(error, bind)
            problems.append(f"{settings.source}: {option}: cannot listen at {bind!r}: {reason}")
    if problems:
        close_listeners({b: listener for b, listener in listeners.items() if b not in kept}, unlink=True)
        raise ConfigError(problems)
    return listeners


def _reason(error: OSError | ValueError, bind: str) -> str:
    if not isinstance(error, OSError):
        return str(error)
    remedy = _REMEDIES.get((error.errno or 0, bind.startswith("unix:")), "")
    return f"{error.strerror or error}{'; ' if remedy else ''}{remedy}"


def _binds(settings: Settings) -> dict[str, tuple[str, str]]:
    """Return the option and the text of each bind, by what it is known by over reloads."""
    options = {_SERVE: settings.core.bind_host, _REDIRECT: settings.ssl.redirect_bind}
    binds: dict[str, tuple[str, str]] = {}
    for option, bind in [(option, bind) for option, group in options.items() for bind in group]:
        # "localhost:0" may stand there twice, for two ports.
        before = sum(bind == other for _, other in binds.values())
        binds[f"{bind} {before}" if before else bind] = option, bind
    return binds


def redirect_descriptors(listeners: Mapping[str, Any], settings: Settings) -> frozenset[int]:
    """Return the descriptors of those listeners that only redirect to https."""
    if are_activated(listeners):  # then only its address says what a socket is for
        ports = {bind.rpartition(":")[2] for bind in settings.ssl.redirect_bind}
        found = (listener for listener in listeners.values() if _port_of(listener) in ports)
    else:
        binds = _binds(settings)
        found = (listener for key, listener in listeners.items() if binds[key][0] == _REDIRECT)
    return frozenset(listener.fileno() for listener in found)


def _port_of(listener: Any) -> str:
    name = listener.getsockname()
    return str(name[1]) if isinstance(name, tuple) else name


def inherited_listeners(environ: MutableMapping[str, str], cfg: Any) -> Listeners:
    """Return what a master before this one, or systemd, has opened; takes it out of the environment."""
    handed_over = environ.pop(HANDED_OVER, "")
    descriptors: dict[str, int] = json.loads(handed_over) if handed_over else {}
    for number, descriptor in enumerate(activation_descriptors(environ)):
        descriptors[f"{_ACTIVATED}{number}"] = descriptor
    return {bind: _adopt(descriptor, cfg) for bind, descriptor in descriptors.items()}


def are_activated(listeners: Mapping[str, Any]) -> bool:
    """Whether the listeners are systemd's, which then also owns the files of unix sockets."""
    return any(bind.startswith(_ACTIVATED) for bind in listeners)


def hand_over(listeners: Mapping[str, Any]) -> str:
    """Return what ``inherited_listeners`` of the next master reads; the sockets must stay open."""
    for listener in listeners.values():
        os.set_inheritable(listener.fileno(), True)
    return json.dumps({bind: listener.fileno() for bind, listener in listeners.items()})


def close_listeners(listeners: Mapping[str, Any], unlink: bool) -> None:
    """Close sockets that are still open; ``unlink`` removes the files of unix sockets."""
    for listener in [listener for listener in listeners.values() if listener.sock is not None]:
        gunicorn_sockets.close_sockets([listener], unlink and _has_file(listener))


def _has_file(listener: Any) -> bool:
    return listener.FAMILY == socket.AF_UNIX and os.path.exists(listener.getsockname())


def _open(bind: str, cfg: Any) -> Any:
    address = parse_address(bind)
    if isinstance(address, int):
        return _adopt(address, cfg)
    if isinstance(address, str) and _is_served(address):
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    umask = os.umask(0)
    os.umask(umask)
    try:
        return gunicorn_sockets._sock_type(address)(address, cfg, log)
    finally:
        os.umask(umask)  # gunicorn leaves its own behind when it cannot bind


def _is_served(path: str) -> bool:
    """Whether somebody listens at the unix socket: gunicorn would put another in its place."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        return probe.connect_ex(path) in (0, errno.EAGAIN)  # EAGAIN: its backlog is full


def _adopt(descriptor: int, cfg: Any) -> Any:
    with socket.socket(fileno=os.dup(descriptor)) as probe:
        name = probe.getsockname()
    # Moves to another descriptor, and closes this one.
    return gunicorn_sockets._sock_type(name)(name, cfg, log, fd=descriptor)
