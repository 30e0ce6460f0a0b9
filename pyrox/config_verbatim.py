"""Values that are taken as they stand: ``alias.option`` in [pipeline], texts of routes, and rules.

The former are arguments of filters, and of any form: JSON, regular expressions, SQL. The ``ConfigParser`` of
Pyrox 0.4 passed them on untouched, where configobj sees lists, quotes and comments. Rules, patterns and
fixed bodies of routes have commas and quotes of their own. So these values are taken out of the lines
before configobj parses them, and put in afterwards as references are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from pyrox.config_environment import References

_TRIPLE_QUOTES = ("'''", '"""')

# What configobj takes for a section marker, and for ``key = value``.
_MARKER = re.compile(r"\s*\[.*\]\s*(?:#.*)?$")
_OPTION = re.compile(r"""\s*(".*?"|'.*?'|[^'"=].*?)\s*=(.*)""")
_SECTION = re.compile(r"""\s*\[\s*("|'|)(pipeline|routes|middleware)\1\s*\]\s*(?:#.*)?$""")

# Of the [[name]] sections of [routes].
VERBATIM_ROUTE_OPTIONS = frozenset(("match", "redirect", "replace_path", "replace_with", "respond_body"))

RULES = frozenset(("match", "when"))  # of [routes] and of [middleware]

_QUOTED = re.compile(r"""\s*(["'])((?:(?!\1).)*)\1\s*(?:\s#.*)?$""")
_COMMENT = re.compile(r"\s#.*")
_RULE = re.compile(r"""(?:`[^`]*`|'[^']*'|"[^"]*"|(?!\s#).)*+""")


def hide_verbatim(lines: Iterable[str], references: References) -> Iterator[str]:
    """Yield ``lines`` with a placeholder for each value that is taken as it stands.

    The references in ``lines`` are hidden already. A value that begins with three quotes stays: it is read
    as in all other options, and may go over several lines.
    """
    section = ""  # the one of the three that the line is in
    is_inner = False  # ... and in a [[section]] of it
    quotes = ""  # those that end the value that goes over these lines
    for line in lines:
        if quotes:
            quotes = "" if quotes in line else quotes
        elif _MARKER.match(line):
            marker = line.lstrip()
            is_inner = marker.startswith("[[") and not marker.startswith("[[[")
            if not marker.startswith("[["):
                section = found[2] if (found := _SECTION.match(line)) else ""
        elif not line.lstrip().startswith("#") and (option := _OPTION.match(line)):
            key, value = option.groups()
            if value.lstrip().startswith(_TRIPLE_QUOTES):
                quotes = _left_open(value.lstrip())
            elif _is_verbatim(section, is_inner, references.show(key)):
                read = read_rule if _plain(key) in RULES else read_verbatim
                line = line[: option.start(2)] + references.hide_text(read(value))
        yield line


def _is_verbatim(section: str, is_inner: bool, key: str) -> bool:
    if section == "pipeline":
        return not is_inner and "." in key
    if section == "middleware":
        return is_inner and _plain(key) == "when"
    return section == "routes" and is_inner and _plain(key) in VERBATIM_ROUTE_OPTIONS


def _plain(key: str) -> str:
    return key.strip("'\"")


def read_verbatim(written: str) -> str:
    """Return the value in what stands behind the ``=``.

    It is all of that, less blanks around it and less a comment, which ``#`` begins only after a blank. One
    pair of quotes around all of it is not part of it, and a ``#`` between them is.
    """
    quoted = _QUOTED.match(written)
    return quoted[2] if quoted else _COMMENT.sub("", written, count=1).strip()


def read_rule(written: str) -> str:
    """Return a rule: as ``read_verbatim``, but a ``#`` in one of its texts begins no comment."""
    quoted = _QUOTED.match(written)
    if quoted:
        return quoted[2]
    rule = _RULE.match(written)
    return rule[0].strip() if rule else ""


def write_verbatim(value: str, read: Callable[[str], str] = read_verbatim) -> str | None:
    """Return ``value`` so that ``read`` gives it back, or None when it takes three quotes."""
    if "\n" in value:
        return None
    for written in (value or '""', f'"{value}"', f"'{value}'"):
        if not written.startswith(_TRIPLE_QUOTES) and read(f" {written}") == value:
            return written
    return None


def _left_open(value: str) -> str:
    """Return the three quotes that ``value`` begins with, unless its line has their end."""
    return "" if value[:3] in value[3:] else value[:3]
