"""How long hypothesis searches: the same few thousand examples each time, or many new ones by hand."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

_COMMON = {"deadline": None, "database": None, "suppress_health_check": [HealthCheck.too_slow]}

settings.register_profile("explore", max_examples=20_000, **_COMMON)  # type: ignore[arg-type]
settings.register_profile("bounded", max_examples=300, derandomize=True, **_COMMON)  # type: ignore[arg-type]


def pytest_configure(config: object) -> None:
    if not config.getoption("--hypothesis-profile", None):  # type: ignore[attr-defined]
        settings.load_profile("bounded")
