"""The load test as its users run it: passes with a proxy that is right, fails with one that is not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import pytest

# Not imported: it would patch the sockets of this process.
if find_spec("locust") is None:
    pytest.skip("the load test needs: pip install -e '.[load]'", allow_module_level=True)

LOADTESTS = Path(__file__).resolve().parents[2] / "loadtests"


def locust(folder: Path, *arguments: str, files: str = "locustfile.py") -> subprocess.CompletedProcess[str]:
    """Run Locust in ``folder`` with the files of the load test, without its web page."""
    paths = ",".join(str(LOADTESTS / file) for file in files.split(","))
    command = [sys.executable, "-m", "locust", "-f", paths, "--headless", "--only-summary", *arguments]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LOCUST_")}
    # A process group of its own, which ends with it: also the proxy, should Locust be killed.
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=100
    )


def test_every_kind_of_user_is_served_and_every_answer_verified(tmp_path: Path) -> None:
    run = locust(tmp_path, "-u", "60", "-r", "60", "-t", "8s", "--think", "0.5")
    assert run.returncode == 0, run.stdout + run.stderr
    passed = re.search(r"passed: (\d+) requests, every answer verified", run.stderr)
    assert passed is not None and int(passed[1]) > 100
    for name in ("/random", "/echo", "/stream", "/upload", "/sse", "talk of 10", "then close"):
        assert name in run.stdout + run.stderr
    assert "<html" in (tmp_path / "pyrox-load.html").read_text()


def test_identities_quotas_and_old_filters_hold_under_load(tmp_path: Path) -> None:
    users = ("KeyUser", "LimitedUser", "LegacyUser")
    files = "locustfile.py,features.py"
    run = locust(tmp_path, "-u", "30", "-r", "30", "-t", "8s", "--think", "0.5", *users, files=files)
    assert run.returncode == 0, run.stdout + run.stderr
    for name in ("GET /private", "no key", "5 of 8 pass", "POST /legacy"):
        assert name in run.stdout + run.stderr


def test_users_come_when_the_proxy_that_is_started_serves(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    config = tmp_path / "pyrox.ini"
    config.write_text(
        f"[routing]\nupstream_hosts = demo\n[logging]\naccess_log = {log}\naccess_log_format = $request\n"
    )
    run = locust(tmp_path, "-u", "5", "-r", "5", "-t", "3s", "--proxy-config", str(config))
    assert run.returncode == 0, run.stdout + run.stderr
    assert log.read_text().partition("\n")[0] == "GET / HTTP/1.1"


def test_proxy_that_is_started_may_answer_its_first_request_with_an_error(tmp_path: Path) -> None:
    config = tmp_path / "pyrox.ini"
    config.write_text("[routing]\nupstream_hosts = http://127.0.0.1:1\n")
    start = f"import running; running.start_proxy({str(config)!r}, 1)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(LOADTESTS), str(LOADTESTS.parent)])}
    run = subprocess.run(
        [sys.executable, "-c", start],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Pyrox serves at http://127.0.0.1:" in run.stdout


def test_host_without_a_scheme_is_refused_with_what_to_write(tmp_path: Path) -> None:
    run = locust(tmp_path, "-u", "1", "-t", "1s", "--host", "localhost:8080")
    assert run.returncode == 1
    assert "--host localhost:8080: write it with its scheme, http://localhost:8080" in run.stdout + run.stderr


class Liar(BaseHTTPRequestHandler):
    """Answers every request with what belongs to another, or with an error."""

    status, body = 200, b"somebody else's"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(self.status)
        self.send_header("Via", "1.1 pyrox")
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(self.body)

    do_HEAD = do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def liar() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Liar)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_wrong_answers_fail_the_run(tmp_path: Path, liar: str) -> None:
    run = locust(tmp_path, "-H", liar, "-u", "10", "-r", "10", "-t", "3s", "--think", "0.1")
    assert run.returncode == 1
    assert re.search(r"FAILED: \d+ requests failed, 0 may", run.stderr)
    assert "bytes instead of" in run.stdout + run.stderr and "no report" in run.stdout + run.stderr


@pytest.mark.parametrize(
    ("limit", "fault"),
    [
        (("--min-requests", "1000000"), "at least 1000000 were to be made"),
        (("--max-p95", "0.001"), "0.001 may be"),
    ],
)
def test_limits_fail_the_run(tmp_path: Path, limit: tuple[str, str], fault: str) -> None:
    run = locust(tmp_path, "-u", "5", "-r", "5", "-t", "3s", "--think", "0.1", *limit, "RestUser")
    assert run.returncode == 1
    assert fault in run.stderr


@pytest.mark.parametrize("shape", ["ramp", "step", "spike", "soak"])
def test_shapes_come_to_an_end(tmp_path: Path, shape: str) -> None:
    files = f"locustfile.py,shapes/{shape}.py"
    run = locust(tmp_path, "-u", "10", "-t", "3s", "--think", "0.1", "RestUser", files=files)
    assert run.returncode == 0, run.stdout + run.stderr


def test_proxy_that_cannot_start_ends_the_run(tmp_path: Path) -> None:
    (tmp_path / "bad.ini").write_text("[limits]\nhead_size = many\n")
    run = locust(tmp_path, "--proxy-config", "bad.ini", "-t", "1s")
    assert run.returncode != 0
    assert "[limits] head_size: " in run.stdout + run.stderr


def test_user_can_be_stopped_in_the_middle_of_a_close() -> None:
    program = Path(__file__).with_name("stopped_in_its_close.py")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(LOADTESTS), str(LOADTESTS.parent)])}
    command = [sys.executable, str(program)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=100)
    assert run.returncode == 0, run.stdout + run.stderr
