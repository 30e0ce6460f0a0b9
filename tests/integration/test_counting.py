"""Counting instructions with valgrind: what benchmarks/check.py rests on."""

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"

pytestmark = [
    pytest.mark.skipif(platform.machine() != "x86_64", reason="counting is written for x86-64"),
    pytest.mark.skipif(not shutil.which("valgrind"), reason="valgrind is not installed"),
]

COUNTED = f"""
import json, sys
sys.path.insert(0, {str(BENCHMARKS)!r})
from callgrind import count_each
from pathlib import Path

def turns(count):
    def call():
        for number in range(count):
            str(number)
    return lambda: call

def failing():
    raise ValueError("this call cannot be made")

calls = {{"some": turns(1000), "the same": turns(1000), "more": turns(1100), "failing": failing}}
names = sys.argv[3:]
print(json.dumps(count_each({{name: calls[name] for name in names}}, Path(sys.argv[2]))))
"""


@pytest.fixture
def run_counted(tmp_path, monkeypatch):
    script = tmp_path / "counted.py"
    script.write_text(COUNTED)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from callgrind import run_counted

    yield lambda *names: run_counted(script, names)
    del sys.modules["callgrind"]


def test_instructions_of_each_call_are_counted_alone(run_counted):
    counts = run_counted("some", "the same", "more")
    assert counts["some"] == pytest.approx(counts["the same"], rel=0.001)
    assert counts["more"] == pytest.approx(1.1 * counts["some"], rel=0.01)


def test_a_call_that_fails_is_not_counted(run_counted, capfd):
    with pytest.raises(subprocess.CalledProcessError):
        run_counted("some", "failing")
    assert "this call cannot be made" in capfd.readouterr().err
