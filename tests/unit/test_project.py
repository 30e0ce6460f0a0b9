"""What the project says of itself is true: dependencies, packaging, pages, and the developer's script."""

from __future__ import annotations

import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import packages_distributions
from itertools import groupby
from pathlib import Path

import pytest

from pyrox import Response, __version__
from pyrox.testing import TestClient

ROOT = Path(__file__).resolve().parents[2]
LONGEST_FUNCTION, LONGEST_FILE = 50, 400

setup = configparser.ConfigParser(interpolation=None)
setup.read(ROOT / "setup.cfg")


def names_in(requirements: str) -> set[str]:
    found = (re.match(r"[A-Za-z0-9._-]+", line.strip()) for line in requirements.splitlines())
    return {match[0].lower() for match in found if match}


INSTALLED = names_in(setup["options"]["install_requires"])
EXTRAS = {name: names_in(text) for name, text in setup["options.extras_require"].items()}
# What options and built-in middleware may ask for: the parts of the extra `all`.
OF_ALL = re.findall(r"[a-z_]+", setup["options.extras_require"]["all"].partition("[")[2])
OPTIONAL = {name for extra in OF_ALL for name in EXTRAS[extra]}


def sources(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def modules_imported_by(paths: Iterable[Path]) -> set[str]:
    names: set[str] = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add((node.module or "").partition(".")[0])
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "require":
                names.add(ast.literal_eval(node.args[0]).partition(".")[0])
    return names - sys.stdlib_module_names


def distributions_of(modules: set[str]) -> set[str]:
    known = packages_distributions()
    return {known[module][0].lower() for module in modules if module in known}


def extra_of(path: Path) -> str:
    """The extra that a file of the tests needs: a program that is run only where it is there has its own."""
    return {"fuzz_http.py": "fuzz", "stopped_in_its_close.py": "load"}.get(path.name, "test")


# --- dependencies and packaging ---


def test_pyrox_depends_on_what_it_imports_and_on_nothing_else() -> None:
    needed = distributions_of(modules_imported_by(sources("pyrox"))) - {"pyrox"}
    assert needed == INSTALLED | OPTIONAL


def test_tests_import_only_what_their_extra_installs() -> None:
    for extra, paths in groupby(sorted(sources("tests"), key=extra_of), extra_of):
        needed = distributions_of(modules_imported_by(list(paths))) - {"pyrox"}
        assert needed <= INSTALLED | EXTRAS[extra] | OPTIONAL, extra


@pytest.mark.parametrize("builder", ["Dockerfile", "tools/build-deb"])
def test_what_has_no_pip_of_its_own_brings_what_any_option_may_ask_for(builder: str) -> None:
    text = re.sub(r"\\\n\s+", "", (ROOT / builder).read_text())
    [install] = [line for line in text.splitlines() if re.search(r"-m pip\b.* install ", line)]
    assert "[all]" in install


def test_the_load_test_starts_with_what_its_extra_installs() -> None:
    of_load = re.findall(
        r"[a-z_]+", setup["options.extras_require"]["load"].partition("[")[2].partition("]")[0]
    )
    lacking = OPTIONAL - {name for extra in of_load for name in EXTRAS[extra]}
    modules = [module for module, names in packages_distributions().items() if names[0].lower() in lacking]
    check = f"import sys; sys.modules.update(dict.fromkeys({modules})); import pyrox.cli as cli; cli.main()"
    command = [sys.executable, "-c", check, "-c", "loadtests/pyrox.ini", "--check"]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (checked.stdout, checked.stderr) == ("loadtests/pyrox.ini: configuration OK\n", "")


def test_every_dependency_ends_before_the_next_major_version() -> None:
    requirements = setup["options"]["install_requires"].strip().splitlines()
    assert len(requirements) == len(INSTALLED)
    assert [line for line in requirements if not re.fullmatch(r"[\w-]+ >=[\d.]+,<\d+", line)] == []


@pytest.mark.parametrize("name", ["pip", "test", "dev"])
def test_requirement_files_have_setup_cfg_as_their_source(name: str) -> None:
    extra = "" if name == "pip" else f"[{name}]"
    assert (ROOT / f"tools/{name}-requires").read_text() == f"-e .{extra}\n"
    assert name == "pip" or name in EXTRAS


def test_every_folder_of_modules_is_a_package_that_gets_installed() -> None:
    folders = {path.parent for path in sources("pyrox")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_package_data_exists() -> None:
    files = setup["options.package_data"]["pyrox"].split()
    assert {"configspec.ini", "py.typed"} <= set(files)
    assert all(list((ROOT / "pyrox").glob(name)) for name in files)


def test_version_is_a_literal_that_setup_can_read_and_the_changelog_knows() -> None:
    assert setup["metadata"]["version"] == "attr: pyrox.__version__"
    assert f'\n__version__ = "{__version__}"\n' in (ROOT / "pyrox/__init__.py").read_text()
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest and newest[1] == __version__


# --- size ---


@pytest.mark.parametrize("path", sources("pyrox"), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_and_no_function_is_too_long_to_read(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= LONGEST_FILE
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    lengths = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION} == {}


# --- pages ---

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    targets = [match.partition("#")[0] for match in re.findall(r"\]\(([^)\s]+)\)", text)]
    local = [target for target in targets if target and "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_every_page_is_listed() -> None:
    listed = set(re.findall(r"\]\(([a-z_]+\.md)\)", (ROOT / "docs/index.md").read_text()))
    assert listed == {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}


def test_decisions_are_numbered_and_listed() -> None:
    names = sorted(path.name for path in (ROOT / "docs/decisions").iterdir())
    assert [name[:5] for name in names] == [f"{number:04d}-" for number in range(1, len(names) + 1)]
    listed = re.findall(r"\(decisions/([^)]+)\)", (ROOT / "docs/index.md").read_text())
    assert listed == names


def readme_blocks(language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE
    )


@pytest.fixture
def readme_client(tmp_path: Path) -> Iterator[TestClient]:
    """The README's middleware, from the README's configuration."""
    [code], [config] = readme_blocks("python"), readme_blocks("ini")
    (tmp_path / "my_auth.py").write_text(code)
    (tmp_path / "pyrox.ini").write_text(config)
    path = sys.path.copy()
    yield TestClient.from_config(tmp_path / "pyrox.ini", upstream=Response(200, "hello\n"))
    sys.path[:] = path
    sys.modules.pop("my_auth", None)


def test_readme_middleware_does_what_it_says(readme_client: TestClient) -> None:
    assert readme_client.get("/").status == 401
    assert readme_client.upstream_requests == []
    answer = readme_client.get("/", headers={"X-API-Key": "s3cret"})
    assert (answer.status, answer.text, answer.headers["x-served-by"]) == (200, "hello\n", "pyrox")


def test_readme_commands_are_verbs_of_the_script() -> None:
    [commands] = readme_blocks("sh")
    verbs = re.findall(r"^\./pyrox_dev\.sh (\w+)", commands, re.MULTILINE)
    assert verbs == ["start", "test"]
    usage = subprocess.run([ROOT / "pyrox_dev.sh"], capture_output=True, text=True, timeout=30).stdout
    assert all(f"\n  {verb} " in usage for verb in verbs)


def test_make_help_lists_every_verb() -> None:
    text = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert phony
    assert re.findall(r"^([a-z]+):.*## \S", text, re.MULTILINE) == phony[1].split()


# --- pyrox_dev.sh, with a Python that only says what it was asked ---

# As `-m venv --clear DIR` it puts itself into DIR; as `-m pip` or `-m pytest` it writes a line.
FAKE_PYTHON = """#!/bin/sh
case "$*" in
    "-m venv --clear "*) mkdir -p "$4/bin" && cp "$0" "$4/bin/python"; echo venv >>"$CALLS" ;;
    "-c import sys"*) exit "${TOO_OLD:-0}" ;;
    "-c import ensurepip"*) exit "${NO_VENV:-0}" ;;
    "-m pip --version") ;;
    "-m pip"*) echo "$*" >>"$CALLS"; exit "${PIP_STATUS:-0}" ;;
    *) echo "$*" >>"$CALLS"; exit "${STATUS:-0}" ;;
esac
"""


class Checkout:
    """A copy of what the script reads; ``run`` returns the script's result, ``calls`` empties the list."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("pyrox_dev.sh", "setup.cfg", "setup.py", "pyproject.toml", "tools"):
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, folder / name)
        self.python = folder / "fake-python"
        self.python.write_text(FAKE_PYTHON)
        self.python.chmod(0o755)
        self._calls = folder / "calls"

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        added = {"PYTHON": str(self.python), "CALLS": str(self._calls), **environment}
        script = self.folder / "pyrox_dev.sh"
        return subprocess.run(
            [script, *arguments],
            cwd="/",
            env={**os.environ, **added},
            capture_output=True,
            text=True,
            timeout=30,
        )

    def calls(self) -> list[str]:
        lines = self._calls.read_text().splitlines() if self._calls.exists() else []
        self._calls.unlink(missing_ok=True)
        return [line.replace("--quiet --disable-pip-version-check ", "") for line in lines]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


START, TEST = "-m pyrox -c conf/pyrox.ini", "-m pytest"
INSTALL = "-m pip install -r tools/{}-requires"


def test_start_makes_the_environment_once(checkout: Checkout) -> None:
    assert checkout.run("start").returncode == 0
    assert checkout.calls() == ["venv", INSTALL.format("pip"), START]
    assert checkout.run("start", "--bind", "a b").returncode == 0
    assert checkout.calls() == [f"{START} --bind a b"]


def test_changed_requirements_are_installed(checkout: Checkout) -> None:
    checkout.run("start")
    checkout.calls()
    with (checkout.folder / "setup.cfg").open("a") as file:
        file.write("\n# changed\n")
    checkout.run("start")
    assert checkout.calls() == [INSTALL.format("pip"), START]


def test_larger_environment_serves_the_smaller_verb(checkout: Checkout) -> None:
    checkout.run("start")
    checkout.run("test", "-x")
    assert checkout.calls()[3:] == [INSTALL.format("test"), f"{TEST} -x"]
    checkout.run("start")
    assert checkout.calls() == [START]


def test_moved_checkout_is_installed_anew(
    checkout: Checkout, tmp_path_factory: pytest.TempPathFactory
) -> None:
    checkout.run("test")
    elsewhere = tmp_path_factory.mktemp("moved") / "pyrox"
    checkout.calls()
    shutil.copytree(checkout.folder, elsewhere)
    checkout.folder = elsewhere
    checkout.run("test")
    assert checkout.calls() == [INSTALL.format("test"), TEST]


@pytest.mark.parametrize("verb", ["start", "test"])
def test_exit_status_is_that_of_the_command(checkout: Checkout, verb: str) -> None:
    assert checkout.run(verb, STATUS="5").returncode == 5


def test_failed_installation_stops_and_is_tried_again(checkout: Checkout) -> None:
    assert checkout.run("test", PIP_STATUS="1").returncode == 1
    assert checkout.calls() == ["venv", INSTALL.format("test")]
    checkout.run("test")
    assert checkout.calls() == [INSTALL.format("test"), TEST]


@pytest.mark.parametrize(
    ("fault", "advice"),
    [("TOO_OLD", "Python 3.11 or later is needed"), ("NO_VENV", "apt-get install python3-venv")],
)
def test_unfit_python_is_said_plainly(checkout: Checkout, fault: str, advice: str) -> None:
    run = checkout.run("test", **{fault: "1"})
    assert run.returncode == 1
    assert advice in run.stderr
    assert run.stderr.count("\n") == 1
    assert checkout.calls() == []


def test_unknown_verb_is_a_usage_error(checkout: Checkout) -> None:
    run = checkout.run("begin")
    assert run.returncode == 2
    assert run.stderr.startswith("usage: ")
