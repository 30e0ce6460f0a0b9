"""The container image, as far as it can be known without a container engine.

The engine's part (layers, USER, STOPSIGNAL) is hadolint's to judge; what the instructions do is done here.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pyrox.config import load_settings
from pyrox.settings import Settings
from tests.support.proxy import running_proxy

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
# One instruction a line, as the engine reads them.
INSTRUCTIONS = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE)).splitlines()
BUILD, FINAL = "\n".join(INSTRUCTIONS).split("\nFROM ")[-2:]


def arguments_of(keyword: str, stage: str) -> list[str]:
    return re.findall(rf"^{keyword}\s+(.*)$", stage, re.MULTILINE)


def settings() -> Settings:
    return load_settings(str(ROOT / "deploy/pyrox.conf"))


def copied_from_context() -> list[str]:
    copies = [text.split() for stage in (BUILD, FINAL) for text in arguments_of("COPY", stage)]
    return [source for words in copies if not words[0].startswith("--from") for source in words[:-1]]


def test_hadolint_finds_nothing() -> None:
    program = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if program is None:
        pytest.skip("needs hadolint: pip install -e .[packaging]")
    done = subprocess.run([program, ROOT / "Dockerfile"], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_context_holds_what_is_copied_and_nothing_else() -> None:
    [first, *rest] = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert first == "*"
    kept = {line[1:] for line in rest if line.startswith("!")}
    assert kept == {source.removeprefix("./") for source in copied_from_context()}
    assert all((ROOT / name).exists() for name in kept)


@pytest.mark.timeout(300)
def test_build_stage_installs_a_proxy_that_starts(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "opt"
    source.mkdir()
    for words in map(str.split, arguments_of("COPY", BUILD)):
        for name in words[:-1]:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, source / name)
    [command] = arguments_of("RUN", BUILD)
    command = command.replace("/opt/pyrox", str(target)).replace("python -m", f"{sys.executable} -m")
    done = subprocess.run(command, shell=True, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    check = [target / "bin/pyrox", "-c", ROOT / "deploy/pyrox.conf", "--check"]
    assert subprocess.run(check, capture_output=True, text=True, cwd="/").returncode == 0
    (tmp_path / "p.ini").write_text("[routes]\n[[a]]\nmatch = PathRegexp(`^/a`)\nrespond = 204\n")
    needs_a_library = [target / "bin/pyrox", "-c", tmp_path / "p.ini", "--check"]
    assert subprocess.run(needs_a_library, capture_output=True, text=True, cwd="/").stderr == ""


def test_healthcheck_tells_a_proxy_that_serves_from_one_that_does_not() -> None:
    [check] = arguments_of("HEALTHCHECK", FINAL)
    program, *arguments = json.loads(check.partition("CMD ")[2])
    assert program == "python"

    def status(port: int) -> int:
        environment = {**os.environ, "PYROX_HEALTH_URL": f"http://127.0.0.1:{port}/-/healthy"}
        command = [sys.executable, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, timeout=30).returncode

    with running_proxy((ROOT / "deploy/pyrox.conf").read_text()) as proxy:
        assert status(proxy.port) == 0
        proxy.terminate()
        assert status(proxy.port) == 1


def test_image_listens_where_it_says_and_asks_itself_there() -> None:
    [port] = arguments_of("EXPOSE", FINAL)
    assert settings().core.bind_host == (f":{port}",)
    assert f"PYROX_HEALTH_URL=http://127.0.0.1:{port}/-/healthy" in DOCKERFILE
    assert settings().middleware.stack[0] == "health"


def test_image_runs_as_the_user_that_the_pods_name() -> None:
    [user] = arguments_of("USER", FINAL)
    pod = yaml.safe_load((ROOT / "deploy/kubernetes/deployment.yaml").read_text())["spec"]["template"]["spec"]
    context = pod["securityContext"]
    assert user == f"{context['runAsUser']}:{context['runAsGroup']}"


def test_final_stage_installs_nothing() -> None:
    assert [text for text in arguments_of("RUN", FINAL) if "pip" in text or "apt" in text] == []
    assert arguments_of("ENTRYPOINT", FINAL) == ['["pyrox"]']
    assert arguments_of("STOPSIGNAL", FINAL) == ["SIGTERM"]
