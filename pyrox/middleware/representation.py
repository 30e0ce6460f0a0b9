"""What a message's fields say of its body, and so are wrong when that becomes another one."""

from __future__ import annotations

import re

from pyrox.http.headers import Headers

# RFC 9110 section 8, RFC 9530 and what came before it. Content-Length is the engine's.
_OF_THE_BYTES = frozenset(
    b"accept-ranges content-md5 content-digest digest repr-digest content-range".split()
)
_OF_THE_CONTENT = _OF_THE_BYTES | frozenset(
    b"content-disposition content-encoding content-language content-location content-type etag "
    b"last-modified".split()
)

# RFC 9111 5.2.1.6 and 5.2.2.6. Not in a quoted string, where it is somebody's text.
_no_transform = re.compile(rb"(?:^|,)[ \t]*no-transform[ \t]*(?:,|$)", re.IGNORECASE).search


def forbids_transformation(headers: Headers) -> bool:
    """Tell whether Cache-Control says no-transform: no proxy may change this body."""
    return any(
        field[0] == b"cache-control" and _no_transform(field[2]) is not None for field in headers.fields
    )


def forget_bytes(headers: Headers) -> None:
    """Remove what is true of the body's very bytes only, when the content stays what it is."""
    headers.fields = [field for field in headers.fields if field[0] not in _OF_THE_BYTES]


def forget_representation(headers: Headers) -> None:
    """Remove all that speaks of a body, when another one takes its place."""
    headers.fields = [field for field in headers.fields if field[0] not in _OF_THE_CONTENT]


def weaken_etag(headers: Headers) -> None:
    """Make the entity tag a weak one (RFC 9110 8.8.1): the content is the same, its bytes are not."""
    headers.fields = [
        (key, name, b"W/" + value) if key == b"etag" and value[:1] == b'"' else (key, name, value)
        for key, name, value in headers.fields
    ]
