"""The Debian package on a Debian of its own: installed, started, reloaded, rotated, stopped, removed, purged.

Each test has a fresh machine, once with systemd as its first process and once with nothing that manages
services, where the init script has to do.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging.machine import IDLE, SYSTEMD, Machine, running_machine

# The first test also makes the package and the Debian.
pytestmark = pytest.mark.timeout(600)

CONFIG, ACCESS_LOG = "etc/pyrox/pyrox.conf", "/var/log/pyrox/access.log"
PURGED = ("etc/pyrox", "etc/default/pyrox", "etc/logrotate.d/pyrox", "etc/init.d/pyrox", "usr/lib/pyrox")
PURGED += ("usr/bin/pyrox", "var/log/pyrox", "var/lib/pyrox", "lib/systemd/system/pyrox.service")

ASK = """
import sys, urllib.request
with urllib.request.urlopen(sys.argv[1], timeout=5) as answer:
    print(answer.status, answer.headers["X-Served-By"], answer.read().decode())
"""

# What sysvinit notes down, and invoke-rc.d wants to know before it restarts anything: utmp(5), RUN_LVL 2.
ENTER_RUNLEVEL_2 = """
import struct
with open("/run/utmp", "wb") as utmp:
    utmp.write(struct.pack("hi32s4s32s308x", 1, ord("2"), b"~", b"~~", b"runlevel"))
