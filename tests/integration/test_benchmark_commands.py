"""The benchmarks that start a real proxy, each at its smallest: they run, and measure something."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed")


@pytest.mark.parametrize(
    "command",
    ["startup.py --runs 1", "idle_memory.py --connections 20 --settle 0.1"],
    ids=["start-up", "idle memory"],
)
def test_benchmark_measures_the_proxy(command: str) -> None:
    name, *arguments = command.split()
    run = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / name), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert run.returncode == 0, run.stderr
    assert re.search(r"^pyrox +[0-9]+\.[0-9]", run.stdout, re.MULTILINE), run.stdout
