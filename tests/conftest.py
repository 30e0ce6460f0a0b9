"""Hooks for all tests: a test that fails shows what the proxies it used have logged."""

from __future__ import annotations

from collections.abc import Generator

import pytest

# Before these are imported: their asserts, too, say what was compared.
pytest.register_assert_rewrite("tests.conformance", "tests.support")

from tests.support import proxy  # noqa: E402


def pytest_runtest_setup(item: pytest.Item) -> None:
    proxy.recent[:] = [one for one in proxy.recent if one.is_running]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for one in proxy.recent:
            report.sections.append((f"log of the proxy on port {one.port}", one.error_log()))
    return report
