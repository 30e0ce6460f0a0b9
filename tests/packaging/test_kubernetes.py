"""The manifests: valid to the letter, of one mind with each other, and enough for Pyrox to run."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pyrox import __version__
from pyrox.config import load_settings
from pyrox.settings import Settings
from tests.packaging.machine import IDLE, running_machine

FOLDER = Path(__file__).resolve().parents[2] / "deploy/kubernetes"
RESOURCES = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]
MANIFESTS = {name: yaml.safe_load((FOLDER / name).read_text()) for name in RESOURCES}
POD = MANIFESTS["deployment.yaml"]["spec"]["template"]
[CONTAINER] = POD["spec"]["containers"]
CONFIG = MANIFESTS["configmap.yaml"]["data"]["pyrox.conf"]

ASK = """
import sys, urllib.request
print(urllib.request.urlopen("http://127.0.0.1:8080" + sys.argv[1], timeout=5).status)
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "pyrox.conf").write_text(CONFIG)
    return load_settings(str(tmp_path / "pyrox.conf"))


def find(name: str, manifest: Any) -> Iterator[Any]:
    """Every value of the key ``name``, however deep."""
    if isinstance(manifest, dict):
        yield from (value for key, value in manifest.items() if key == name)
        manifest = list(manifest.values())
    if isinstance(manifest, list):
        for item in manifest:
            yield from find(name, item)


@pytest.mark.parametrize("version", ["1.25", "1.31", "1.37"])
def test_manifests_are_valid_and_have_no_unknown_field(version: str) -> None:
    if importlib.util.find_spec("kubernetes_validate") is None:
        pytest.skip("needs kubernetes-validate: pip install -e .[packaging]")
    command = [sys.executable, "-m", "kubernetes_validate", "--strict", "--kubernetes-version", version]
    paths = [FOLDER / name for name in RESOURCES]
    done = subprocess.run([*command, *paths], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (done.stdout + done.stderr).count(" passed ") == len(paths)


def test_every_manifest_is_applied() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {*RESOURCES, "kustomization.yaml"}


def test_selectors_find_the_pods() -> None:
    labels = POD["metadata"]["labels"]
    selectors = [
        MANIFESTS["service.yaml"]["spec"]["selector"],
        *(found for manifest in MANIFESTS.values() for found in find("matchLabels", manifest)),
    ]
    assert selectors == [labels] * 4


def test_time_to_end_covers_what_ending_takes(settings: Settings) -> None:
    command, seconds = CONTAINER["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep"
    needed = int(seconds) + settings.core.drain_delay + settings.core.graceful_timeout
    assert POD["spec"]["terminationGracePeriodSeconds"] >= needed + 5


def test_probes_ask_the_proxy_where_it_answers(settings: Settings) -> None:
    probes = [CONTAINER[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")]
    assert probes == [{"path": "/-/healthy", "port": "http"}] * 3
    [port] = CONTAINER["ports"]
    assert (port["name"], settings.core.bind_host) == ("http", (f":{port['containerPort']}",))
    assert settings.middleware.stack[0] == "health"
    [entry] = MANIFESTS["service.yaml"]["spec"]["ports"]
    assert entry["targetPort"] == port["name"]


def test_configuration_is_mounted_where_the_image_reads_it() -> None:
    volumes = {volume["name"]: volume for volume in POD["spec"]["volumes"]}
    mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in CONTAINER["volumeMounts"]}
    assert mounts["/etc/pyrox"]["configMap"]["name"] == MANIFESTS["configmap.yaml"]["metadata"]["name"]
    assert "emptyDir" in mounts["/tmp"]


def test_image_is_of_this_version() -> None:
    assert CONTAINER["image"] == f"pyrox:{__version__}"


@pytest.mark.timeout(600)
def test_pod_serves_with_no_more_than_it_is_allowed(debian_root: Path, tmp_path: Path) -> None:
    context = CONTAINER["securityContext"]
    assert (context["readOnlyRootFilesystem"], context["capabilities"]) == (True, {"drop": ["ALL"]})
    user = str(POD["spec"]["securityContext"]["runAsUser"])
    with running_machine(debian_root, tmp_path, IDLE) as machine:
        machine.run("dpkg", "--install", "/opt/pyrox.deb")
        machine.run("sh", "-c", f"cat >/etc/pyrox/pyrox.conf <<'END'\n{CONFIG}\nEND")
        machine.run("mount", "-o", "remount,ro", "/")
        machine.run("mount", "-t", "tmpfs", "-o", "mode=1777,size=16m", "tmpfs", "/tmp")
        allowed = [
            "--reuid",
            user,
            "--regid",
            user,
            "--clear-groups",
            "--no-new-privs",
            "--bounding-set=-all",
        ]
        machine.run("setpriv", *allowed, "pyrox", "--daemon")
        for path in ("/-/healthy", "/headers"):
            assert machine.run("python3.11", "-c", ASK, path).strip() == "200"
