"""``xml_to_json`` and ``json_to_xml``: there and back, and what a stranger's XML may not do."""

from __future__ import annotations

import encodings
from typing import Any

import pytest

from pyrox import Response
from pyrox.middleware.xml_conversion import JsonToXml, XmlToJson
from pyrox.testing import TestClient
from tests.unit.middleware.transforms import JSON

XML = {"Content-Type": "application/xml"}

PAIRS = [
    (b"<a/>", {"a": None}),
    (b"<a>text</a>", {"a": "text"}),
    (b'<a b="1"><c>2</c></a>', {"a": {"@b": "1", "c": "2"}}),
    (b"<a><b>1</b><b>2</b><b/></a>", {"a": {"b": ["1", "2", None]}}),
    (b'<a x="&lt;&quot;">&amp;&#233;</a>', {"a": {"@x": '<"', "#text": "&é"}}),
]


def as_json(body: bytes, **options: Any) -> Any:
    answer = TestClient((XmlToJson, options), Response(200, body, XML)).get("/")
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


@pytest.mark.parametrize(("xml", "document"), PAIRS)
def test_xml_becomes_json_and_json_xml_that_says_the_same(xml: bytes, document: Any) -> None:
    assert as_json(xml) == document
    answer = TestClient(JsonToXml, Response.json_of(document)).get("/")
    assert answer.headers["content-type"] == "application/xml"
    assert answer.body.startswith(b'<?xml version="1.0" encoding="UTF-8"?>\n<a')
    assert as_json(answer.body) == document


def test_names_are_local_and_space_between_elements_is_nothing() -> None:
    xml = b'<s:a xmlns:s="urn:x" xmlns="urn:y">\n <b s:c="1"/>\n <!-- x --><?y z?></s:a>'
    assert as_json(xml) == {"a": {"b": {"@c": "1"}}}


def test_encoding_of_the_declaration_is_heeded() -> None:
    assert as_json('<?xml version="1.0" encoding="ISO-8859-1"?><a>é</a>'.encode("latin-1")) == {"a": "é"}
    assert as_json('<?xml version="1.0" encoding="UTF-16"?><a>é</a>'.encode("utf-16")) == {"a": "é"}


@pytest.mark.parametrize("charset", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_encodings_that_nobody_knows_leave_nothing_behind(charset: str) -> None:
    """Python keeps the names that it is asked for, and a client could send any number of them."""
    client = TestClient((XmlToJson, {"on": "request"}))
    known = set(encodings._cache)  # type: ignore[attr-defined]
    for number in range(20):
        xml = f"<?xml  version='1.0'\n encoding = 'unheard-of-{number}' ?><a/>".encode(charset)
        assert client.post("/", body=xml, headers=XML).status == 400
    assert not [name for name in set(encodings._cache) - known if "unheard" in name]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("document", "xml"),
    [
        ({"a": 1, "b": [True, 1.5]}, b"<root><a>1</a><b>true</b><b>1.5</b></root>"),
        ([1, {"a": 2}], b"<root><item>1</item><item><a>2</a></item></root>"),
        ({"a": [1, 2]}, b"<root><a>1</a><a>2</a></root>"),
        ({"a": [[1, 2], 3]}, b"<root><a><item>1</item><item>2</item></a><a>3</a></root>"),
        (None, b"<root></root>"),
        ({"#text": "x"}, b"<root>x</root>"),
    ],
)
def test_document_without_one_root_gets_one(document: Any, xml: bytes) -> None:
    answer = TestClient(JsonToXml, Response.json_of(document)).get("/")
    assert answer.body.partition(b"\n")[2] == xml


def test_both_ways_for_an_upstream_that_knows_xml_only() -> None:
    stack = [(XmlToJson, {}), (JsonToXml, {"on": "request"})]
    client = TestClient(stack, Response(200, b"<done/>", XML))
    assert client.post("/", json={"order": {"id": 1}}, headers={"Accept": "application/json"}).json() == {
        "done": None
    }
    sent = client.upstream_requests[-1]
    assert sent.body == b'<?xml version="1.0" encoding="UTF-8"?>\n<order><id>1</id></order>'
    assert (sent.headers["content-type"], sent.headers["accept"]) == ("application/xml", "application/xml")


def test_head_says_what_get_would() -> None:
    answer = TestClient(XmlToJson, Response(200, b"", XML)).head("/")
    assert answer.headers["content-type"] == "application/json"


LAUGHS = (
    b"""<!DOCTYPE lolz [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]><a>&c;</a>"""
)


@pytest.mark.parametrize(
    "xml",
    [
        LAUGHS,
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        b'<!DOCTYPE a SYSTEM "http://127.0.0.1/a.dtd"><a/>',
        b'<!DOCTYPE a [<!ENTITY % p SYSTEM "http://127.0.0.1/">%p;]><a/>',
        b"<!DOCTYPE a><a/>",
        b"<a>&x;</a>",
        b"<a>",
        b"<a></b>",
        b"<a/><b/>",
        b"text",
        b"<a>\x00</a>",
        b"<a>\xff</a>",
        b'<?xml version="1.0" encoding="x-none"?><a/>',
        b'<a b="1" b="2"/>',
        b"<a>" * 128 + b"</a>" * 128,
        b"<a>" * 300_000,
        b"<a/>" + b" " * (1 << 20),
    ],
)
def test_xml_that_does_more_than_say_something_is_refused(xml: bytes) -> None:
    client = TestClient((XmlToJson, {"on": "both"}), Response(200, xml, XML))
    assert client.get("/").status == 502
    assert client.post("/", body=xml, headers=XML).status == (413 if len(xml) > 1 << 20 else 400)


@pytest.mark.parametrize(
    "document",
    [
        {"a b": 1, "c": 2},
        {"<x>": 1},
        {"a": {"@b c": 1}},
        {"a": {"@b": [1]}},
        {"a": {"#text": {}}},
        {"a": "\x00"},
        {"a": "\ud800"},
        {"a": {"": 1}},
        {"a:b": 1},
    ],
)
def test_json_that_xml_cannot_hold_is_refused(document: Any) -> None:
    client = TestClient((JsonToXml, {"on": "both"}), Response.json_of(document))
    assert client.get("/").status == 502
    assert client.post("/", json=document).status == 400


def test_text_cannot_become_markup() -> None:
    answer = TestClient(JsonToXml, Response.json_of({"a": {"@b": '"/><x>', "#text": "]]></a><x/>"}})).get("/")
    assert as_json(answer.body) == {"a": {"@b": '"/><x>', "#text": "]]></a><x/>"}}


@pytest.mark.parametrize(
    ("middleware", "options", "problem"),
    [
        (JsonToXml, {"root": "a b"}, "root: 'a b' is no name"),
        (JsonToXml, {"limit": 0}, "limit: 0"),
        (XmlToJson, {"limit": 0}, "limit: 0"),
    ],
)
def test_bad_options_are_named(middleware: Any, options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        TestClient((middleware, options))


def test_other_types_pass() -> None:
    assert (
        TestClient(XmlToJson, Response(200, b"<a/>", {"Content-Type": "text/html"})).get("/").body == b"<a/>"
    )
    assert TestClient(JsonToXml, Response(200, b"<a/>", XML)).get("/").body == b"<a/>"
    assert TestClient(XmlToJson, Response(200, b"{}", JSON)).get("/").body == b"{}"
