"""``compress``."""

from __future__ import annotations

from pathlib import Path

from pyrox.http.message import Response
from stock import Row

TEXT = b"".join(
    b'{"id": %d, "name": "item %d", "price": %d}, ' % (n, n * 7, n * 13 % 101) for n in range(225)
)


def long_response() -> Response:
    response = Response(200, TEXT, {"Content-Type": "application/json"})
    response.made_by = "upstream"
    return response


def rows(folder: Path) -> list[Row]:
    return [
        Row("compress, nothing to do"),
        Row("compress, 10 KB with gzip", "codings = gzip,", response=long_response),
        Row("compress, 10 KB with br", "codings = br,", response=long_response),
        Row(
            "compress, 10 KB with zstd",
            "codings = zstd,",
            fields="Accept-Encoding: zstd",
            response=long_response,
        ),
    ]
