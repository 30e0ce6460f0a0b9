"""What the load test counts as a failure: no answer of another request, and no part of one, passes."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from pyrox.green.demo_pages import random_pieces

FILE = Path(__file__).resolve().parents[2] / "loadtests" / "proof.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("loadtests_proof", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


proof = load()
SIZE = 70_000


def test_tokens_are_never_used_twice() -> None:
    assert len({proof.new_token() for _ in range(1000)} | {load().new_token()}) == 1001


def test_sizes_are_within_their_bounds() -> None:
    sizes = [proof.size_between(1024, 102_400) for _ in range(1000)]
    assert 1024 <= min(sizes) < 5000 and 50_000 < max(sizes) <= 102_400


@pytest.mark.parametrize("size", [0, 1, 65536, SIZE])
def test_content_is_what_the_demo_sends(size: int) -> None:
    assert proof.content_of("a-1", size) == b"".join(random_pieces("a-1", size))
    assert proof.fault_of_content(proof.content_of("a-1", size), "a-1", size) == ""


RIGHT = proof.content_of("a-1", SIZE)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (proof.content_of("a-2", SIZE), "another content from byte 0"),
        (RIGHT[:-1], "69999 bytes instead of 70000"),
        (RIGHT + RIGHT, "140000 bytes"),
        (RIGHT[:66_000] + b"x" + RIGHT[66_001:], "another content from byte 66000 of 70000 on"),
        (RIGHT[-1:] + RIGHT[:-1], "another content from byte"),
        (None, "0 bytes"),
    ],
)
def test_other_content_fails(content: bytes | None, fault: str) -> None:
    assert fault in proof.fault_of_content(content, "a-1", SIZE)


@pytest.mark.parametrize(
    ("report", "fault"),
    [
        ({"target": "/echo?1", "body": "b"}, ""),
        ({"target": "/echo?2", "body": "b"}, "the answer to /echo?2 instead of /echo?1"),
        ({"target": "/echo?1", "body": "bb"}, "a body of 2 bytes arrived"),
        ({"target": "/echo?1"}, "a body of 0 bytes arrived"),
    ],
)
def test_echo_of_another_request_fails(report: dict[str, str], fault: str) -> None:
    assert proof.fault_of_echo(json.dumps(report).encode(), "/echo?1", "b").startswith(fault)
    assert bool(proof.fault_of_echo(json.dumps(report).encode(), "/echo?1", "b")) == bool(fault)


@pytest.mark.parametrize("content", [None, b"", b"502 Bad Gateway\n", b'{"target": "/ec'])
def test_what_is_no_report_fails(content: bytes | None) -> None:
    assert "no report" in proof.fault_of_echo(content, "/echo?1", "b")
    assert "no report" in proof.fault_of_upload(content, b"b")


def test_upload_that_arrived_otherwise_fails() -> None:
    report = json.dumps({"size": 3, "sha256": hashlib.sha256(b"abc").hexdigest()}).encode()
    assert proof.fault_of_upload(report, b"abc") == ""
    assert "arrived instead of" in proof.fault_of_upload(report, b"abd")


def test_events_must_all_come_once_and_in_order() -> None:
    lines = ["id: 0", "data: event 0", "", "id: 1", "data: event 1", ""]
    assert proof.fault_of_events(lines, 2) == ""
    for wrong in (lines[:3], lines[3:] + lines[:3], lines + lines[:3], []):
        assert proof.fault_of_events(wrong, 2)
