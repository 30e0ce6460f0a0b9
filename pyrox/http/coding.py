"""Content codings (RFC 9110 section 8.4): their names, and which of them can be undone here.

gzip and deflate are in the standard library; br and zstd need libraries that only some install. So
each question takes the codings to reckon with, ``known``: ``STANDARD`` unless the caller says otherwise,
``available_codings()`` for all that this installation has. ``decoding`` undoes them, ``encoding`` applies
them, ``recoding`` lets a filter see through them.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from types import ModuleType

from pyrox.http.accept import parse_choices

STANDARD = ("gzip", "deflate")

# "A recipient SHOULD consider "x-gzip" to be equivalent to "gzip"" (RFC 9110 8.4.1.3).
_ALIASES = {"x-gzip": "gzip"}

# Each needs some 300 KiB to be undone and made again. Nobody applies two, and a field line has room for
# a thousand.
_MOST_CODINGS = 3


@cache
def available_codings() -> tuple[str, ...]:
    """Return every coding that can be undone and applied in this installation, the best for a client first.

    ``zstd`` and ``br`` are among them when ``pip install 'pyrox[compression]'`` has brought their libraries.
    """
    zstd = ("zstd",) if zstd_library() is not None else ()
    br = ("br",) if brotli_library() is not None else ()
    return (*zstd, *br, *STANDARD)


@cache
def brotli_library() -> ModuleType | None:
    """Return the library for br; None when it is missing, or too old to bound its output (before 1.2)."""
    try:
        import brotli
    except ImportError:
        return None
    library: ModuleType = brotli
    return library if hasattr(library.Decompressor, "can_accept_more_data") else None


@cache
def zstd_library() -> ModuleType | None:
    """Return the library for zstd, in the standard library from Python 3.14 on; None when it is missing."""
    try:
        from compression import zstd
    except ImportError:
        try:
            from backports import zstd
        except ImportError:
            return None
    library: ModuleType = zstd
    return library


def parse_codings(content_encoding: str, known: Collection[str] = STANDARD) -> tuple[str, ...] | None:
    """Return the codings in the order in which they were applied; None when one of them is not ``known``.

    ``content_encoding`` is the field's value, several lines joined by commas. ``identity`` and empty
    items are left out and ``x-gzip`` is ``gzip``, so ``()`` means that the body is as it is. More than
    three codings count as unknown.
    """
    names = [name.strip().lower() for name in content_encoding.split(",")]
    codings = tuple(_ALIASES.get(name, name) for name in names if name not in ("", "identity"))
    if len(codings) > _MOST_CODINGS or any(coding not in known for coding in codings):
        return None
    return codings


def can_decode(content_encoding: str, known: Collection[str] = STANDARD) -> bool:
    """Tell whether every coding in the field's value is ``known``; ``""`` is a plain body."""
    return parse_codings(content_encoding, known) is not None


def acceptable_codings(accept_encoding: str | None, known: Collection[str] = STANDARD) -> str:
    """Narrow an Accept-Encoding field (RFC 9110 12.5.3) to what is ``known``.

    ``accept_encoding`` is the client's, several lines joined by commas; None when it sent none. What the
    client ranks is still ranked so: ``"br, gzip;q=0.8"`` gives ``"gzip;q=0.8"``, and ``*`` is spelled
    out. When nothing remains the result is ``"identity"``, also for a client that wants only what is
    not known here: the plain body is the one thing left that it may understand.
    """
    acceptable = (*known, "identity")
    weights: dict[str, float] = {}
    for choice in parse_choices(accept_encoding):
        weights.setdefault(_ALIASES.get(choice.name, choice.name), choice.weight)
    # "*" stands for every coding, identity among them, that is not listed itself.
    for name in acceptable if "*" in weights else ():
        weights.setdefault(name, weights["*"])
    listed = {name: weight for name, weight in weights.items() if name in acceptable}
    if not any(listed.values()):
        return "identity"
    # Not listed means not acceptable, but for identity, which has to be excluded by name.
    kept = [(name, weight) for name, weight in listed.items() if name == "identity" or weight]
    return ", ".join(name if weight == 1 else f"{name};q={weight:g}" for name, weight in kept)