"""


@pytest.fixture(params=[SYSTEMD, IDLE], ids=["systemd", "init script"])
def machine(request: pytest.FixtureRequest, debian_root: Path, tmp_path: Path) -> Iterator[Machine]:
    with running_machine(debian_root, tmp_path, request.param) as machine:
        if request.param == IDLE:
            machine.run("python3.11", "-c", ENTER_RUNLEVEL_2)
        yield machine
    shutil.rmtree(tmp_path)


@pytest.fixture
def installed(machine: Machine) -> Machine:
    machine.run("dpkg", "--install", "/opt/pyrox.deb")
    return machine


@pytest.fixture
def started(installed: Machine) -> Machine:
    service(installed, "start")
    return installed


def service(machine: Machine, verb: str) -> None:
    """``service pyrox VERB``, which must succeed; when it does not, its log is in the report."""
    done = machine.try_run("service", "pyrox", verb)
    if done.returncode:
        log = machine.try_run("sh", "-c", "journalctl --unit pyrox; cat /var/log/pyrox/error.log")
        pytest.fail(f"service pyrox {verb}: status {done.returncode}\n{done.stdout}{log.stdout}")


def ask(machine: Machine, url: str = "http://127.0.0.1:8080/headers") -> str:
    return machine.run("python3.11", "-c", ASK, url)


def is_running(machine: Machine) -> bool:
    return machine.try_run("service", "pyrox", "status").returncode == 0


def master(machine: Machine) -> str:
    """The process id of the master: the oldest process of the user."""
    return min(processes(machine), key=int)


def processes(machine: Machine) -> list[str]:
    found = machine.try_run("sh", "-c", "cd /proc && grep -ls '^Uid:.*\\b'$(id -u pyrox)'\\b' [0-9]*/status")
    return [line.partition("/")[0] for line in found.stdout.splitlines()]


def edit_config(machine: Machine, old: str, new: str) -> None:
    text = machine.run("cat", f"/{CONFIG}")
    assert old in text
    path = machine.files / CONFIG
    path.write_text(text.replace(old, new))


# --- the package itself ---


def test_lintian_finds_nothing(debian_package: Path) -> None:
    if shutil.which("lintian") is None:
        pytest.skip("needs lintian")
    command = ["lintian", "--allow-root", "--fail-on", "error,warning", debian_package]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.stdout, done.returncode) == ("", 0)


def test_configuration_is_the_documented_one_with_logs_in_files(debian_package: Path, checkout: Path) -> None:
    shipped = subprocess.run(
        f"dpkg-deb --fsys-tarfile {debian_package} | tar --extract --to-stdout ./{CONFIG}",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    shown = (checkout / "conf/pyrox.ini").read_text().splitlines()
    changed = {line for line, before in zip(shipped, shown, strict=True) if line != before}
    assert changed == {"logfile = /var/log/pyrox/error.log", f"access_log = {ACCESS_LOG}"}


# --- the service ---


def test_installed_proxy_serves_once_it_is_started(installed: Machine) -> None:
    assert not is_running(installed)
    service(installed, "start")
    assert is_running(installed)
    assert ask(installed).startswith("200 pyrox")
    service(installed, "start")
    service(installed, "stop")
    assert not is_running(installed)
    assert processes(installed) == []
    service(installed, "stop")


def test_service_runs_as_its_own_user_with_one_privilege(started: Machine) -> None:
    status = started.run("cat", f"/proc/{master(started)}/status")
    user = started.run("id", "-u", "pyrox").strip()
    assert re.search(rf"^Uid:\s{user}\s{user}\s{user}\s{user}$", status, re.MULTILINE)
    sets = re.findall(r"^Cap(\w+):\s(\w+)$", status, re.MULTILINE)
    assert {name: int(bits, 16) for name, bits in sets} == dict.fromkeys(
        ("Inh", "Prm", "Eff", "Bnd", "Amb"), 1 << 10
    )
    assert "NoNewPrivs:\t1" in status
    assert started.run("stat", "-c", "%U:%G %a", "/var/log/pyrox", ACCESS_LOG).splitlines() == [
        "pyrox:pyrox 750",
        "pyrox:pyrox 640",
    ]


def test_port_below_1024_may_be_used(installed: Machine) -> None:
    edit_config(installed, "#bind_host = localhost:8080", "bind_host = 127.0.0.1:80")
    service(installed, "start")
    assert ask(installed, "http://127.0.0.1/headers").startswith("200 pyrox")


def test_environment_of_the_service_fills_in_the_configuration(installed: Machine) -> None:
    (installed.files / "etc/default").mkdir(parents=True, exist_ok=True)
    (installed.files / "etc/default/pyrox").write_text("MARK=secret\n")
    edit_config(installed, "X-Served-By: pyrox", "X-Served-By: ${MARK}")
    service(installed, "start")
    assert ask(installed).startswith("200 secret")
    service(installed, "reload")
    assert ask(installed).startswith("200 secret")


def test_start_with_a_bad_configuration_fails(installed: Machine) -> None:
    edit_config(installed, "upstream_hosts = demo", "upstream_hots = demo")
    done = installed.try_run("service", "pyrox", "start")
    assert done.returncode != 0
    assert not is_running(installed)
    reasons = installed.try_run("journalctl", "--unit", "pyrox").stdout + done.stdout
    assert "[routing] upstream_hots: unknown option" in reasons


def test_reload_takes_over_a_good_configuration_and_refuses_a_bad_one(started: Machine) -> None:
    before = master(started)
    edit_config(started, "X-Served-By: pyrox", "X-Served-By: changed")
    service(started, "reload")
    started.wait_until(
        "python3.11",
        "-c",
        f"{ASK}\nassert answer.headers['X-Served-By'] == 'changed'",
        "http://127.0.0.1:8080/",
    )
    edit_config(started, "upstream_hosts = demo", "upstream_hots = demo")
    assert started.try_run("service", "pyrox", "reload").returncode != 0
    assert ask(started).startswith("200 changed")
    assert master(started) == before


def test_restart_makes_a_new_process(started: Machine) -> None:
    before = master(started)
    service(started, "restart")
    assert ask(started).startswith("200 pyrox")
    assert before not in processes(started)


def test_stop_waits_for_the_exchange_in_progress(started: Machine) -> None:
    in_background = 'python3.11 -c "$1" http://127.0.0.1:8080/delay/2 >/tmp/answer 2>&1 &'
    started.run("sh", "-c", in_background, "sh", ASK)
    started.wait_until("grep", "-E", ":1F90 [0-9A-F:]+ 01 ", "/proc/net/tcp")  # ESTABLISHED at port 8080
    service(started, "stop")
    started.wait_until("grep", "^200 pyrox", "/tmp/answer")
    assert processes(started) == []


def test_service_follows_an_upgrade_in_place(started: Machine) -> None:
    before = started.run("cat", "/run/pyrox/pyrox.pid").strip()
    started.run("sh", "-c", f"kill -USR2 {before}")
    started.wait_until("test", "-s", "/run/pyrox/pyrox.pid.2")
    started.run("sh", "-c", f"kill -TERM {before}")
    started.wait_until("sh", "-c", f"! test -e /proc/{before}")
    started.wait_until("sh", "-c", "kill -0 $(cat /run/pyrox/pyrox.pid) && ! test -e /run/pyrox/pyrox.pid.2")
    assert ask(started).startswith("200 pyrox")
    assert is_running(started)
    service(started, "reload")
    assert master(started) == started.run("cat", "/run/pyrox/pyrox.pid").strip()
    service(started, "stop")
    assert processes(started) == []


def test_rotation_loses_no_line(started: Machine) -> None:
    ask(started, "http://127.0.0.1:8080/headers?before")
    started.wait_until("grep", "before", ACCESS_LOG)
    started.run("logrotate", "--force", "/etc/logrotate.d/pyrox")
    started.wait_until("test", "-e", ACCESS_LOG)
    ask(started, "http://127.0.0.1:8080/headers?after")
    started.wait_until("grep", "-r", "after", "/var/log/pyrox")
    assert "?after" in started.run("cat", ACCESS_LOG)
    assert "?before" in started.run("cat", f"{ACCESS_LOG}.1")
    assert started.run("stat", "-c", "%U:%G %a", ACCESS_LOG).strip() == "pyrox:pyrox 640"


def test_rotation_of_a_stopped_service_is_no_error(installed: Machine) -> None:
    installed.run("logrotate", "--force", "/etc/logrotate.d/pyrox")


# --- the life of the package ---


def test_upgrade_restarts_what_runs_and_keeps_what_was_edited(started: Machine) -> None:
    before = master(started)
    edit_config(started, "X-Served-By: pyrox", "X-Served-By: edited")
    started.run("dpkg", "--install", "/opt/pyrox.deb")
    assert before not in processes(started)
    assert ask(started).startswith("200 edited")


def test_upgrade_starts_nothing_that_did_not_run(installed: Machine) -> None:
    installed.run("dpkg", "--install", "/opt/pyrox.deb")
    assert not is_running(installed)


def test_maintainer_scripts_can_run_twice(started: Machine) -> None:
    for _ in range(2):
        started.run("/var/lib/dpkg/info/pyrox.postinst", "configure", "0.1")
    assert ask(started).startswith("200 pyrox")
    for _ in range(2):
        started.run("/var/lib/dpkg/info/pyrox.prerm", "remove")
    assert not is_running(started)
    for verb in ("remove", "purge") * 2:
        started.run("/var/lib/dpkg/info/pyrox.postrm", verb)


def test_removal_leaves_configuration_and_logs_and_purge_leaves_nothing(started: Machine) -> None:
    ask(started)
    started.run("dpkg", "--remove", "pyrox")
    assert processes(started) == []
    present = [path for path in PURGED if started.try_run("test", "-e", f"/{path}").returncode == 0]
    assert present == [
        "etc/pyrox",
        "etc/default/pyrox",
        "etc/logrotate.d/pyrox",
        "etc/init.d/pyrox",
        "var/log/pyrox",
        "var/lib/pyrox",
    ]
    started.run("dpkg", "--purge", "pyrox")
    left = started.run("find", "/", "-xdev", "-name", "*pyrox*", "-not", "-path", "/opt/*").split()
    assert left == []
    started.run("id", "pyrox")  # as Debian has it: a number is not given away while files may carry it


def test_purge_leaves_what_the_administrator_put_beside_the_configuration(installed: Machine) -> None:
    installed.run("sh", "-c", "mkdir /etc/pyrox/tls && echo mine >/etc/pyrox/tls/key.pem")
    installed.run("dpkg", "--purge", "pyrox")
    assert installed.run("find", "/etc/pyrox", "-type", "f").split() == ["/etc/pyrox/tls/key.pem"]
