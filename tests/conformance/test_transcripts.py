"""Play every transcript in ``cases/`` against a real proxy; see the package for their format."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conformance.stage import Setting, Stage, opened_stage
from tests.conformance.transcript import Case, read_cases

CASES = [case for path in sorted(Path(__file__).parent.glob("cases/*.txt")) for case in read_cases(path)]
SETTINGS = list(dict.fromkeys(case.setting for case in CASES))
CASES.sort(key=lambda case: SETTINGS.index(case.setting))  # cases of one setting follow one another


@pytest.fixture(scope="module")
def stage_for() -> Iterator[Callable[[Setting], Stage]]:
    """A stage with the wanted setting: that of the case before when it is the same one, else a new one."""
    with ExitStack() as stack:
        current: list[Stage] = []

        def choose(setting: Setting) -> Stage:
            if not current or current[0].setting != setting:
                stack.close()
                current[:] = [stack.enter_context(opened_stage(setting))]
            return current[0]

        yield choose


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_transcript(stage_for: Callable[[Setting], Stage], case: Case) -> None:
    stage = stage_for(case.setting)
    stage.begin()
    try:
        for step in case.steps:
            step.play(stage)
    except BaseException:
        stage.abandon()
        raise
    stage.finish()


def test_there_are_enough_cases_and_each_has_a_name_of_its_own() -> None:
    assert len(CASES) >= 200
    assert len({(case.file, case.name) for case in CASES}) == len(CASES)
