"""Proxies for tests of filters that do what a request asks of them, and the words to ask with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.integration.kit import post, response, via
from tests.support.messages import WireRequest
from tests.support.origin import Origin
from tests.support.proxy import Proxy
from tests.support.wire import Client

PLUGINS = [Path(__file__).parent / "plugins", Path(__file__).parents[1] / "integration" / "plugins"]
MIB = 1 << 20

# Neither is a default, so that it is seen that they are used.
REJECTION, ERROR = 418, 555

STAGES = ("request head", "request body", "response head", "response body")
ALIASES = ("first", "acts", "last")

Log = Callable[[], str]
Ran = Callable[[], list[str]]
Parts = Callable[[str], list[int]]


def config_of(pipeline: dict[str, Any]) -> dict[str, Any]:
    """A configuration with this pipeline, where each request says which origin it is for."""
    return {
        "templates": {"rejection_sc": REJECTION, "pyrox_error_sc": ERROR},
        "logging": {"access_log_format": "json"},
        "routing": {"upstream_hosts": "http://127.0.0.1:1"},
        "middleware": {"stack": ["by_field"], "by_field": {"class": "routing.RouteByField"}},
        "pipeline": pipeline,
    }


def config_of_named(**filters: str) -> dict[str, Any]:
    """The same for filters by alias, in both pipelines, that want to be told their names."""
    names = {f"{alias}.name": alias for alias in filters}
    return config_of({**filters, **names, "upstream": list(filters), "downstream": list(filters)})


# --- filters that act


def act(stage: str, action: str) -> str:
    """The field line that makes the filter ``acts`` do ``action`` at ``stage``."""
    return f"X-Act: {stage}: {action}"


def notes_of(ran: Ran, prefix: str) -> list[str]:
    """The rest of every note that begins with ``prefix``."""
    return [line.removeprefix(prefix).strip() for line in ran() if line.startswith(prefix)]


def run_in(stages: tuple[str, ...] = STAGES, without: str = "") -> list[str]:
    """What runs in an exchange whose bodies come in one part, when ``last`` misses the stage ``without``."""
    parts = {"request head": [""], "request body": ["hello", ""]}
    parts |= {"response head": [""], "response body": ["echo: hello", ""]}
    return [
        f"{alias} {stage} {part}".rstrip()
        for stage in stages
        for part in parts[stage]
        for alias in ALIASES
        if stage != without or alias != "last"
    ]


def echo(request: WireRequest) -> bytes:
    """An origin's answer."""
    return response(b"echo: " + request.body)


def check_kept(client: Client, origin: Origin) -> None:
    """The connection must serve another exchange, in which every filter passes everything on."""
    answer = client.ask(post("/after", b"more", via(origin)))
    assert (answer.status, answer.body) == (200, b"echo: more")
    assert (origin.requests[-1].target, origin.requests[-1].body) == ("/after", b"more")


def check_over(client: Client, proxy: Proxy, origin: Origin) -> None:
    """The connection is over, but the proxy serves others."""
    assert client.read_until_closed()[0] == b""
    with Client(proxy.address) as other:
        check_kept(other, origin)


# --- filters that treat bodies


def letters(size: int) -> bytes:
    """A body of lower-case text."""
    return (b"abcdefghijklmnopqrstuvwxyz 0123456789\n" * (size // 38 + 1))[:size]


def chunked(*pieces: bytes, trailers: str = "") -> bytes:
    """Encode a chunked body."""
    data = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return data + b"0\r\n" + trailers.encode() + b"\r\n"


def mirror(request: WireRequest) -> bytes:
    """An origin's answer."""
    return response(request.body)
