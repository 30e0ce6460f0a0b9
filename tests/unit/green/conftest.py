"""What every test of the green layer needs."""

from __future__ import annotations

from collections.abc import Iterator

import gevent
import pytest

from tests.unit.green.bench import received
from tests.unit.green.rig import Rig


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    with gevent.Timeout(10, AssertionError("the test waits for something that does not come")):
        yield rig
        rig.close()


@pytest.fixture(autouse=True)
def nothing_received() -> Iterator[None]:
    received.clear()
    yield
    received.clear()
