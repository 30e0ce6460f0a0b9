"""``pyrox new middleware NAME``: a middleware to start from, with its test and its page."""

from __future__ import annotations

import argparse
import keyword
import re
import sys
from collections.abc import Sequence
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template

from pyrox.middleware.stack import BUILT_IN

_DESCRIPTION = (
    "Write a middleware to start from: a class, its options, its test and its page, all of which work."
)
_is_name = re.compile(r"[a-z][a-z0-9_]*").fullmatch


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit status: 0, or 2 when nothing was written."""
    arguments = _parser().parse_args(argv)
    try:
        written = write_middleware(arguments.name, arguments.directory)
    except (OSError, ValueError) as error:
        print(f"pyrox new: {error}", file=sys.stderr)
        return 2
    code, test, page = written
    print(f"{code}: the middleware")
    print(f"{test}: its test; run it with: python -m pytest {test}")
    print(f"{page}: its page, with a configuration to begin with")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("pyrox new", description=_DESCRIPTION, allow_abbrev=False)
    parser.add_argument("kind", choices=("middleware",))
    parser.add_argument("name", metavar="NAME", help="of the module and of its section, as in rate_of_change")
    parser.add_argument(
        "-d", "--directory", metavar="DIR", type=Path, default=Path(), help="where to; default: here"
    )
    return parser


def write_middleware(name: str, directory: Path) -> list[Path]:
    """Write the module, its test and its page into ``directory``; returns their paths.

    Raises ``ValueError`` when ``name`` would not do, ``FileExistsError`` when one of the files is there:
    then none is written.
    """
    if fault := _fault_of(name, directory):
        raise ValueError(fault)
    texts = _texts(name)
    paths = [directory / file for file in texts]
    if there := [str(path) for path in paths if path.exists()]:
        raise FileExistsError(f"{', '.join(there)} exists already; nothing was written")
    directory.mkdir(parents=True, exist_ok=True)
    for path, text in zip(paths, texts.values(), strict=True):
        path.write_text(text, encoding="utf-8")
    return paths


def _texts(name: str) -> dict[str, str]:
    """Return the text of each file by its name: the module first, then its test, then its page."""
    words = name.split("_")
    title = "-".join(word.capitalize() for word in words if word)
    test, page = f"test_{name}.py", f"{name}.md"
    values = {
        "name": name,
        "class_name": title.replace("-", ""),
        "title": title,
        "lower_title": title.lower(),
        "test_file": test,
        "page_file": page,
    }
    templates = {f"{name}.py": "middleware.py", test: "test_middleware.py", page: "middleware.md"}
    folder = files("pyrox").joinpath("templates")
    return {
        file: Template(folder.joinpath(f"{template}.txt").read_text(encoding="utf-8")).substitute(values)
        for file, template in templates.items()
    }


def _fault_of(name: str, directory: Path) -> str:
    """Say why ``name`` is none for a module of its own; ``""`` when it is one."""
    if not _is_name(name) or keyword.iskeyword(name):
        return f"{name!r} is no name of a module; write lower-case letters, digits and _, as in my_auth"
    if name in BUILT_IN:
        return f"{name!r} is built in; choose another name, or name it in [middleware] stack"
    if name in ("filters", "pyrox", "upstream"):
        return f"{name!r} means something else in a stack; choose another name"
    # Plugins are looked for after the installed packages, which would win.
    if name in sys.stdlib_module_names or (not (directory / f"{name}.py").exists() and find_spec(name)):
        return f"{name!r} is an installed module, which would be imported instead; choose another name"
    return ""
