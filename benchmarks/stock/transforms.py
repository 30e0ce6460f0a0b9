"""``json_fields``, ``redact``, ``substitute``, ``xml_to_json`` and ``json_to_xml``."""

from __future__ import annotations

from pathlib import Path

from pyrox.http.encoding import Encoder
from pyrox.http.message import Response
from stock import Row

JSON = b'{"user": {"name": "ada", "password": "x"}, "items": [%s]}' % b", ".join(
    [b'{"id": 17, "price": 5.5}'] * 8
)
XML = b"<order><user>ada</user>%s</order>" % (b"<item><id>17</id></item>" * 8)
PAGE = b"<p>the quick brown fox jumps over the lazy dog</p>\n" * 1300  # 64 KiB


def response_of(content_type: str, body: bytes, coding: str = "") -> Response:
    response = Response.from_head(200, "OK", "1.1", [])
    response.headers["Content-Type"] = content_type
    if coding:
        response.headers["Content-Encoding"] = coding
    response.body = Encoder([coding]).finish(body) if coding else body
    response.made_by = "upstream"
    return response


def json_of() -> Response:
    return response_of("application/json", JSON)


def image() -> Response:
    return response_of("image/png", b"x" * 250)


def xml() -> Response:
    return response_of("application/xml", XML)


def page() -> Response:
    return response_of("text/html", PAGE)


ZIPPED = response_of("text/html", PAGE, "gzip").read_body()
SQUEEZED = response_of("text/html", PAGE, "zstd").read_body()


def coded_page(coding: str, body: bytes) -> Response:
    response = response_of("text/html", body)
    response.headers["Content-Encoding"] = coding
    return response


def rows(folder: Path) -> list[Row]:
    literal, regex = "literal = brown => green,", "regex = br[a-z]{2}n => green,"
    return [
        Row("json_fields, one removed", "response_remove = user.password,", response=json_of),
        Row(
            "json_fields, selected and set",
            "response_select = user\nresponse_set = a = `1`,",
            response=json_of,
        ),
        Row("redact, two members", "fields = password, token", response=json_of),
        Row("redact, cards", "cards = yes", response=json_of),
        Row("substitute, an image", literal, response=image),
        Row("substitute, 64 KiB, literal", literal, response=page, calls=50),
        Row("substitute, 64 KiB, 1300 matches of a regex", regex, response=page, calls=20),
        Row("substitute, 64 KiB of gzip", literal, response=lambda: coded_page("gzip", ZIPPED), calls=20),
        Row("substitute, 64 KiB of zstd", literal, response=lambda: coded_page("zstd", SQUEEZED), calls=20),
        Row("xml_to_json, 0.3 KiB", "", response=xml),
        Row("json_to_xml, 0.3 KiB", "", response=json_of),
    ]
