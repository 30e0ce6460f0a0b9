"""``xml_to_json`` and ``json_to_xml``: documents of one kind for who expects the other.

An element becomes a member by its name, without its namespace; attributes are members that begin with
``@``; text beside them is ``#text``; elements of one name are a list; an element without anything is null.
``json_to_xml`` is the way back.

XML that a stranger sends is code: entities that unfold to gigabytes, declarations that read files. So
there is no document type declaration at all, and nesting ends somewhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from xml.sax.saxutils import escape, quoteattr

from pyrox.errors import ClientError, ProxyError, UpstreamError
from pyrox.http.charset import codec_of
from pyrox.http.message import Request, Response
from pyrox.http.strict_json import MOST_LEVELS, dump_json
from pyrox.middleware.base import App
from pyrox.middleware.extras import require
from pyrox.middleware.transform import Flow, Transform

On = Literal["response", "request", "both"]

_XML_TYPES = ("application/xml", "text/xml", "application/*+xml")

# XML 1.0, productions 4 and 2; a colon would be a namespace's.
_is_name = re.compile(r"[A-Za-z_\u00c0-\ud7ff][\w.\-\u00b7\u00c0-\ud7ff]*", re.ASCII).fullmatch
# XML 1.0, productions 23 and 80, behind a byte order mark if there is one.
_find_encoding = re.compile(
    rb"""[^<]{0,3}<\?xml\s[^>]*?\sencoding\s*=\s*["']([A-Za-z][A-Za-z0-9._-]*)["']"""
).match
_has_forbidden = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]").search


class _Conversion(Transform):
    """What both share."""

    wanted: str  # the media type that upstream is asked for
    made: str  # the one that comes out

    def __init__(self, app: App, on: On = "response", limit: int = 1 << 20) -> None:
        super().__init__(app)
        if limit < 1:
            raise ValueError(f"limit: {limit} is less than 1")
        self.limit = limit
        self.sides = ("request", "response") if on == "both" else (on,)

    def __call__(self, request: Request) -> Response:
        if "response" in self.sides:
            request.headers["Accept"] = self.wanted
        return super().__call__(request)

    def _start(self, flow: Flow) -> None:
        flow.message.headers["Content-Type"] = self.made

    on_request_start = on_response_start = _start


class XmlToJson(_Conversion):
    """Makes JSON of XML bodies.

    * ``on``: ``response`` (the default), ``request`` or ``both``. For responses, upstream is asked for XML.
    * ``limit``: the longest document, in bytes. Default 1 MiB.

    Document type declarations, entities and more than 128 levels are refused: 400, or 502.
    """

    wanted, made = "application/xml", "application/json"
    types: Mapping[str, Sequence[str]] = {"body": _XML_TYPES}

    def __init__(self, app: App, on: On = "response", limit: int = 1 << 20) -> None:
        super().__init__(app, on, limit)
        self._library = require("defusedxml.ElementTree", "xml")

    def on_request_body(self, body: bytes, flow: Flow) -> bytes:
        return self._convert(body, flow, ClientError)

    def on_response_body(self, body: bytes, flow: Flow) -> bytes:
        return self._convert(body, flow, UpstreamError)

    def _convert(self, body: bytes, flow: Flow, error: type[ProxyError]) -> bytes:
        declared = _declared_encoding(body)
        if declared is not None and codec_of(declared) is None:
            raise error("the body is XML in an encoding that is not known")
        parser = self._library.XMLParser(target=_ObjectBuilder(), forbid_dtd=True)
        try:
            parser.feed(body)
            document = parser.close()
        # ParseError is a SyntaxError; defusedxml's, and those of unknown encodings, are ValueErrors.
        except (SyntaxError, ValueError, LookupError) as fault:
            raise error(f"the body cannot be read as XML: {fault!r}") from fault
        return dump_json(document)


def _declared_encoding(body: bytes) -> str | None:
    is_wide = b"\0" in body[:4]  # UTF-16, of which the declaration's every other byte is 0
    found = _find_encoding(body.replace(b"\0", b"") if is_wide else body)
    return found[1].decode() if found else None


