"""What the tests of the packages share: the packages, each built once, and a Debian to install on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging.machine import make_root, why_no_machine

ROOT = Path(__file__).resolve().parents[2]
# Made where they are built or run; not part of what is.
_NOT_SOURCES = shutil.ignore_patterns(
    ".git", ".venv", ".*_cache", ".hypothesis", ".benchmarks", "__pycache__", "*.egg-info", "build", "dist"
)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources: what is built leaves traces."""
    folder = tmp_path_factory.mktemp("checkout") / "pyrox"
    shutil.copytree(ROOT, folder, ignore=_NOT_SOURCES)
    return folder


@pytest.fixture(scope="session")
def distributions(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the sdist and the wheel that was built from it, as ``make dist`` builds them."""
    folder = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "build", "--outdir", folder, checkout)
    return folder


@pytest.fixture(scope="session")
def debian_package(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Debian package of this checkout; skips where it cannot be built."""
    missing = [name for name in ("dpkg-deb", "dpkg-shlibdeps", "file") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    python = "/usr/bin/python3"
    if subprocess.run([python, "-c", "import ensurepip, venv"], capture_output=True).returncode:
        pytest.skip(f"{python} cannot make virtual environments; apt-get install python3-venv")
    folder = tmp_path_factory.mktemp("deb")
    printed = _run(checkout / "tools/build-deb", "-o", folder, DEBEMAIL="pyrox@example.org")
    [package] = folder.iterdir()
    assert printed.splitlines()[-1] == str(package)
    return package


@pytest.fixture(scope="session")
def debian_root(debian_package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Debian with what the package depends on, and systemd; skips where there can be none."""
    if reason := why_no_machine():
        pytest.skip(reason)
    fields = _run("dpkg-deb", "--field", debian_package, "Pre-Depends", "Depends", "Recommends")
    wanted = [line.partition(": ")[2] for line in fields.splitlines()]
    names = [item.split("|")[0].split("(")[0].strip() for item in ", ".join(wanted).split(",")]
    folder = tmp_path_factory.mktemp("debian") / "root"
    make_root(folder, [*names, "systemd-sysv"])
    shutil.copy(debian_package, folder / "opt/pyrox.deb")
    yield folder
    shutil.rmtree(folder)


def _run(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout
