"""Libraries that are missing."""

from __future__ import annotations

import json
import sys

import pytest

from pyrox.middleware.extras import require


def test_library_that_is_there_is_returned() -> None:
    assert require("json", "json") is json


def test_missing_library_is_a_problem_with_its_solution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jmespath", None)
    with pytest.raises(ValueError, match=r"'jmespath'; install it with: pip install 'pyrox\[json\]'"):
        require("jmespath", "json")
