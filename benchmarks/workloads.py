"""The workloads and the budget of each: which ratios to which peer must hold, and which are aimed at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import load
from load import Load

CONNECTIONS = 64


@dataclass(frozen=True)
class Budget:
    """Pyrox's figure is to be at most ``must`` times ``peer``'s, and better ``aim`` times."""

    peer: str
    must: float
    aim: float | None = None


@dataclass(frozen=True)
class Target:
    """What a load is aimed at: a variant's port and the directory that holds the body to upload."""

    port: int
    origin_directory: Path


@dataclass(frozen=True)
class Workload:
    """One kind of traffic. ``per_byte``: the figure is CPU ms per GB of body, else CPU us per request.

    ``keeps_alive``: connections carry more than one request.
    """

    name: str
    title: str
    drive: Callable[[Target, int], Load]
    budgets: tuple[Budget, ...]
    path: str = "/small"
    tls: bool = False
    per_byte: bool = False
    keeps_alive: bool = True
    slices: int = 1  # this many times the usual slice, where starting up would weigh too much

    @property
    def unit(self) -> str:
        return "ms/GB" if self.per_byte else "us/req"


def _wrk(mode: str, path: str = "/small", scheme: str = "http") -> Callable[[Target, int], Load]:
    def drive(target: Target, seconds: int) -> Load:
        return load.wrk(f"{scheme}://127.0.0.1:{target.port}{path}", mode, seconds, CONNECTIONS)

    return drive


def _new_tls(target: Target, seconds: int) -> Load:
    return load.hey(f"https://127.0.0.1:{target.port}/small", seconds, CONNECTIONS)


def _download(target: Target, seconds: int) -> Load:
    return load.bulk(target.port, None, seconds)


def _upload(target: Target, seconds: int) -> Load:
    return load.bulk(target.port, target.origin_directory / "large", seconds)


SMALL_GET = (Budget("envoy", 1.0, 0.8), Budget("relay", 1.3, 1.1), Budget("nginx", 2.4))

WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("get", "small GET, keep-alive", _wrk("get"), SMALL_GET),
        Workload("varied", "small GET, each with a line never sent before", _wrk("varied"), SMALL_GET),
        Workload(
            "post", "1 KiB POST, keep-alive", _wrk("post", "/sink"), (Budget("relay", 1.3, 1.15),), "/sink"
        ),
        Workload(
            "close",
            "connection per request",
            _wrk("close"),
            (Budget("envoy", 1.2, 1.0),),
            keeps_alive=False,
        ),
        Workload(
            "download", "10 MiB download", _download, (Budget("envoy", 0.8, 0.45),), "/large", per_byte=True
        ),
        Workload("upload", "10 MiB upload", _upload, (Budget("envoy", 0.8, 0.45),), "/sink", per_byte=True),
        Workload(
            "tls",
            "TLS, keep-alive",
            _wrk("get", scheme="https"),
            (Budget("envoy", 1.0, 0.85),),
            tls=True,
            slices=2,
        ),
        Workload(
            "tls-new",
            "TLS, new connection per request",
            _new_tls,
            (Budget("nginx", 1.3, 1.1),),
            tls=True,
            keeps_alive=False,
        ),
    )
}
