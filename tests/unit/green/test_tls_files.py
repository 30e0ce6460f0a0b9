"""Certificates on disk: what the master takes of them, and how it gets to workers without rights."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyrox.config import parse_settings
from pyrox.green import tls_files
from pyrox.green.tls_contexts import Tls
from pyrox.green.tls_files import LISTENER, UPSTREAM, CertificateFiles, as_file, label_of
from pyrox.settings import Settings
from tests.support.authority import Authority, Pair


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def old(authority: Authority) -> Pair:
    return authority.issue("old", names="DNS:a.test")


@pytest.fixture(scope="module")
def new(authority: Authority) -> Pair:
    return authority.issue("new", names="DNS:b.test")


@pytest.fixture
def used(tmp_path: Path, old: Pair) -> Pair:
    pair = Pair(tmp_path / "used.pem", tmp_path / "used.key")
    old.copy_to(pair)
    return pair


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.INFO, "pyrox"):
        yield


def settings_of(listener: Pair, upstream: Pair | None = None, section: Pair | None = None) -> Settings:
    text = f"[ssl]\ncert_file = {listener.cert}\nkey_file = {listener.key}\n"
    if section is not None:
        text += f"[[more]]\ncert_file = {section.cert}\nkey_file = {section.key}\n"
    if upstream is not None:
        text += f"[upstream]\ncert_file = {upstream.cert}\nkey_file = {upstream.key}\n"
    return parse_settings(text)


class Worker:
    """A process that was forked now and does its work later, as nobody if this one is root."""

    def __init__(self, work: Callable[[], bool]) -> None:
        waits, self._may_go = os.pipe()
        self._child = os.fork()
        if not self._child:
            os.close(self._may_go)
            self._run(work, waits)
        os.close(waits)

    def _run(self, work: Callable[[], bool], waits: int) -> None:
        status = 2
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            os.read(waits, 1)  # nothing, when the other end is closed
            status = 0 if work() else 1
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def result(self) -> bool:
        """Let it work, and return what came of it."""
        os.close(self._may_go)
        return os.waitstatus_to_exitcode(os.waitpid(self._child, 0)[1]) == 0


def test_pairs_are_known_by_where_they_are_configured(old: Pair, new: Pair) -> None:
    files = CertificateFiles(settings_of(old, upstream=new, section=new))
    new_pem = new.cert.read_bytes(), new.key.read_bytes()
    assert files.pems[label_of("more")] == files.pems[UPSTREAM] == new_pem
    assert files.pems[LISTENER] == (old.cert.read_bytes(), old.key.read_bytes())


def test_change_is_taken_when_it_is_seen_twice(used: Pair, new: Pair) -> None:
    files = CertificateFiles(settings_of(used))
    assert [files.reread() for _ in range(2)] == [False, False]
    new.copy_to(used)
    assert [files.reread() for _ in range(3)] == [False, True, False]
    assert files.pems[LISTENER] == (new.cert.read_bytes(), new.key.read_bytes())


def test_change_while_the_files_are_read_first_is_taken_later(
    used: Pair, new: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = tls_files._read

    def read_too_early(cert_file: str, key_file: str) -> tuple[bytes, bytes]:
        pem = read(cert_file, key_file)
        new.copy_to(used)
        return pem

    with monkeypatch.context() as patch:
        patch.setattr(tls_files, "_read", read_too_early)
        files = CertificateFiles(settings_of(used))
    assert [files.reread() for _ in range(3)] == [False, True, False]
    assert files.pems[LISTENER] == (new.cert.read_bytes(), new.key.read_bytes())


def test_certificate_whose_key_comes_a_moment_later_is_no_error(
    used: Pair, new: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    files = CertificateFiles(settings_of(used))
    used.cert.write_bytes(new.cert.read_bytes())
    assert not files.reread()
    used.key.write_bytes(new.key.read_bytes())
    assert [files.reread() for _ in range(2)] == [False, True]
    assert [record.levelname for record in caplog.records] == ["INFO"]


def test_link_that_points_elsewhere_is_a_change(tmp_path: Path, old: Pair, new: Pair) -> None:
    """As a mounted secret of Kubernetes is replaced."""
    current = tmp_path / "current"
    current.symlink_to(old.cert.parent)
    link = Pair(current / "old.pem", current / "old.key")
    files = CertificateFiles(settings_of(link))
    other = tmp_path / "other"
    other.mkdir()
    new.copy_to(Pair(other / "old.pem", other / "old.key"))
    replacement = tmp_path / "replacement"
    replacement.symlink_to(other)
    replacement.replace(current)
    assert [files.reread() for _ in range(2)] == [False, True]


def test_bad_pair_is_named_once_and_the_others_are_taken(
    used: Pair, old: Pair, new: Pair, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    more = Pair(tmp_path / "more.pem", tmp_path / "more.key")
    old.copy_to(more)
    files = CertificateFiles(settings_of(used, section=more))
    more.key.write_text("rubbish")
    new.copy_to(used)
    assert [files.reread() for _ in range(5)] == [False, True, False, False, False]
    [error] = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert error == (
        f"[ssl] [[more]] key_file: {str(more.key)!r} has no private key in PEM; "
        "the certificate from before stays in use"
    )
    assert files.pems[label_of("more")] == (old.cert.read_bytes(), old.key.read_bytes())


def test_worker_gets_what_the_master_publishes_and_only_once(used: Pair, new: Pair) -> None:
    files = CertificateFiles(settings_of(used))
    new_pem = new.cert.read_bytes(), new.key.read_bytes()

    def has_new_ones() -> bool:
        return files.receive() and files.pems[LISTENER] == new_pem and not files.receive()

    assert Worker(lambda: not files.receive()).result()
    former = Worker(has_new_ones)
    new.copy_to(used)
    assert [files.reread() for _ in range(2)] == [False, True]
    files.publish()
    assert former.result()
    assert not files.receive()  # the master knows it already
    # A worker that is forked now has them from the start.
    assert Worker(lambda: not files.receive() and files.pems[LISTENER] == new_pem).result()


def test_worker_without_rights_makes_contexts_of_it(used: Pair, new: Pair, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    tls = Tls(settings_of(used, upstream=used))
    before = tls.upstream.context

    def is_refreshed() -> bool:
        tls.refresh()
        return tls.upstream.context is not before

    worker = Worker(is_refreshed)
    new.copy_to(used)
    for _ in range(2):
        tls.watch()
    assert worker.result()


def test_what_is_being_written_is_left_for_the_next_time(used: Pair) -> None:
    files = CertificateFiles(settings_of(used))
    files.publish()
    whole = os.pread(files._memory.fileno(), 1 << 20, 0)
    files._digest = bytes(len(files._digest))
    os.truncate(files._memory.fileno(), len(whole) // 2)
    assert not files.receive()
    os.pwrite(files._memory.fileno(), whole, 0)
    assert files.receive()


def test_memory_goes_with_its_last_user(used: Pair) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        files = CertificateFiles(settings_of(used))
        files.publish()
        del files
    assert len(os.listdir("/proc/self/fd")) == before


def test_content_has_a_path_for_as_long_as_it_is_needed() -> None:
    with as_file(b"abc") as path:
        assert Path(path).read_bytes() == b"abc"
    assert not Path(path).exists()
