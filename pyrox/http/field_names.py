"""Field names that mean something to a proxy, and the table in which heads look theirs up."""

from __future__ import annotations

from collections.abc import Iterable

# Fields that speak of this connection only; whatever a middleware sets here, the engine decides.
CONNECTION_FIELDS = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer "
    b"transfer-encoding content-length upgrade".split()
)
# Claims about the client that only a trusted peer may make; judged in forwarding.py.
CLAIM_FIELDS = frozenset(
    b"forwarded x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-prefix "
    b"x-forwarded-proto x-forwarded-scheme x-forwarded-server x-forwarded-ssl x-real-ip".split()
)
# A client that could name these in Connection could strip them before the upstream decides on them.
PROTECTED_FIELDS = CLAIM_FIELDS | {b"authorization", b"cookie", b"host", b"max-forwards", b"via"}


def normal_names(names: Iterable[str]) -> frozenset[bytes]:
    """Return names in the form in which those are compared that mean the same to some server.

    CGI, WSGI and PHP read X_User as X-User, so neither may come from a client where the other may not.
    """
    return frozenset(name.lower().replace("_", "-").encode("ascii", "replace") for name in names)


class NameTable(dict[bytes, tuple[bytes, bool]]):
    """Field names as they are spelled, each with its lower-case form and whether it is special.

    Clients and servers use a few dozen spellings over and over: one look-up replaces lower-casing and
    classifying each of them again. Remembers a bounded number, since a client may send any name.
    """

    def __init__(self, special: frozenset[bytes]) -> None:
        super().__init__()
        self._special = special

    def __missing__(self, name: bytes) -> tuple[bytes, bool]:
        lower = name.lower()
        known = lower, lower in self._special or b"_" in lower
        if len(self) < 4096 and len(name) < 64:
            self[name] = known
        return known
