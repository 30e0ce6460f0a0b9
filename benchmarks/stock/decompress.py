"""``decompress``."""

from __future__ import annotations

import gzip
from pathlib import Path

from pyrox.http.message import Response
from stock import Row
from stock.compress import TEXT

_CODED = gzip.compress(TEXT)


def gzip_response() -> Response:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    response = Response(200, _CODED, headers)
    response.made_by = "upstream"
    return response


def rows(folder: Path) -> list[Row]:
    return [
        Row("decompress, nothing to do"),
        Row("decompress, 10 KB of gzip", fields="Accept-Encoding: identity", response=gzip_response),
    ]
