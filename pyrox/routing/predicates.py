"""Rules as closures: each node of the tree becomes one function from a ``Subject`` to a bool."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network

from pyrox.routing.regex import compile_regex
from pyrox.routing.rule import And, Call, Not, Rule
from pyrox.routing.subject import Subject

Predicate = Callable[[Subject], bool]


def compile_rule(rule: Rule) -> Predicate:
    """Return the function that tells whether ``rule`` holds."""
    if isinstance(rule, Call):
        return compile_call(rule)
    if isinstance(rule, Not):
        return _not(compile_rule(rule.item))
    items = [compile_rule(item) for item in rule.items]
    if len(items) == 2:
        return _both(*items) if isinstance(rule, And) else _either(*items)
    return _all(items) if isinstance(rule, And) else _any(items)


def compile_call(call: Call) -> Predicate:
    """Return the function that tells whether one function's call holds."""
    return _MAKERS[call.function](*call.arguments)


def _not(item: Predicate) -> Predicate:
    return lambda subject: not item(subject)


def _both(first: Predicate, second: Predicate) -> Predicate:
    return lambda subject: first(subject) and second(subject)


def _either(first: Predicate, second: Predicate) -> Predicate:
    return lambda subject: first(subject) or second(subject)


def _all(items: list[Predicate]) -> Predicate:
    return lambda subject: all(item(subject) for item in items)


def _any(items: list[Predicate]) -> Predicate:
    return lambda subject: any(item(subject) for item in items)


def _host(*names: str) -> Predicate:
    exact = frozenset(name for name in names if not name.startswith("*."))
    wild = frozenset(name[2:] for name in names if name.startswith("*."))
    if not wild:
        return lambda subject: subject.host in exact
    return lambda subject: subject.host in exact or parent_domain(subject.host) in wild


def parent_domain(host: str) -> str:
    """Return ``host`` without its first label; ``""`` when there is none."""
    first, _, rest = host.partition(".")
    return rest if first else ""


def _path(*paths: str) -> Predicate:
    known = frozenset(paths)
    return lambda subject: subject.path in known


def _path_prefix(*prefixes: str) -> Predicate:
    exact = frozenset(prefixes)
    folders = tuple(prefix if prefix.endswith("/") else f"{prefix}/" for prefix in prefixes)
    return lambda subject: subject.path.startswith(folders) or subject.path in exact


def _path_regexp(pattern: str) -> Predicate:
    search = compile_regex(pattern).search
    return lambda subject: search(subject.path) is not None


def _host_regexp(pattern: str) -> Predicate:
    search = compile_regex(pattern).search
    return lambda subject: search(subject.host) is not None


def _method(*methods: str) -> Predicate:
    known = frozenset(methods)
    return lambda subject: subject.method in known


def _header(name: str, *values: str) -> Predicate:
    key = name.encode()
    if not values:
        return lambda subject: any(field[0] == key for field in subject.request.headers.fields)
    # Text outside latin-1 can stand in a field as UTF-8 only.
    known = {encoded for value in values for encoded in _encodings(value)}
    return lambda subject: any(f[0] == key and f[2] in known for f in subject.request.headers.fields)


def _encodings(value: str) -> set[bytes]:
    return {value.encode(), value.encode("latin-1", "replace")} if value.isascii() else {value.encode()}


def _header_regexp(name: str, pattern: str) -> Predicate:
    search = compile_regex(pattern).search
    return lambda subject: any(search(value) for value in subject.request.headers.get_all(name))


def _in(part: Callable[[Subject], dict[str, list[str]]]) -> Callable[..., Predicate]:
    def make(name: str, *values: str) -> Predicate:
        if not values:
            return lambda subject: name in part(subject)
        return lambda subject: any(value in values for value in part(subject).get(name, ()))

    return make


def _in_regexp(part: Callable[[Subject], dict[str, list[str]]]) -> Callable[..., Predicate]:
    def make(name: str, pattern: str) -> Predicate:
        search = compile_regex(pattern).search
        return lambda subject: any(search(value) for value in part(subject).get(name, ()))

    return make


def _client_ip(*texts: str) -> Predicate:
    unix = "unix" in texts
    networks = [ip_network(text) for text in texts if text != "unix"]

    def holds(subject: Subject) -> bool:
        address = subject.address
        if isinstance(address, str):
            return unix and address == "unix"
        return any(address.version == network.version and address in network for network in networks)

    return holds


_MAKERS: dict[str, Callable[..., Predicate]] = {
    "Host": _host,
    "HostRegexp": _host_regexp,
    "Path": _path,
    "PathPrefix": _path_prefix,
    "PathRegexp": _path_regexp,
    "Method": _method,
    "Header": _header,
    "HeaderRegexp": _header_regexp,
    "Query": _in(lambda subject: subject.query),
    "QueryRegexp": _in_regexp(lambda subject: subject.query),
    "Cookie": _in(lambda subject: subject.cookies),
    "CookieRegexp": _in_regexp(lambda subject: subject.cookies),
    "ClientIP": _client_ip,
}
