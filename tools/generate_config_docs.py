#!/usr/bin/env python3
"""Write docs/configuration.md from pyrox/configspec.ini; with --check, only say whether it is up to date.

A check of the spec, such as ``size(min="4k", max="16m", default="64k")``, has the syntax of a Python
call, so it is taken apart as one.
"""

from __future__ import annotations

import argparse
import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "configuration.md"

sys.path.insert(0, str(ROOT))

from pyrox.config import Option, read_spec  # noqa: E402

INTRODUCTION = """\
# Configuration

<!-- Written by tools/generate_config_docs.py from pyrox/configspec.ini: change it there. -->

Pyrox reads one file: `pyrox -c FILE`, or `/etc/pyrox/pyrox.conf` without `-c`. A commented example is
[conf/pyrox.ini](../conf/pyrox.ini). Every option has a default, so an empty file is valid.

```ini
[routing]
upstream_hosts = http://10.0.0.1:8000, http://10.0.0.2:8000

[middleware]
stack = request_id, offices_only

[[offices_only]]
class = access_control
allow = 10.0.0.0/8,
```

- `pyrox --check` tells whether a start would work, and opens no port. `pyrox --print-config` prints the
  file, the environment and the command line taken together, as a file.
- A bad file is not used: all of its problems are listed, one a line, and the exit status is 2. A reload
  (`SIGHUP`) with a bad file changes nothing.
- Flags win over the file: `--workers` over `processes`, `--bind` over `bind_host`, `--plugin-paths` over
  `plugin_paths`, `--reload` over `reload`, `--daemon` over `daemon`, `--pid` over `pid_file`, `--user` and
  `--group` over `user` and `group`.

## Values

| type | how it is written |
|---|---|
| yes or no | `yes` `true` `on` `1`, or `no` `false` `off` `0` |
| time | seconds, `30` or `0.5`, or with a unit: `500ms`, `30s`, `2m`, `1h`; at most a year |
| size | bytes, `65536`, or with a unit: `64k`, `1m`, `1g` (1k is 1024) |
| list | items with commas between them; one item needs no comma; empty is no item |
| file, directory | absolute, or relative to the directory of the configuration file |
| network | `10.0.0.0/8`, `2001:db8::/32`, or one address |

A value with a comma or a `#` stands in quotes: `"..."` or `'...'`. What follows a `#` is a comment. A text
over several lines stands in three quotes: `'''...'''`.

Only `alias.option` in `[pipeline]`, and `match`, `redirect`, `replace_path`, `replace_with` and
`respond_body` of routes are read otherwise: their value is the rest of the line as it stands, so that
`f.rules = [{"a": 1}, "b#c"]` needs no care. There, `#` begins a comment only after a blank, and one pair of
quotes around the whole value is not part of it: `" a # b "` keeps its blanks and its `#`.

`${NAME}` in a value stands for the environment variable `NAME`, and `${NAME:-default}` for `default` where
the variable is unset or empty. A variable that is unset and has no default is a problem. `$${` is a plain
`${`. What a variable contains never becomes syntax: no quotes, comments or options. Only where a list is
expected, it may hold several items with commas.
"""

KINDS = {
    "boolean": "yes or no",
    "integer": "whole number",
    "seconds": "time",
    "size": "size",
    "text": "text",
    "octal": "octal number",
    "choice": "one of",
    "names": "list of names",
    "bind_list": "list of addresses",
    "server_name_list": "list of host names",
    "certificate_fields": "list of `Name: value`",
    "url_list": "list of servers",
    "server_list": "list of servers",
    "hash_key": "key",
    "cookie_name": "name",
    "cookie_attribute": "text",
    "peer_list": "list of networks and `unix`",
    "weighted_clusters": "list of clusters",
    "nameserver_list": "list of addresses",
    "percent": "per cent",
    "number": "number",
    "status_list": "list of statuses",
    "health_path": "path",
    "health_host": "host",
    "header_list": "list of `Name: value`",
    "path": "file",
    "output": "file or `-`",
    "directory_list": "list of directories",
}


def describe(check: str) -> tuple[str, str]:
    """Return the type with its range, and the default, of a check of the spec, in words."""
    call = ast.parse(check, mode="eval").body
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise ValueError(f"{check} is not kind(argument, ...)")
    limits = {keyword.arg: _text(keyword.value) for keyword in call.keywords}
    default = limits.pop("default", "")
    words = [KINDS[call.func.id], ", ".join(f"`{_text(argument)}`" for argument in call.args)]
    if "min" in limits and "max" in limits:
        words.append(f"from {limits['min']} to {limits['max']}")
    elif "max" in limits:
        words.append(f"up to {limits['max']}")
    elif "min" in limits:
        words.append(f"from {limits['min']}")
    return " ".join(filter(None, words)), f"`{default}`" if default else "none"


def _text(node: ast.expr) -> str:
    """Return a constant, a bare word, or the items of a ``list(...)``, as they would be written."""
    if isinstance(node, ast.Call):
        return ", ".join(map(_text, node.args))
    text = node.id if isinstance(node, ast.Name) else str(ast.literal_eval(node))
    return "" if text == "None" else text


def render() -> str:
    sections, options = read_spec()
    parts = [INTRODUCTION]
    for section, meaning in sections.items():
        parts.append(
            f"\n## [{section}]\n\n{meaning}\n\n| option | type | default | meaning |\n|---|---|---|---|\n"
        )
        parts += [_row(option) for option in options if option.section == section]
    return "".join(parts)


def _row(option: Option) -> str:
    if option.name == "__many__":
        name, kind, default = (
            ("`[[name]]`", "section", "none") if not option.check else ("`alias`", "text", "none")
        )
    else:
        name = f"`{option.name}`{' of a `[[name]]`' if option.is_inner else ''}"
        kind, default = describe(option.check)
    return f"| {name} | {kind} | {default} | {option.meaning} |\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the page is stale")
    page = render()
    if parser.parse_args().check:
        if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page:
            return 0
        print(f"{PAGE.relative_to(ROOT)} is stale; run tools/generate_config_docs.py", file=sys.stderr)
        return 1
    PAGE.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
