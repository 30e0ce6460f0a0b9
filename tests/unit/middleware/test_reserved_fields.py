"""Fields that middleware keep for themselves, wherever in the configuration the middleware stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pyrox.config import parse_settings
from pyrox.http.message import Response
from pyrox.middleware import App, Middleware
from pyrox.middleware.stack import reserved_fields
from pyrox.testing import TestClient

HERE = __name__


class Reserves(Middleware):
    def __init__(self, app: App, header: str = "X-Default", more: Iterable[str] = ()) -> None:
        super().__init__(app)
        raise_if_bad(header)

    @classmethod
    def reserved_fields(cls, options: Mapping[str, Any]) -> Iterable[str]:
        return [options["header"], *options["more"]]


def raise_if_bad(header: str) -> None:
    if " " in header:
        raise ValueError(f"header: {header!r} is no name")


def reserved(text: str) -> frozenset[bytes]:
    return reserved_fields(parse_settings(text))


def test_names_of_every_stack_are_reserved_with_defaults() -> None:
    text = f"""
    [middleware]
    stack = first, headers
    [[first]]
    class = {HERE}.Reserves
    [[second]]
    class = {HERE}.Reserves
    header = X_Second
    more = X-Third, X-Fourth
    [[unused]]
    class = {HERE}.Reserves
    header = X-Unused
    [routes]
    [[a]]
    match = Path(`/a`)
    cluster = http://10.0.0.1
    stack = second
    [[b]]
    match = Path(`/b`)
    cluster = http://10.0.0.1
    """
    assert reserved(text) == {b"x-default", b"x-second", b"x-third", b"x-fourth"}


def test_faults_of_the_stack_are_left_to_those_that_report_them() -> None:
    text = f"""
    [middleware]
    stack = unknown, first, second, third
    [[first]]
    class = {HERE}.Missing
    [[second]]
    class = {HERE}.Reserves
    no_such_option = 1
    [[third]]
    class = {HERE}.Reserves
    header = no name
    """
    assert reserved(text) == {b"no-name"}
    assert reserved("") == frozenset()


def test_route_that_does_not_authenticate_passes_nobodys_claims_on() -> None:
    client = TestClient.from_config(
        f"""
        [routes]
        [[a]]
        match = PathPrefix(`/a`)
        cluster = http://10.0.0.1
        stack = reserves,
        [[b]]
        match = PathPrefix(`/b`)
        cluster = http://10.0.0.1
        [middleware]
        [[reserves]]
        class = {HERE}.Reserves
        """,
        upstream=Response(200),
    )
    for path in ("/a", "/b"):
        assert (
            client.get(path, headers={"x-default": "root", "X_Default": "root", "X-Other": "1"}).status == 200
        )
        assert "x-default" not in client.upstream_requests[-1].headers
        assert client.upstream_requests[-1].headers["x-other"] == "1"
