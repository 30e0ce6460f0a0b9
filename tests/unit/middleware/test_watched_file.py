"""A file that changes while the proxy runs: old or new, never half, never nothing."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from pyrox.middleware.watched_file import WatchedFile


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def parse(text: bytes) -> str:
    if not text.endswith(b"."):
        raise ValueError("line 1: it does not end")
    return text.decode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_text("old.")
    return path


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def file(path: Path, clock: Clock) -> WatchedFile[str]:
    return WatchedFile("file", path, parse, clock)


def look(file: WatchedFile[str], clock: Clock) -> str:
    clock.now += 1
    return file.current()


def replace(path: Path, text: str) -> None:
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").rename(path)


def test_change_is_taken_once_it_has_settled(file: WatchedFile[str], path: Path, clock: Clock) -> None:
    replace(path, "new.")
    assert [look(file, clock), look(file, clock)] == ["old.", "new."]


def test_file_that_is_being_written_is_not_read(file: WatchedFile[str], path: Path, clock: Clock) -> None:
    for text in ("", "n.", "ne.", "new."):
        path.write_text(text)
        assert look(file, clock) == "old."
    assert look(file, clock) == "new."


def test_change_of_the_same_size_and_age_is_seen(file: WatchedFile[str], path: Path, clock: Clock) -> None:
    before = os.stat(path)
    path.write_text("new.")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert [look(file, clock), look(file, clock)] == ["old.", "new."]


def test_file_is_looked_at_once_a_second(
    file: WatchedFile[str], path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    real = os.stat
    monkeypatch.setattr(os, "stat", lambda path: looks.append(path) or real(path))
    for _ in range(5):
        file.current()
    assert looks == []
    clock.now += 1
    for _ in range(5):
        file.current()
    assert looks == [path]


def test_bad_file_changes_nothing_and_is_told_once(
    file: WatchedFile[str], path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    replace(path, "bad")
    assert [look(file, clock) for _ in range(5)] == ["old."] * 5
    assert caplog.messages == [f"{path}: line 1: it does not end; what it said before stays in use"]
    replace(path, "good.")
    assert [look(file, clock), look(file, clock)] == ["old.", "good."]


def test_missing_file_changes_nothing_until_it_is_back(
    file: WatchedFile[str], path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    path.unlink()
    assert [look(file, clock) for _ in range(5)] == ["old."] * 5
    assert caplog.messages == [f"{path}: No such file or directory; what it said before stays in use"]
    path.write_text("back.")
    with caplog.at_level(logging.INFO):
        assert [look(file, clock), look(file, clock)] == ["old.", "back."]
    assert caplog.messages[-1] == f"{path} has changed and is used from now on"


def test_first_reading_must_succeed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^users: .*/none: No such file or directory$"):
        WatchedFile("users", tmp_path / "none", parse)
    with pytest.raises(ValueError, match=r"^users: .*: Is a directory$"):
        WatchedFile("users", tmp_path, parse)
    (tmp_path / "bad").write_text("bad")
    with pytest.raises(ValueError, match=r"^users: .*/bad: line 1: it does not end$"):
        WatchedFile("users", tmp_path / "bad", parse)
