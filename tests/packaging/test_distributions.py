"""The wheel and the sdist: complete, the same however they are built, and enough to serve a request."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tarfile
import urllib.request
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module", autouse=True)
def needs_build() -> None:
    if subprocess.run([sys.executable, "-m", "build", "--version"], capture_output=True).returncode:
        pytest.skip("needs build: pip install -e .[packaging]")


def members(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_wheel_holds_every_file_of_the_package_and_no_other(distributions: Path, checkout: Path) -> None:
    [wheel] = distributions.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    found = {name for name in members(wheel) if ".dist-info/" not in name}
    assert found == {
        str(path.relative_to(checkout)) for path in (checkout / "pyrox").rglob("*") if path.is_file()
    }
    assert {"pyrox/configspec.ini", "pyrox/py.typed"} <= found


def test_wheel_from_the_checkout_is_the_wheel_from_the_sdist(
    distributions: Path, checkout: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, checkout]
    subprocess.run(command, check=True, capture_output=True)
    [direct], [from_sdist] = tmp_path.glob("*.whl"), distributions.glob("*.whl")
    assert members(direct) == members(from_sdist)


def test_sdist_holds_the_whole_project(distributions: Path, checkout: Path) -> None:
    [sdist] = distributions.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        found = {name.partition("/")[2] for name in archive.getnames()}
    folders = ("conf", "deploy", "docs", "examples", "packaging", "pyrox", "tests", "tools")
    files = [path for folder in folders for path in (checkout / folder).rglob("*") if path.is_file()]
    wanted = {str(path.relative_to(checkout)) for path in files if "__pycache__" not in path.parts}
    wanted |= {
        "Dockerfile",
        ".dockerignore",
        "Makefile",
        "CHANGELOG.md",
        "LICENSE",
        "pyrox_dev.sh",
        "setup.cfg",
    }
    assert wanted - found == set()


def test_wheel_serves_from_a_bare_environment_without_a_compiler(distributions: Path, tmp_path: Path) -> None:
    [wheel] = distributions.glob("*.whl")
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True, symlinks=True)
    python = environment / "bin/python"
    # No compiler would be found, and a source that needs one is not taken.
    bare = {name: value for name, value in os.environ.items() if name not in ("CC", "CXX", "PYTHONPATH")}
    bare["PATH"] = str(environment / "bin")
    install = [python, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", wheel]
    done = subprocess.run(install, env=bare, capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    where = [python, "-c", "import pyrox; print(pyrox.__file__)"]
    found = subprocess.run(where, env=bare, capture_output=True, text=True, cwd="/").stdout
    assert found.startswith(str(environment))
    check_that_it_serves(environment / "bin/pyrox", bare, tmp_path)
    shutil.rmtree(environment)


def check_that_it_serves(program: Path, environment: dict[str, str], folder: Path) -> None:
    config = folder / "pyrox.conf"
    config.write_text("[routing]\nupstream_hosts = demo\n")
    # A listener that is handed over: who connects before the proxy is up waits for it.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port, descriptor = listener.getsockname()[1], listener.fileno()
        command = [program, "-c", config, "--bind", f"fd://{descriptor}"]
        process = subprocess.Popen(
            command, env=environment, cwd=folder, pass_fds=[descriptor], stdout=subprocess.DEVNULL
        )
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/headers", timeout=30) as answer:
            assert "Via: 1.1 pyrox" in answer.read().decode()
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
