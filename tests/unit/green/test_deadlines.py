"""The coarse clock and its sweep."""

from __future__ import annotations

import pytest

from pyrox.errors import ClientTimeout
from pyrox.green.deadlines import NEVER, Deadlines
from tests.unit.green.rig import Rig


@pytest.mark.parametrize("seconds", [0.1, 0.25, 0.3, 1.0, 10.0, 3600.0])
def test_ticks_cover_the_time_whenever_the_first_tick_comes(seconds: float) -> None:
    clock = Deadlines()
    ticks = clock.ticks(seconds)
    # The first tick may come at once, so one interval of them counts for nothing.
    assert (ticks - 1) * clock.INTERVAL >= seconds
    assert (ticks - 2) * clock.INTERVAL < seconds
    clock.stop()


def test_no_time_out_is_a_deadline_that_never_comes() -> None:
    clock = Deadlines()
    assert clock.ticks(0) == NEVER
    assert clock.ticks(-1) == NEVER
    clock.stop()


def test_sweep_expires_the_late_and_no_other(rig: Rig) -> None:
    late, _ = rig.client()
    patient, other = rig.client()
    other.send(b"x")
    rig.clock.advance(3)
    with pytest.raises(ClientTimeout):
        late.receive(3)
    assert rig.clock.now == 3
    assert patient.receive(1) == b"x"


def test_streams_that_were_closed_are_forgotten(rig: Rig) -> None:
    stream, _ = rig.client()
    assert len(rig.clock) == 1
    stream.close()
    assert len(rig.clock) == 0


def test_stream_that_is_closed_by_another_s_end_survives_the_sweep(rig: Rig) -> None:
    """Both are late in the same sweep; waking the first closes the second."""
    one, _ = rig.client()
    two, _ = rig.client()
    for stream, other in ((one, two), (two, one)):
        stream.read_deadline = 1
        stream.unattended = lambda _, other=other: other.close()
    rig.clock.pass_by(2)
    assert [one.is_closed, two.is_closed].count(True) >= 1
