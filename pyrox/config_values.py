"""The types that an option in ``configspec.ini`` can have: text as written -> value, or why not.

Each ``check_*`` is the function behind one type name of the spec (see ``checks``). It gets the text of
the file, a ``str`` or, where the line had commas, a list of them; limits arrive as the spec's own text.
All raise ``ValueError`` whose message quotes the value and says what would be accepted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeVar

from pyrox.http.certificate import CertificateFields
from pyrox.settings import Peers

T = TypeVar("T")
Raw = str | list[str]

_YES = ("yes", "true", "on", "1")
_NO = ("no", "false", "off", "0")
_SECONDS_IN = {"": 1.0, "s": 1.0, "ms": 0.001, "m": 60.0, "h": 3600.0}
_BYTES_IN = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_LONGEST = 366 * 24 * 3600.0  # a time-out of more than a year is a slip of the unit
_LARGEST = (1 << 63) - 1  # what a Content-Length may say
_SOCKET_PATH = 107  # sockaddr_un.sun_path holds 108 bytes with its NUL

_match_seconds = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)\s*(ms|s|m|h|)").fullmatch
_match_size = re.compile(r"([0-9]{1,19})\s*([kmg]?)", re.IGNORECASE).fullmatch
_match_integer = re.compile(r"[+-]?[0-9]{1,19}").fullmatch
_match_host = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9.])?").fullmatch
_match_application = re.compile(
    r"wsgi:[A-Za-z_]\w*(?:\.\w+)*:[A-Za-z_]\w*(?:\.\w+)*(?:\(\))?", re.A
).fullmatch
_match_url = re.compile(r"(https?)://([^/?#@]*)(.*)", re.IGNORECASE | re.DOTALL).fullmatch


def checks(directory: str) -> dict[str, Callable[..., object]]:
    """Return the check of each type name; relative paths are taken from ``directory``."""

    def check_path(value: Raw) -> str | None:
        path = check_text(value)
        return os.path.normpath(os.path.join(directory, path)) if path else None

    def check_output(value: Raw) -> str | None:
        return "-" if check_text(value) == "-" else check_path(value)

    def check_directories(value: Raw) -> tuple[str, ...]:
        return tuple(os.path.normpath(os.path.join(directory, item)) for item in split_items(value))

    return {
        "boolean": check_boolean,
        "integer": check_integer,
        "seconds": check_seconds,
        "size": check_size,
        "text": check_text,
        "octal": check_octal,
        "choice": check_choice,
        "names": lambda value: tuple(split_items(value)),
        "bind_list": check_binds,
        "url_list": check_urls,
        "peer_list": check_peers,
        "path": check_path,
        "output": check_output,
        "directory_list": check_directories,
        "certificate_fields": check_certificate_fields,
        "server_name_list": lambda value: parse_each(_server_name, split_items(value)),
    }


def check_text(value: Raw) -> str:
    """Return one text; one with a comma must have stood in quotes."""
    if not isinstance(value, str):
        raise ValueError(f"takes one value, not {len(value)}; put a value that has a comma in quotes")
    return value.strip()


def check_boolean(value: Raw) -> bool:
    """Read yes/no, true/false, on/off or 1/0, in any case."""
    text = check_text(value)
    if text.lower() not in _YES + _NO:
        raise ValueError(f"{text!r} is neither yes nor no")
    return text.lower() in _YES


def check_integer(value: Raw, min: str, max: str) -> int:
    """Read a whole number from ``min`` to ``max``."""
    text = check_text(value)
    if _match_integer(text) is None:
        raise ValueError(f"{text!r} is not a whole number from {min} to {max}")
    if not int(min) <= int(text) <= int(max):
        raise ValueError(f"{text} is not from {min} to {max}")
    return int(text)


def check_octal(value: Raw) -> str:
    """Read permission bits in octal, ``022`` or ``0o22``; returns the digits, or ``""`` for no value."""
    text = check_text(value)
    if text and (re.fullmatch(r"(0o)?[0-7]{1,4}", text) is None or int(text, 8) > 0o777):
        raise ValueError(f"{text!r} is not an octal number from 0 to 777")
    return text and f"{int(text, 8):03o}"


def check_choice(value: Raw, *choices: str) -> str:
    """Read one of ``choices``, in any case."""
    text = check_text(value)
    for choice in choices:
        if text.lower() == choice.lower():
            return choice
    raise ValueError(f"{text!r} is not one of {', '.join(choices)}")


def parse_seconds(text: str) -> float:
    """Read a time, ``30``, ``0.5``, ``500ms``, ``2m`` or ``1h``, as seconds, to the microsecond."""
    match = _match_seconds(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a time; write seconds (30 or 0.5) or 500ms, 2m, 1h")
    seconds = round(float(match[1]) * _SECONDS_IN[match[2]], 6)
    if seconds > _LONGEST:
        raise ValueError(f"{text!r} is more than a year")
    return seconds


def check_seconds(value: Raw, min: str = "0", max: str = "") -> float:
    """Read a time of at least ``min`` and at most ``max``."""
    text = check_text(value)
    seconds = parse_seconds(text)
    if seconds < parse_seconds(min):
        raise ValueError(f"{text!r} is less than {min}")
    if max and seconds > parse_seconds(max):
        raise ValueError(f"{text!r} is more than {max}")
    return seconds


def parse_size(text: str) -> int:
    """Read a number of bytes; ``64k``, ``1m`` and ``1g`` count in 1024s."""
    match = _match_size(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size; write bytes (65536) or 64k, 1m, 1g")
    size = int(match[1]) * _BYTES_IN[match[2].lower()]
    if size > _LARGEST:
        raise ValueError(f"{text!r} is more than {_LARGEST} bytes")
    return size


def check_size(value: Raw, min: str = "0", max: str = str(_LARGEST)) -> int:
    """Read a size from ``min`` to ``max``."""
    text = check_text(value)
    size = parse_size(text)
    if not parse_size(min) <= size <= parse_size(max):
        bounds = f"less than {min}" if size < parse_size(min) else f"more than {max}"
        raise ValueError(f"{text!r} is {bounds}")
    return size


def check_binds(value: Raw, none: str = "no") -> tuple[str, ...]:
    """Read addresses to listen on; at least one unless there may be ``none``, and none of them twice."""
    binds = parse_each(parse_bind, split_items(value))
    if not binds and none != "yes":
        raise ValueError("names no address; write one such as localhost:8080")
    for bind in binds:
        if binds.count(bind) > 1 and not bind.endswith(":0"):
            raise ValueError(f"{bind!r} stands twice")
    return binds


def parse_bind(text: str) -> str:
    """Check one address to listen on: ``host:port``, ``[::1]:port``, ``:port``, ``unix:/path``, ``fd://3``."""
    if text.startswith("unix:"):
        return "unix:" + _socket_path(text, text.removeprefix("unix:"))
    if text.startswith("fd://"):
        if not re.fullmatch(r"[0-9]{1,6}", text.removeprefix("fd://")):
            raise ValueError(f"{text!r} needs the number of an open descriptor, as in fd://3")
        return text
    if "://" in text:
        raise ValueError(f"{text!r} is a URL; write host:port without a scheme")
    host, colon, port = text.rpartition(":")
    if not colon or "]" in port:
        raise ValueError(f"{text!r} has no port; write {text}:8080")
    return f"{_host(text, host) if host else ''}:{_port(text, port, 0)}"


