"""What the environment of a service says."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from pyrox.green.systemd import Notifier, activation_descriptors


def test_sockets_are_taken_only_by_the_process_they_are_for() -> None:
    mine = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b", "OTHER": "x"}
    assert activation_descriptors(mine) == [3, 4]
    assert mine == {"OTHER": "x"}
    others = {"LISTEN_PID": "1", "LISTEN_FDS": "2"}
    assert activation_descriptors(others) == []
    assert others == {}
    assert activation_descriptors({}) == []


@pytest.mark.parametrize("abstract", [True, False])
def test_states_arrive_and_the_address_is_hidden_from_children(tmp_path: Path, abstract: bool) -> None:
    address = f"@pyrox-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + address[1:] if abstract else address)
        environment = {"NOTIFY_SOCKET": address}
        notifier = Notifier(environment)
        assert environment == {}
        notifier.ready("all is well")
        assert manager.recv(100) == b"READY=1\nSTATUS=all is well"
        notifier.follow(42)
        assert manager.recv(100) == b"MAINPID=42"


def test_manager_that_has_gone_is_no_reason_to_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).stopping()
    assert "cannot tell the service manager 'STOPPING=1'" in caplog.text
    caplog.clear()
    Notifier({}).stopping()
    assert caplog.text == ""
