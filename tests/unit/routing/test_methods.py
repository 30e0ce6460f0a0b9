"""Every method that a request could be taken for."""

from __future__ import annotations

from pyrox.http.message import Request
from pyrox.routing.methods import methods_of


def test_methods_are_those_that_anybody_may_see() -> None:
    assert methods_of(Request("GET", "/")) == ("GET",)
    fields = [
        ("X-HTTP-Method-Override", "delete"),
        ("x_http_method", " PUT "),
        ("X-Method-Override", "PATCH"),
        ("X.HTTP.Method", "LOCK"),
        ("X-Method", "MOVE"),
    ]
    assert methods_of(Request("POST", "/", fields)) == ("POST", "DELETE", "PUT", "PATCH", "LOCK")


def test_method_that_is_said_again_is_one() -> None:
    fields = [("X-HTTP-Method-Override", "POST"), ("X-HTTP-Method", "PUT"), ("X-Method-Override", "put")]
    assert methods_of(Request("POST", "/", fields)) == ("POST", "PUT")
