"""``Transform``: whatever the body, its coding, its framing and its cuts: the same result."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pyrox import Flow, Response, ServerSentEvent, Transform
from pyrox.errors import ProxyError, UpstreamError
from pyrox.http.decoding import Decoder
from pyrox.http.encoding import Encoder
from pyrox.http.framing import ChunkedDecoder, ChunkLimits, encode_chunk, encode_last_chunk
from pyrox.testing import TestClient
from tests.property.messages import splits

CODINGS: list[tuple[str, ...]] = [(), ("gzip",), ("deflate",), ("br",), ("zstd",), ("zstd", "gzip")]


class Untouched(Transform):
    def on_response_event(self, event: ServerSentEvent, flow: Flow) -> ServerSentEvent:
        return event

    def on_response_line(self, line: str, flow: Flow) -> str:
        return line

    def on_response_text(self, text: str, flow: Flow) -> str:
        return text

    def on_response_json(self, value: Any, flow: Flow) -> Any:
        return value

    def on_response_bytes(self, chunk: bytes, flow: Flow) -> bytes:
        return chunk


class Marked(Untouched):
    def on_response_event(self, event: ServerSentEvent, flow: Flow) -> ServerSentEvent:
        event.data += "!"
        return event

    def on_response_line(self, line: str, flow: Flow) -> str:
        return line + "!"


bodies = st.one_of(
    st.binary(max_size=60),
    st.text("data: event\r\n:id\xe9", max_size=60).map(str.encode),
    st.sampled_from([b"\xef\xbb\xbf", b""]).flatmap(lambda mark: st.binary(max_size=9).map(mark.__add__)),
)
types = st.sampled_from(
    [
        *("text/event-stream", "text/plain", "application/xml", "application/octet-stream"),
        *("text/plain; charset=latin1", "text/plain; charset=shift_jis"),
    ]
)


def encoded(body: bytes, codings: tuple[str, ...]) -> bytes:
    return Encoder(codings).finish(body) if body else b""


def decoded(body: bytes, codings: tuple[str, ...]) -> bytes:
    decoder = Decoder(codings, ProxyError)
    plain = b"".join(decoder.decode(body))
    decoder.finish()
    return plain


def sent(
    transform: type[Transform], content_type: str, codings: tuple[str, ...], chunks: list[bytes]
) -> bytes:
    head = {"Content-Type": content_type, "Content-Encoding": ", ".join(codings) or "identity"}
    return decoded(TestClient(transform, Response(200, chunks, head)).get("/").body, codings)


def unframed(wire: list[bytes]) -> list[bytes]:
    decoder = ChunkedDecoder(UpstreamError, ChunkLimits())
    return [decoder.feed(piece) for piece in wire]


@given(bodies, types, st.sampled_from(CODINGS), st.data())
def test_untouched_body_is_byte_equal_however_it_is_cut_and_framed(
    body: bytes, content_type: str, codings: tuple[str, ...], data: st.DataObject
) -> None:
    if body.startswith((b"\xff\xfe", b"\xfe\xff")) and "octet" not in content_type:
        return  # UTF-16, of which not every sequence of bytes is text
    wire = encoded(body, codings)
    chunks = data.draw(splits(wire))
    assert sent(Untouched, content_type, codings, chunks) == body
    framed = b"".join([encode_chunk(chunk) for chunk in chunks if chunk]) + encode_last_chunk([])
    assert sent(Untouched, content_type, codings, unframed(data.draw(splits(framed)))) == body
    by_bytes = [framed[at : at + 1] for at in range(len(framed))]
    assert sent(Untouched, content_type, codings, unframed(by_bytes)) == body


@given(st.text("data: e\r\n:id\xe9", max_size=80), types, st.sampled_from(CODINGS), st.data())
def test_changed_body_is_the_same_however_it_is_cut(
    text: str, content_type: str, codings: tuple[str, ...], data: st.DataObject
) -> None:
    wire = encoded(text.encode(), codings)
    whole = sent(Marked, content_type, codings, [wire])
    assert sent(Marked, content_type, codings, data.draw(splits(wire))) == whole
    assert sent(Marked, content_type, codings, [wire[at : at + 1] for at in range(len(wire))]) == whole
