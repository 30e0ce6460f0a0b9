"""Every configuration sample of the documentation of 0.4.5: its value here, and its effect in the proxy."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyrox.server.config import load_pyrox_config
from tests.compat.kit import FILTERS, HERE, PLAIN, Options, scene
from tests.integration.conftest import Certificates
from tests.integration.kit import get, start_tls, tls_client
from tests.support.origin import Origin, serve
from tests.support.proxy import ROOT, running_proxy
from tests.support.wire import Client

Sample = tuple[str, str]  # section, line

# What the scan did to lines of configuration: an underscore, a digit and an equals sign got lost.
_DAMAGE = {
    "filter 2 =": "filter_2 =",
    "filter 3 =": "filter_3 =",
    "= filter_ 3": "= filter_3",
    "Filterl": "Filter1",
    "plugin_paths /opt": "plugin_paths = /opt",
}
# The documentation's placeholder is no URL.
_HOSTS = "http://host:8000, https://host:8443"

# The value that each of them documents, under its property.
DOCUMENTED: dict[Sample, tuple[str, object]] = {
    ("core", "bind_host = localhost:8080"): ("bind_host", "localhost:8080"),
    ("core", "enable_profiling = True"): ("enable_profiling", True),
    ("core", "plugin_paths = /usr/share/project/python"): ("plugin_paths", ["/usr/share/project/python"]),
    ("core", "plugin_paths = /usr/share/project/python, /usr/share/other/python"): (
        "plugin_paths",
        ["/usr/share/project/python", "/usr/share/other/python"],
    ),
    ("core", "plugin_paths = /opt/pyrox/stock, /opt/pyrox/contrib"): (
        "plugin_paths",
        ["/opt/pyrox/stock", "/opt/pyrox/contrib"],
    ),
    ("core", "processes = 75"): ("processes", 75),
    ("logging", "console = True"): ("console", True),
    ("logging", "logfile = /var/log/pyrox/pyrox.log"): ("logfile", "/var/log/pyrox/pyrox.log"),
    ("logging", "verbosity = DEBUG"): ("verbosity", "DEBUG"),
    ("pipeline", "upstream = filter_1, filter_2"): ("upstream", ["filter_1", "filter_2"]),
    ("pipeline", "downstream = filter_3"): ("downstream", ["filter_3"]),
    ("pipeline", "use_singletons = True"): ("use_singletons", True),
    ("routing", f"upstream_hosts = {_HOSTS}"): (
        "upstream_hosts",
        ["http://host:8000", "https://host:8443"],
    ),
    ("ssl", "cert_file = /etc/pyrox/ssl/server.cert"): ("cert_file", "/etc/pyrox/ssl/server.cert"),
    ("ssl", "key_file = /etc/pyrox/ssl/server.key"): ("key_file", "/etc/pyrox/ssl/server.key"),
    ("templates", "pyrox_error_sc = 502"): ("pyrox_error_sc", 502),
    ("templates", "rejection_sc = 400"): ("rejection_sc", 400),
}
ALIASES: dict[Sample, str] = {
    ("pipeline", "filter_1 = myfilters.upstream.Filter1"): "myfilters.upstream.Filter1",
    ("pipeline", "filter_2 = myfilters.upstream.Filter2"): "myfilters.upstream.Filter2",
    ("pipeline", "filter_3 = myfilters.downstream.Filter3"): "myfilters.downstream.Filter3",
}
# What a line needs beside it.
_NEEDS = {
    ("pipeline", "upstream = filter_1, filter_2"): [*ALIASES],
    ("pipeline", "downstream = filter_3"): [*ALIASES],
    ("ssl", "cert_file = /etc/pyrox/ssl/server.cert"): [("ssl", "key_file = /etc/pyrox/ssl/server.key")],
    ("ssl", "key_file = /etc/pyrox/ssl/server.key"): [("ssl", "cert_file = /etc/pyrox/ssl/server.cert")],
}


def printed_samples() -> Iterator[Sample]:
    text = (HERE / "documentation/configuration.txt").read_text(encoding="utf-8")
    for damaged, mended in _DAMAGE.items():
        assert damaged in text
        text = text.replace(damaged, mended)
    section = ""
    for line in text.splitlines():
        line = line.strip().removeprefix(":: ")
        if found := re.match(r"class pyrox\.server\.config\.(\w+)Configuration", line):
            section = found[1].lower()
        elif line.startswith("["):
            assert line == f"[{section}]"
        elif re.match(r"\w+ = ", line):
            yield section, line.replace("http://host:port, https://host:port", _HOSTS)


def as_file(*lines: Sample) -> str:
    sections = dict.fromkeys(section for section, _ in lines)
    return "\n".join(
        line
        for name in sections
        for line in (f"[{name}]", *(text for section, text in lines if section == name))
    )


def test_every_printed_sample_is_tried_here() -> None:
    assert {*printed_samples()} == {*DOCUMENTED, *ALIASES}


@pytest.mark.parametrize("sample", DOCUMENTED, ids=lambda sample: sample[1])
def test_sample_has_the_documented_value(sample: Sample, tmp_path: Path) -> None:
    path = tmp_path / "pyrox.conf"
    path.write_text(as_file(sample, *_NEEDS.get(sample, ())))
    name, value = DOCUMENTED[sample]
    assert getattr(getattr(load_pyrox_config(str(path)), sample[0]), name) == value


def test_all_samples_in_one_file_have_their_values(tmp_path: Path) -> None:
    unique = {line.partition(" = ")[0]: (section, line) for section, line in printed_samples()}
    path = tmp_path / "pyrox.conf"
    path.write_text(as_file(*unique.values()))
    config = load_pyrox_config(str(path))
    for section, line in unique.values():
        name, value = DOCUMENTED.get((section, line), (line.partition(" = ")[0], None))
        found = getattr(config, section)
        assert (found.get(name) if value is None else getattr(found, name)) == (
            ALIASES[section, line] if value is None else value
        )


# --- and in the proxy, with what is said of other machines moved to this one ---


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, so no certificate can be made")
    return Certificates(tmp_path_factory.mktemp("certificates"))


def moved(text: str, folder: Path) -> str:
    """Move every path of the samples into ``folder``."""
    return re.sub(r"(?<== |, )/(?=usr/|opt/|var/|etc/)", f"{folder}/", text)


def install_filters(folder: Path) -> None:
    shutil.copytree(FILTERS / "myfilters", folder / "myfilters")


def pipeline(*lines: str) -> str:
    return "\n".join([as_file(*ALIASES), *lines])


def test_all_samples_work_together(tmp_path: Path, certificates: Certificates) -> None:
    unique = {line.partition(" = ")[0]: (section, line) for section, line in printed_samples()}
    (tmp_path / "etc/pyrox/ssl").mkdir(parents=True)
    shutil.copy(certificates.cert_file, tmp_path / "etc/pyrox/ssl/server.cert")
    shutil.copy(certificates.key_file, tmp_path / "etc/pyrox/ssl/server.key")
    (tmp_path / "var/log/pyrox").mkdir(parents=True)
    (tmp_path / "opt/pyrox/stock").mkdir(parents=True)
    install_filters(tmp_path / "opt/pyrox/contrib")
    secure = start_tls(certificates.server())
    with Origin(serve(PLAIN)) as one, Origin([secure, *serve(PLAIN)]) as other:
        hosts = f"{one.url}, https://{other.address}"
        text = moved(as_file(*unique.values()), tmp_path).replace(_HOSTS, hosts)
        text = text.replace("[core]\n", f"[core]\nprofile_dir = {tmp_path}\n")
        text += f"\n[upstream]\nca_file = {certificates.ca_file}\n"
        with running_proxy(text, workers=75) as proxy:
            with tls_client(proxy.address, certificates.client()) as client:
                for target in ("/a", "/b", "/c"):
                    answer = client.ask(get(target))
                    assert (answer.status, answer.body) == (200, b"plain")
                    assert answer.get_all("x-passed") == [b"filter_3, which saw 0 request heads"]
                assert client.ask(get("/rejected")).status == 400
                assert sorted(len(origin.requests) for origin in (one, other)) == [1, 2]
                for origin in (one, other):
                    assert origin.requests[0].get_all("x-passed") == [b"filter_1", b"filter_2"]
                    origin.close()
                assert client.ask(get("/d")).status == 502
                assert len(proxy.worker_pids(1)) == 1  # "If enabled, the number of processess [...]"
    logfile = (tmp_path / "var/log/pyrox/pyrox.log").read_text()
    for log in (logfile, proxy.error_log()):  # console, too
        assert "DEBUG filter_2 sees /a" in log
        assert "Connection refused" in log
    assert [*tmp_path.glob("*.pstats")] != []


@pytest.mark.parametrize("sample", [sample for sample in DOCUMENTED if "plugin_paths" in sample[1]])
def test_filters_are_found_in_each_of_the_directories(sample: Sample, tmp_path: Path) -> None:
    core = moved(as_file(sample), tmp_path)
    directories = core.partition(" = ")[2].split(", ")
    for directory in directories:
        Path(directory).mkdir(parents=True)
    install_filters(Path(directories[-1]))
    text = f"{core}\n{pipeline('upstream = filter_1, filter_2')}\n[routing]\nupstream_hosts = "
    with Origin(serve(PLAIN)) as origin:
        with running_proxy(text + origin.url) as proxy:
            with Client(proxy.address) as client:
                assert client.ask(get("/a")).body == b"plain"
                assert client.ask(get("/rejected")).status == 400
                assert client.ask(get("/b")).body == b"plain"
        assert origin.requests[0].get_all("x-passed") == [b"filter_1", b"filter_2"]
    assert "filter_2 sees" not in proxy.error_log()  # verbosity is WARNING


@pytest.mark.parametrize(("use_singletons", "count"), [(True, b"1"), (False, b"0")])
def test_singletons_keep_their_state_from_request_to_response(use_singletons: bool, count: bytes) -> None:
    aliases = {"filter_3": "myfilters.downstream.Filter3"}
    options: Options = {"use_singletons": use_singletons}
    with scene("filter_3", "filter_3", aliases, pipeline=options) as stage:
        for _ in range(3):  # and no longer
            seen = stage.ask(get("/a")).get("x-passed")
            assert seen == b"filter_3, which saw %b request heads" % count
        stage.ask_plain()


def test_statuses_of_templates_are_those_that_are_sent() -> None:
    aliases = {"filter_2": "myfilters.upstream.Filter2"}
    templates: Options = {"pyrox_error_sc": 503, "rejection_sc": 403}
    with scene("filter_2", "", aliases, templates=templates) as stage:
        assert stage.ask(get("/rejected")).status == 403
        assert stage.sent_down == b"HTTP/1.1 403 Forbidden\r\nDate: now\r\nContent-Length: 0\r\n\r\n"
        stage.ask_plain()
        stage.origin.close()
        assert stage.ask(get("/a")).status == 503


@pytest.mark.parametrize("line", ["bind_host = localhost:8080", "processes = 75"])
def test_sample_is_what_the_command_would_start_with(line: str, tmp_path: Path) -> None:
    (tmp_path / "pyrox.conf").write_text(as_file(("core", line)))
    command = [sys.executable, "-m", "pyrox", "-c", str(tmp_path / "pyrox.conf"), "--print-config"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    assert f"\n{line}\n" in said.stdout
