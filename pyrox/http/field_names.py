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


# CGI and what imitates it make variables of fields: X_USER of X-User and X_User, and with some servers of
# X.User as well. So names are compared with a hyphen for all that is no letter and no digit.
_AS_HYPHEN = bytes(code if chr(code).isalnum() and code < 0x80 else ord("-") for code in range(256))


def normal_name(lower: bytes) -> bytes:
    """Return a name, which is in lower case, in the form that all names share that mean it to some server."""
    return lower.translate(_AS_HYPHEN)


def normal_names(names: Iterable[str]) -> frozenset[bytes]:
    """Return ``names``, in whatever case, in the form of ``normal_name``."""
    return frozenset(normal_name(name.lower().encode("ascii", "replace")) for name in names)


class NameTable(dict[bytes, tuple[bytes, bool]]):
    """Field names as they are spelled, each with its lower-case form and whether it is special.

    Clients and servers use a few dozen spellings over and over: one look-up replaces lower-casing and
    classifying each of them again. Remembers a bounded number, since a client may send any name. Special are
    names with an underscore, too, and those that some server takes for a special one.
    """

    def __init__(self, special: frozenset[bytes]) -> None:
        super().__init__()
        self._special = special

    def __missing__(self, name: bytes) -> tuple[bytes, bool]:
        lower = name.lower()
        is_special = lower in self._special or normal_name(lower) in self._special
        known = lower, is_special or b"_" in lower
        if len(self) < 4096 and len(name) < 64:
            self[name] = known
        return known
