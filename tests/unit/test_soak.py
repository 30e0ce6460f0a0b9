"""What the programs under tests/soak say when something is wrong."""

from __future__ import annotations

import pytest

from tests.soak.network import judged


def test_every_fault_is_told_where_the_acts_are_and_makes_the_status(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert judged(lambda: ["descriptors: 90, were 27"]) == 1
    assert capsys.readouterr().out == "FAILED: descriptors: 90, were 27\n1 times not as it should be\n"
    assert judged(list) == 0
    assert capsys.readouterr().out == "all is as it should be\n"


@pytest.mark.parametrize("error", [RuntimeError("no answer at all"), SystemExit(1), KeyboardInterrupt()])
def test_a_performance_that_breaks_off_says_so_where_the_acts_are(
    error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    def perform() -> list[str]:
        raise error

    with pytest.raises(type(error)):
        judged(perform)
    assert capsys.readouterr().out == f"FAILED: it broke off with {error!r}\n"
