"""``negotiate``."""

from __future__ import annotations

from pathlib import Path

from stock import Row


def rows(folder: Path) -> list[Row]:
    return [
        Row("negotiate, two media types", "media_types = application/json, application/xml"),
        Row("negotiate, three languages", "languages = de, fr, en\nlanguage_to = X-Language"),
        Row(
            "negotiate, version by header",
            "versions = 1, 2\nversion_header = API-Version",
            fields="API-Version: 2",
        ),
    ]