def check_urls(value: Raw) -> tuple[str, ...]:
    """Read upstream servers; at least one."""
    urls = parse_each(parse_url, split_items(value))
    if not urls:
        raise ValueError("names no server; write one such as http://localhost:80")
    return urls


def parse_url(text: str) -> str:
    """Check one upstream server: ``http://host[:port]``, ``https://...``, ``unix:/path``, ``wsgi:...`` or
    ``demo``.
    """
    if text == "demo":
        return text
    if text.startswith("wsgi:"):
        if not _match_application(text):
            raise ValueError(f"{text!r} is not wsgi:package.module:app")
        return text
    if text.startswith("unix:"):
        return "unix:" + _socket_path(text, text.removeprefix("unix:"))
    match = _match_url(text)
    if match is None:
        hint = "" if "://" in text or "/" in text else f"; did you mean http://{text}?"
        kinds = "http://host:port, https://host:port, unix:/path, wsgi:module:app or demo"
        raise ValueError(f"{text!r} is not {kinds}{hint}")
    if match[3].startswith("@"):
        raise ValueError("a server's URL cannot hold a user name and password")
    if match[3] not in ("", "/"):
        raise ValueError(f"{text!r} has a path or query; write only http://host:port")
    return f"{match[1].lower()}://{_authority(text, match[2])}"


