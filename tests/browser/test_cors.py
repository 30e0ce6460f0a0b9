"""What a real browser makes of ``cors``: Chromium, headless, and two pages of different origins.

Run by hand, because a browser is a large thing to install: ``PYROX_TEST_BROWSER=chromium ./pyrox_dev.sh test
tests/browser``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.kit import response
from tests.support.config import Config
from tests.support.messages import WireRequest
from tests.support.origin import Origin, serve
from tests.support.proxy import Proxy, running_proxy

CHROMIUM = shutil.which(os.environ.get("PYROX_TEST_BROWSER", ""))

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="PYROX_TEST_BROWSER names no Chromium")

# What each try ended with, or "blocked": all that a page learns of an answer it may not read.
PAGE = """<!doctype html><title>a page</title><body><script>
async function attempt(path, options) {
  try {
    const answer = await fetch("PROXY" + path, options);
    const {status, headers} = answer;
    return [status, headers.get("x-shown"), headers.get("x-hidden"), await answer.text()];
  } catch (error) { return "blocked"; }
}
(async () => {
  const put = {method: "PUT", headers: {"X-Token": "1", "Content-Type": "application/json"}, body: "{}"};
  document.body.textContent = JSON.stringify({
    get: await attempt("/get", {credentials: "include"}),
    put: await attempt("/put", {...put, credentials: "include"}),
    remove: await attempt("/remove", {method: "DELETE"}),
    other_field: await attempt("/other_field", {headers: {"X-Other": "1"}}),
    refused: await attempt("/refused", {}),
    anybody: await attempt("/anybody", {}),
    anybody_with_cookies: await attempt("/anybody/cookies", {credentials: "include"}),
  });
})();
</script>"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[Origin]:
    with Origin(
        serve(response(b"read", "X-Shown: yes", "X-Hidden: yes", "Access-Control-Allow-Origin: *"))
    ) as origin:
        yield origin


@pytest.fixture(scope="module")
def pages() -> Iterator[tuple[Origin, Origin]]:
    """Two sites, so two origins; what they serve is put in when the proxy's port is known."""
    with Origin(serve(page_of)) as ours, Origin(serve(page_of)) as theirs:
        yield ours, theirs


served = ""


def page_of(request: WireRequest) -> bytes:
    return response(served.encode(), "Content-Type: text/html")


@pytest.fixture(scope="module")
def proxy(upstream: Origin, pages: tuple[Origin, Origin]) -> Iterator[Proxy]:
    global served
    config: Config = {
        "routing": {"upstream_hosts": upstream.url},
        "middleware": {
            "stack": ["cors", "anybody", "access_control"],
            "cors": {
                "origins": [pages[0].url],
                "methods": ["PUT"],
                "headers": ["X-Token", "Content-Type"],
                "expose": ["X-Shown"],
                "credentials": True,
                "when": "!PathPrefix(`/anybody`)",
            },
            "anybody": {
                "class": "pyrox.middleware.cors.Cors",
                "origins": "*",
                "when": "PathPrefix(`/anybody`)",
            },
            "access_control": {"deny": "127.0.0.1", "when": "PathPrefix(`/refused`)"},
        },
    }
    with running_proxy(config) as proxy:
        served = PAGE.replace("PROXY", f"http://127.0.0.1:{proxy.port}")
        yield proxy


def seen_by(page: Origin, folder: Path) -> dict[str, object]:
    """Load the page and return what it wrote."""
    options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
    command = [str(CHROMIUM), *options, f"--user-data-dir={folder}", "--virtual-time-budget=20000"]
    done = subprocess.run(
        [*command, "--dump-dom", page.url], capture_output=True, timeout=100, check=True, text=True
    )
    body = done.stdout.partition("<body>")[2].partition("</body>")[0]
    return json.loads(body)  # type: ignore[no-any-return]


READ = [200, "yes", None, "read"]


def test_page_that_may_reads_what_it_may(
    proxy: Proxy, upstream: Origin, pages: tuple[Origin, Origin], tmp_path: Path
) -> None:
    assert seen_by(pages[0], tmp_path) == {
        "get": READ,
        "put": READ,
        "remove": "blocked",  # its preflight does not list DELETE
        "other_field": "blocked",
        "refused": [403, None, None, "403 Forbidden\n"],  # errors of the proxy can be read, too
        "anybody": [200, None, None, "read"],
        "anybody_with_cookies": "blocked",
    }
    methods = {request.start_line.split()[0] for request in upstream.requests}
    assert methods == {b"GET", b"PUT"}  # no preflight came through, and what it forbids did not come


def test_page_of_a_stranger_reads_nothing(
    proxy: Proxy, upstream: Origin, pages: tuple[Origin, Origin], tmp_path: Path
) -> None:
    before = len(upstream.requests)
    seen = seen_by(pages[1], tmp_path)
    assert seen.pop("anybody") == [200, None, None, "read"]
    assert set(seen.values()) == {"blocked"}
    assert b"PUT" not in {request.start_line.split()[0] for request in upstream.requests[before:]}
