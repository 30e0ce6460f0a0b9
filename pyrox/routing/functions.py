"""The functions of rules: how many arguments each takes, and the one form in which these are compared.

An argument that could never match anything is a mistake, and found here, not by users.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_network

from pyrox.routing.paths import as_matched, has_escape_left
from pyrox.routing.regex import compile_regex

MANY = 1000

_is_label = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?").fullmatch
_is_token = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch


@dataclass(frozen=True, slots=True)
class Function:
    """``checks`` bring the first argument, the second ... to their form; the last serves all that follow."""

    checks: tuple[Callable[[str], str], ...]
    fewest: int
    most: int
    takes: str


def host_argument(text: str) -> str:
    """A host name, one whose first label is ``*``, or an address; without a port."""
    host = text.lower().removesuffix(".")
    if host.startswith("[") and host.endswith("]"):
        return host
    if not host.isascii():
        raise ValueError(f"{text!r} is not ASCII; write the name as xn--...")
    if ":" in host or "/" in host:
        raise ValueError(f"{text!r} is no host name; leave the port and the scheme out, [brackets] hold IPv6")
    labels = host.removeprefix("*.").split(".")
    if not all(_is_label(label) for label in labels):
        raise ValueError(f"{text!r} is no host name; write one such as a.test or *.a.test")
    return host


def path_argument(text: str) -> str:
    """A path, in the form in which those of requests are compared."""
    if not text.startswith("/"):
        raise ValueError(f"{text!r} is no path; it begins with /")
    if "?" in text or "#" in text:
        raise ValueError(f"{text!r} has more than a path; Query(`name`, `value`) looks at the query")
    if ";" in text:
        raise ValueError(f"{text!r} has a ;, where some servers end a segment; write the path before it")
    path = as_matched(text)
    if "//" in path or "\\" in path or re.search(r"/\.\.?(/|$)", path):
        raise ValueError(f"{text!r} has //, \\ or . or .. for a segment; write the path they come to")
    if has_escape_left(path):
        raise ValueError(f"{text!r} has an escaped / \\ ? # or NUL, which no rule can match")
    return path


def regex_argument(text: str) -> str:
    """A regular expression of RE2."""
    compile_regex(text)
    return text


def method_argument(text: str) -> str:
    """A method, in upper case."""
    if not _is_token(text):
        raise ValueError(f"{text!r} is no method")
    return text.upper()


def header_argument(text: str) -> str:
    """The name of a field, in lower case."""
    if not _is_token(text):
        raise ValueError(f"{text!r} is no name of a header")
    return text.lower()


def name_argument(text: str) -> str:
    """A name that is not empty."""
    if not text:
        raise ValueError("the name is empty")
    return text


def network_argument(text: str) -> str:
    """A network, an address, or ``unix`` for the clients of a unix socket."""
    if text == "unix":
        return text
    try:
        return str(ip_network(text))
    except ValueError:
        raise ValueError(f"{text!r} is not a network such as 10.0.0.0/8 or 2001:db8::1, or unix") from None


def _text(text: str) -> str:
    return text


def _names(check: Callable[[str], str], what: str) -> Function:
    return Function((check,), 1, MANY, f"one or more {what}")


def _pair(check: Callable[[str], str], what: str) -> Function:
    return Function((check, _text), 1, MANY, f"the name of a {what} and, if it matters, its values")


def _regex(*checks: Callable[[str], str], takes: str) -> Function:
    return Function((*checks, regex_argument), len(checks) + 1, len(checks) + 1, takes)


FUNCTIONS = {
    "Host": _names(host_argument, "host names"),
    "HostRegexp": _regex(takes="one regular expression"),
    "Path": _names(path_argument, "paths"),
    "PathPrefix": _names(path_argument, "paths"),
    "PathRegexp": _regex(takes="one regular expression"),
    "Method": _names(method_argument, "methods"),
    "Header": _pair(header_argument, "header"),
    "HeaderRegexp": _regex(header_argument, takes="the name of a header and one regular expression"),
    "Query": _pair(name_argument, "parameter"),
    "QueryRegexp": _regex(name_argument, takes="the name of a parameter and one regular expression"),
    "Cookie": _pair(name_argument, "cookie"),
    "CookieRegexp": _regex(name_argument, takes="the name of a cookie and one regular expression"),
    "ClientIP": _names(network_argument, "networks"),
}

# As written, in lower case -> the function; Traefik 2 and 3 have both spellings of some.
SPELLINGS = {name.lower(): name for name in FUNCTIONS} | {
    name.lower().replace("regexp", "regex"): name for name in FUNCTIONS
}
