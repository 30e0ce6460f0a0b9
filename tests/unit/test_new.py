"""``pyrox new middleware``: what it writes works as it stands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pyrox.cli import main

ROOT = Path(__file__).resolve().parents[2]


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", ["tenant_mark", "x", "mark2_"])
def test_middleware_passes_its_test_and_fits_its_page(name: str, tmp_path: Path) -> None:
    assert main(["new", "middleware", name, "-d", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [f"{name}.py", f"test_{name}.py", f"{name}.md"]
    )
    tests = run(tmp_path, "pytest", "-q", "-p", "no:cacheprovider", f"test_{name}.py")
    assert "5 passed" in tests.stdout, tests.stdout


def test_configuration_of_the_page_passes_the_check(tmp_path: Path) -> None:
    main(["new", "middleware", "tenant_mark", "-d", str(tmp_path)])
    page = (tmp_path / "tenant_mark.md").read_text()
    (tmp_path / "p.ini").write_text(page.partition("```ini\n")[2].partition("```")[0])
    check = run(tmp_path, "pyrox", "-c", "p.ini", "--check")
    assert (check.returncode, check.stdout) == (0, "p.ini: configuration OK\n"), check.stderr


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("My-Auth", "is no name of a module; write lower-case letters"),
        ("class", "is no name of a module"),
        ("../x", "is no name of a module"),
        ("headers", "is built in"),
        ("filters", "means something else in a stack"),
        ("json", "is an installed module"),
        ("gevent", "is an installed module"),
    ],
)
def test_names_that_would_not_do_are_refused(
    name: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", "middleware", name, "-d", str(tmp_path)]) == 2
    assert f"pyrox new: {name!r} {reason}" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "test_mine.py").write_text("precious")
    assert main(["new", "middleware", "mine", "-d", str(tmp_path)]) == 2
    assert "test_mine.py exists already; nothing was written" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["test_mine.py"]


def test_folder_is_made_and_one_that_cannot_be_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", "middleware", "mine", "-d", str(tmp_path / "a" / "b")]) == 0
    assert main(["new", "middleware", "mine", "-d", "/dev/null/a"]) == 2
    assert "pyrox new: [Errno 20]" in capsys.readouterr().err