class JsonToXml(_Conversion):
    """Makes XML of JSON bodies.

    * ``on``: ``response`` (the default), ``request`` or ``both``. For responses, upstream is asked for JSON.
    * ``root``: the name of the root element, when the document is not an object of one member. Default
      ``root``.
    * ``limit``: the longest document, in bytes. Default 1 MiB.

    A document whose names or characters XML cannot hold is refused: 400, or 502.
    """

    wanted, made = "application/json", "application/xml"

    def __init__(self, app: App, on: On = "response", root: str = "root", limit: int = 1 << 20) -> None:
        super().__init__(app, on, limit)
        if not _is_name(root):
            raise ValueError(f"root: {root!r} is no name of an XML element")
        self._root = root

    def on_request_json(self, document: Any, flow: Flow) -> Any:
        return self._convert(document, flow, ClientError)

    def on_response_json(self, document: Any, flow: Flow) -> Any:
        return self._convert(document, flow, UpstreamError)

    def _convert(self, document: Any, flow: Flow, error: type[ProxyError]) -> bytes:
        name, value = self._root, document
        if isinstance(document, dict) and len(document) == 1:
            [(only, inner)] = document.items()
            if not isinstance(inner, list) and only[:1] not in ("@", "#"):
                name, value = only, inner
        made: list[str] = ['<?xml version="1.0" encoding="UTF-8"?>\n']
        try:
            _write_element(made, name, {"item": value} if isinstance(value, list) else value)
        except ValueError as fault:
            raise error(f"the body cannot be written as XML: {fault}") from fault
        return "".join(made).encode()


class _ObjectBuilder:
    """What the XML parser tells of elements and text, as objects and lists."""

    def __init__(self) -> None:
        self._open: list[tuple[str, dict[str, Any], list[str]]] = []
        self._document: dict[str, Any] = {}

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if len(self._open) == MOST_LEVELS - 2:  # the document is a level itself, and a list may be one
            raise ValueError(f"it is nested deeper than {MOST_LEVELS} levels")
        members: dict[str, Any] = {f"@{_local(name)}": value for name, value in attributes.items()}
        self._open.append((_local(tag), members, []))

    def data(self, text: str) -> None:
        self._open[-1][2].append(text)

    def end(self, tag: str) -> None:
        name, members, texts = self._open.pop()
        text = "".join(texts).strip()
        value: Any = members
        if not members:
            value = text or None
        elif text:
            members["#text"] = text
        outer = self._open[-1][1] if self._open else self._document
        if name not in outer:
            outer[name] = value
        elif isinstance(outer[name], list):
            outer[name].append(value)
        else:
            outer[name] = [outer[name], value]

    def close(self) -> dict[str, Any]:
        return self._document


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _write_element(made: list[str], name: str, value: Any) -> None:
    if not _is_name(name):
        raise ValueError(f"{name!r} is no name of an XML element")
    if isinstance(value, list):
        for item in value:
            _write_element(made, name, {"item": item} if isinstance(item, list) else item)
        return
    members = value if isinstance(value, dict) else {"#text": value}
    made += "<", name
    for member, inner in members.items():
        if member.startswith("@"):
            if not _is_name(member[1:]):
                raise ValueError(f"{member!r} is no name of an XML attribute")
            made += " ", member[1:], "=", quoteattr(_text_of(inner))
    made.append(">")
    for member, inner in members.items():
        if member == "#text":
            made.append(escape(_text_of(inner)))
        elif not member.startswith("@"):
            _write_element(made, member, inner)
    made += "</", name, ">"


def _text_of(value: Any) -> str:
    if isinstance(value, (dict, list)):
        raise ValueError("an attribute or a text is an object or a list")
    if value is None:
        return ""
    text = value if isinstance(value, str) else dump_json(value).decode()
    if _has_forbidden(text):
        raise ValueError("a text has a character that XML does not")
    return text