def check_peers(value: Raw) -> Peers:
    """Read networks, and ``unix`` for the peers of a unix socket, which have no address."""
    return parse_each(_peer, split_items(value))


def check_certificate_fields(value: Raw) -> tuple[str, ...]:
    """Read ``Name: value`` items, each of which tells something of a client's certificate."""
    fields = parse_each(_certificate_field, split_items(value))
    names = [field.partition(":")[0].lower() for field in fields]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise ValueError(f"{', '.join(twice)} stands twice")
    return fields


def _certificate_field(text: str) -> str:
    CertificateFields([text])
    name, _, value = text.partition(":")
    return f"{name.strip()}: {value.strip()}"


def _server_name(text: str) -> str:
    name = text.lower().removesuffix(".")
    if _match_host(name.removeprefix("*.")) is None or re.fullmatch(r"[0-9.]+", name):
        raise ValueError(f"{text!r} is no server name; write one such as a.example or *.a.example")
    return name


def _authority(text: str, authority: str) -> str:
    host, colon, port = authority.rpartition(":")
    if not colon or "]" in port:
        return _host(text, authority)
    return f"{_host(text, host)}:{_port(text, port, 1)}"


def _host(text: str, host: str) -> str:
    """Check ``host``; a name that can only be meant as an address must be one."""
    if host.startswith("[") and host.endswith("]"):
        return f"[{_address(text, host[1:-1], IPv6Address)}]"
    if ":" in host:
        raise ValueError(f"{text!r} must have its IPv6 address in brackets, as in [::1]:8080")
    if re.fullmatch(r"[0-9.]+", host):
        return _address(text, host, ip_address)
    if _match_host(host) is None:
        raise ValueError(f"{text!r} has no valid host name")
    return host.lower()


def _address(text: str, address: str, parse: Callable[[str], object]) -> str:
    try:
        return str(parse(address))
    except ValueError:
        raise ValueError(f"{text!r} has no valid IP address") from None


def _port(text: str, port: str, lowest: int) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", port) or not lowest <= int(port) <= 65535:
        raise ValueError(f"{text!r} needs a port from {lowest} to 65535")
    return int(port)


def _socket_path(text: str, path: str) -> str:
    if not path.startswith("/") or path.endswith("/"):
        raise ValueError(f"{text!r} needs the absolute path of a socket, as in unix:/run/pyrox.sock")
    if len(os.fsencode(path)) > _SOCKET_PATH:
        raise ValueError(f"{text!r} is longer than the {_SOCKET_PATH} bytes of a socket's path")
    return os.path.normpath(path)


def _peer(text: str) -> IPv4Network | IPv6Network | str:
    if text == "unix":
        return text
    if text.startswith("unix:"):
        raise ValueError(f"{text!r} has a path; write unix, which stands for the peers of every unix socket")
    try:
        return ip_network(text)
    except ValueError:
        pass
    try:
        meant = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is not a network such as 10.0.0.0/8 or 2001:db8::/32, or unix") from None
    raise ValueError(f"{text!r} has bits set after its prefix; did you mean {meant}?")


def parse_each(parse: Callable[[str], T], items: list[str]) -> tuple[T, ...]:
    """Parse every item; the ``ValueError`` names all that are wrong."""
    parsed: list[T] = []
    problems: list[str] = []
    for item in items:
        try:
            parsed.append(parse(item))
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError("; ".join(problems))
    return tuple(parsed)


def split_items(value: Raw) -> list[str]:
    """Return the items of a list; one that came whole out of an environment variable is split too."""
    lines = [value] if isinstance(value, str) else value
    return [item.strip() for line in lines for item in line.split(",") if item.strip()]
