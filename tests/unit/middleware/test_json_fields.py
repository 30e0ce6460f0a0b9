"""``json_fields``: choosing, removing and setting members of documents."""

from __future__ import annotations

from typing import Any

import pytest

from pyrox import Response
from pyrox.middleware.json_fields import JsonFields
from pyrox.testing import TestClient
from tests.unit.middleware.transforms import TEXT

DOCUMENT = {
    "user": {"name": "ada", "password": "x"},
    "items": [{"id": 1, "price": 5, "secret": "a"}, {"id": 2, "price": 9, "secret": "b"}],
    "by name": {"one": {"n": 1}, "two": {"n": 2}},
}


def changed(document: Any = DOCUMENT, status: int = 200, **options: Any) -> Any:
    answer = TestClient((JsonFields, options), Response.json_of(document, status)).get("/")
    assert answer.status == status
    return answer.json()


@pytest.mark.parametrize(
    ("place", "document", "left"),
    [
        ("user.password", DOCUMENT, {**DOCUMENT, "user": {"name": "ada"}}),
        ("items[*].[secret]", DOCUMENT, None),
        (
            "items[*].secret",
            {"items": [{"secret": 1, "a": 1}, 5, {"b": 1}]},
            {"items": [{"a": 1}, 5, {"b": 1}]},
        ),
        ("items[0]", {"items": [1, 2]}, {"items": [2]}),
        ("items[-1]", {"items": [1, 2]}, {"items": [1]}),
        ("items[*]", {"items": [1, 2, 3]}, {"items": []}),
        ("items[?id > `1`]", {"items": [{"id": 1}, {"id": 2}, {"id": 3}]}, {"items": [{"id": 1}]}),
        ("items[?id > `1`].a.b", {"items": [{"id": 2, "a": {"b": 1}}]}, {"items": [{"id": 2, "a": {}}]}),
        ('"by name".*.n', {"by name": DOCUMENT["by name"]}, {"by name": {"one": {}, "two": {}}}),
        ("[*].a", [{"a": 1}, {"b": 2}], [{}, {"b": 2}]),
        ("*", {"a": 1, "b": 2}, {}),
        ("a[*].b[0].c", {"a": [{"b": [{"c": 1, "d": 2}]}]}, {"a": [{"b": [{"d": 2}]}]}),
        ("no.such.place", {"no": {}}, {"no": {}}),
        ("a.b", {"a": [1]}, {"a": [1]}),
        ("a", [1], [1]),
    ],
)
def test_what_is_at_a_place_is_removed(place: str, document: Any, left: Any) -> None:
    if left is None:
        with pytest.raises(ValueError, match=r"response_remove: .* names no place"):
            changed(document, response_remove=[place])
    else:
        assert changed(document, response_remove=[place]) == left


def test_members_are_set_to_what_an_expression_makes_of_the_document() -> None:
    result = changed(
        {"items": [{"id": 1}, {"id": 2}]},
        response_set=[
            "meta.count = length(items)",
            "meta.by = 'pyrox'",
            "items[*].ok = `true`",
            "items[5].x = `1`",
        ],
    )
    assert result == {
        "items": [{"id": 1, "ok": True}, {"id": 2, "ok": True}],
        "meta": {"count": 2, "by": "pyrox"},
    }


def test_document_is_selected_from_then_removed_from_then_set_in() -> None:
    result = changed(
        response_select="{user: user, total: sum(items[*].price)}",
        response_remove=["user.password"],
        response_set=["names = keys(user)"],
    )
    assert result == {"user": {"name": "ada"}, "total": 14, "names": ["name"]}


def test_document_of_an_error_only_loses_what_is_removed() -> None:
    options = {"response_select": "a", "response_set": ["b = `1`"]}
    assert changed({"a": 1, "secret": 2}, 404, **options) == {"a": 1, "secret": 2}
    assert changed({"a": 1, "secret": 2}, 404, **options, response_remove=["secret"]) == {"a": 1}


def test_requests_are_edited_and_only_on_the_side_that_has_options() -> None:
    client = TestClient((JsonFields, {"request_set": ["tenant = 'acme'"]}), Response.json_of({"a": 1}))
    assert client.post("/", json={"x": 1}, headers={"Range": "bytes=0-"}).json() == {"a": 1}
    assert client.upstream_requests[-1].json() == {"x": 1, "tenant": "acme"}
    assert "range" in client.upstream_requests[-1].headers
    assert client.post("/", body="{", headers={"Content-Type": "application/json"}).status == 400
    client.post("/", body="{", headers=TEXT)
    assert client.upstream_requests[-1].body == b"{"


def test_document_that_an_expression_cannot_work_on_is_its_senders_fault() -> None:
    options = {"request_set": ["n = length(a)"], "response_set": ["n = length(a)"]}
    client = TestClient((JsonFields, options), Response.json_of({"a": 1}))
    assert client.post("/", json={"a": 1}).status == 400
    assert client.post("/", json={"a": []}).status == 502


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "response_set: nothing to do"),
        ({"response_select": "a..b"}, "response_select: 'a..b' is no JMESPath expression"),
        ({"request_remove": ["length(a)"]}, "request_remove: 'length\\(a\\)' names no place"),
        ({"request_remove": ["a[]"]}, "names no place in a document: flatten"),
        ({"request_remove": ["@"]}, "names no place"),
        ({"request_remove": ["a["]}, "request_remove: 'a\\[' is no JMESPath expression"),
        ({"response_set": ["a"]}, "response_set: 'a' is not 'place = expression'"),
        ({"response_set": ["a = b c"]}, "response_set: 'b c' is no JMESPath expression"),
        ({"response_select": "a", "limit": 0}, "limit: 0 is less than 1"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        TestClient((JsonFields, options))
