"""``headers``."""

from __future__ import annotations

from pathlib import Path

from stock import Row


def rows(folder: Path) -> list[Row]:
    return [
        Row("headers, one set on the response", "response_set = X-Frame-Options: DENY"),
        Row("headers, one removed and two set", "request_remove = X-Debug\nresponse_set = A: b, C: d"),
        Row("headers, one renamed", "request_rename = Cookie: X-Cookie"),
        Row("headers, one placeholder", "request_set = X-Client: {client.address}"),
        Row(
            "headers, three placeholders",
            "request_set = X: {request.scheme}://{request.host}{request.target}",
        ),
    ]
