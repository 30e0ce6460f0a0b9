"""Where a redirect leads and what a path is rewritten to: templates, checked when they are made."""

from __future__ import annotations

import re
from urllib.parse import quote

from pyrox.config_report import did_you_mean
from pyrox.errors import ClientError
from pyrox.routing.paths import after_prefix, as_matched, leads_up
from pyrox.routing.regex import compile_regex

PLACEHOLDERS = ("scheme", "host", "path", "query", "target")

_placeholder = re.compile(r"\{([^{}]*)\}")
_group = re.compile(r"\$(\$|[0-9]+)?")
_IN_PATH = "/%:@!$&'()*+,;=-._~"  # RFC 3986 3.3: pchar and the slash


class RedirectTemplate:
    """A Location with ``{scheme}``, ``{host}``, ``{path}``, ``{query}`` or ``{target}`` in it.

    ``{query}`` has its ``?``, and is empty without a query; ``{target}`` is ``{path}{query}``. Raises
    ``ValueError`` for what is no template of a URL.
    """

    def __init__(self, text: str) -> None:
        for name in _placeholder.findall(text):
            if name not in PLACEHOLDERS:
                known = ", ".join(f"{{{known}}}" for known in PLACEHOLDERS)
                hint = did_you_mean(name, PLACEHOLDERS, "{{{}}}") or f"; there are {known}"
                raise ValueError(f"{{{name}}} is no part of a request{hint}")
        rest = _placeholder.sub("", text)
        if "{" in rest or "}" in rest or not re.fullmatch(r"[!-~]*", rest):
            raise ValueError(f"{text!r} has a brace, a blank or a character outside ASCII that no URL has")
        if not re.match(r"https?://|\{scheme\}://|/(?!/)|\{path\}|\{target\}", text):
            raise ValueError(f"{text!r} is no URL; it begins with http://, https://, {{scheme}}:// or /")
        self._text = text
        # Where the client's own path comes first, "//other.test" would lead to another host.
        self._begins_with_path = text.startswith(("{path}", "{target}", "/"))

    def location(self, scheme: str, host: str, target: str) -> str:
        """Return the URL for a request; ``target`` is its path and query."""
        path, mark, query = target.partition("?")
        path = quote(path, safe=_IN_PATH)  # "/\other.test" is "//other.test" to browsers
        values = {"scheme": scheme, "host": host, "path": path, "query": mark + query}
        values["target"] = path + values["query"]
        location = _placeholder.sub(lambda found: values[found[1]], self._text)
        return "/" + location.lstrip("/") if self._begins_with_path else location


class Rewriting:
    """What a route does to the path, in this order: take a prefix off, replace by a pattern, put one on.

    ``strip`` and ``add`` are paths, ``""`` for none; so is ``pattern``, a regular expression, and what it
    finds is replaced by ``replacement``, where ``$1`` is its first group and ``$$`` a dollar. Raises
    ``ValueError`` where they cannot work.
    """

    def __init__(self, strip: str = "", add: str = "", pattern: str = "", replacement: str = "") -> None:
        self._strip = as_matched(strip)
        self._add = add.removesuffix("/")
        self._pattern = compile_regex(pattern) if pattern else None
        self._parts = _parts(replacement, self._pattern.groups if self._pattern else 0)

    def rewrite(self, target: str) -> str:
        """Return the target to ask for instead of ``target``; its query stays.

        Raises ``ClientError`` 400 for a path with ``..`` in it. ``/v1/../v1/a`` is under ``/v1`` in all its
        readings, but with ``/public`` in place of that prefix it would lead out of ``/public``.
        """
        if target == "*":
            return target
        path, mark, query = target.partition("?")
        if leads_up(path):
            raise ClientError("a path with .. in it cannot be rewritten")
        if self._strip:
            rest = after_prefix(path, self._strip)
            if rest is not None:
                path = rest if rest.startswith("/") else f"/{rest}"
        if self._pattern is not None:
            path = self._replaced(path)
        if self._add:
            path = self._add + path
        return path + mark + query

    def _replaced(self, path: str) -> str:
        assert self._pattern is not None
        subject = as_matched(path)
        found = self._pattern.search(subject)
        if found is None:
            return path
        new = "".join(part if isinstance(part, str) else found.group(part) or "" for part in self._parts)
        replaced = quote(subject[: found.start()] + new + subject[found.end() :], safe=_IN_PATH)
        return replaced if replaced.startswith("/") else f"/{replaced}"


def _parts(template: str, groups: int) -> list[str | int]:
    """Take ``a$1b`` apart into texts and numbers of groups."""
    if "?" in template or "#" in template or not re.fullmatch(r"[!-~]*", template):
        raise ValueError(f"{template!r} is no path; it has ? or #, a blank or a character outside ASCII")
    parts: list[str | int] = []
    end = 0
    for found in _group.finditer(template):
        parts.append(template[end : found.start()])
        end = found.end()
        if found[1] is None:
            raise ValueError(f"{template!r} has a $ without the number of a group; $$ is a plain one")
        if found[1] != "$" and int(found[1]) > groups:
            raise ValueError(f"{template!r} names group {found[1]}; the pattern has {groups}")
        parts.append("$" if found[1] == "$" else int(found[1]))
    return [*parts, template[end:]]
