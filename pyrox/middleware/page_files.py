"""The pages of ``error_pages``: read once, checked, filled in for each error.

What is filled in may be a client's word, so it is escaped for the place it is meant for: the text and the
quoted attributes of HTML, the strings of JSON.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyrox.http.accept import MediaType, choose_media, parse_choices
from pyrox.http.error_response import PROBLEM, TEXT, render
from pyrox.http.message import REASONS

_placeholder = re.compile(r"\{(status|reason|detail|request_id)\}")
# What clients may ask for, and the kind of page that they get; the first where all are equal, as for */*.
_OFFERED = {TEXT: "txt", PROBLEM: "json", "application/json": "json", "text/html": "html"}
_KINDS = tuple(_OFFERED.values())
_MEDIA = tuple(map(MediaType, _OFFERED))
_CONTENT_TYPES = {
    "txt": "text/plain; charset=utf-8",
    "json": "application/json",
    "html": "text/html; charset=utf-8",
}
_HTML = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{status} {reason}</title>
<style>
body { font: 1rem/1.5 sans-serif; max-width: 40rem; margin: 15vh auto; padding: 0 1rem }
p:empty { display: none }
</style>
</head>
<body>
<h1>{status} {reason}</h1>
<p>{detail}</p>
<p>{request_id}</p>
</body>
</html>
"""


def _json_escape(text: str) -> str:
    return json.dumps(text)[1:-1]


def _text_escape(text: str) -> str:
    return text


_ESCAPES: Mapping[str, Callable[[str], str]] = {
    "txt": _text_escape,
    "json": _json_escape,
    "html": html.escape,
}


@dataclass(frozen=True, slots=True)
class Pages:
    """What there is for one status: the template of each kind, ``txt``, ``json`` and ``html``."""

    templates: Mapping[str, str]

    def render(self, accept: str | None, status: int, detail: str, request_id: str) -> tuple[str, str]:
        """Return a body that ``accept`` takes, or else text, and its Content-Type."""
        kind = _KINDS[choose_media(parse_choices(accept), _MEDIA) or 0]
        template = self.templates.get(kind)
        if template is None:
            return render(status, detail, PROBLEM if kind == "json" else TEXT)
        values = {
            "status": str(status),
            "reason": REASONS.get(status, "Error"),
            "detail": detail.strip(),
            "request_id": request_id,
        }
        return fill(kind, template, values), _CONTENT_TYPES[kind]


def fill(kind: str, template: str, values: Mapping[str, str]) -> str:
    """Put ``values`` in place of the placeholders, escaped; other braces stay as they are."""
    escape = _ESCAPES[kind]
    return _placeholder.sub(lambda found: escape(values[found[1]]), template)


def read_pages(paths: Sequence[Path], default: Pages | None) -> Pages:
    """Read the files; what kind there is none of is that of ``default``, and without one the built-in one.

    Raises ``ValueError`` for a file that cannot be used.
    """
    templates = dict(default.templates if default else {"html": _HTML})
    found: set[str] = set()
    for path in paths:
        kind = path.suffix.lower().removeprefix(".")
        if kind not in _CONTENT_TYPES:
            raise ValueError(f"pages: {str(path)!r} must end in .html, .json or .txt, to say what it is")
        if kind in found:
            raise ValueError(f"pages: {str(path)!r} is the second .{kind} file for the same status")
        found.add(kind)
        templates[kind] = _read(path, kind)
    return Pages(templates)


def _read(path: Path, kind: str) -> str:
    if not path.is_absolute():
        raise ValueError(f"pages: {str(path)!r} must begin with /")
    try:
        template = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"pages: {str(path)!r} cannot be read: {error}") from None
    if kind == "json":
        values = {"status": "404", "reason": '"', "detail": "\\", "request_id": ""}
        try:
            json.loads(fill(kind, template, values))
        except ValueError as error:
            raise ValueError(f"pages: {str(path)!r} is no JSON when it is filled in: {error}") from None
    return template
