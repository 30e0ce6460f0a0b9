"""``ChunkedDecoder``: cuts do not matter, what was encoded comes back, only its own error escapes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyrox.errors import ProxyError, UpstreamError
from pyrox.http.framing import ChunkedDecoder, ChunkLimits, encode_chunk, encode_last_chunk
from pyrox.http.headers import Field
from tests.property.messages import chunked_bodies, mutated, splits

# Small enough that the limits are met too.
LIMITS = ChunkLimits(extension=12, extensions_total=20, trailer_size=40, trailer_fields=2)

hostile_bodies = st.one_of(chunked_bodies(), mutated(chunked_bodies()), st.binary(max_size=60))

_token = st.text("abcXYZ019!#$%&'*+-.^_`|~", min_size=1, max_size=12).map(str.encode)
_value = st.binary(max_size=20).map(lambda raw: bytes(b for b in raw if b == 9 or (b >= 32 and b != 127)))
fields = st.builds(lambda name, value: (name.lower(), name, value.strip(b" \t")), _token, _value)


def decode(pieces: list[bytes], limits: ChunkLimits) -> tuple[bytes, bool, list[Field], bytes] | None:
    """Everything a decoder says of ``pieces``; None when it refuses them."""
    decoder = ChunkedDecoder(UpstreamError, limits)
    try:
        payload = b"".join([decoder.feed(piece) for piece in pieces])
    except UpstreamError:
        return None
    return payload, decoder.is_complete, decoder.trailers, decoder.leftover


@given(hostile_bodies, st.data(), st.sampled_from([LIMITS, ChunkLimits()]))
def test_cuts_do_not_change_what_is_decoded_or_refused(
    body: bytes, data: st.DataObject, limits: ChunkLimits
) -> None:
    whole = decode([body], limits)
    assert decode(data.draw(splits(body)), limits) == whole
    assert decode([body[i : i + 1] for i in range(len(body))], limits) == whole


@given(st.lists(st.binary(max_size=300)), st.lists(fields, max_size=3), st.binary(max_size=20), st.data())
def test_what_was_encoded_is_decoded(
    pieces: list[bytes], trailers: list[Field], rest: bytes, data: st.DataObject
) -> None:
    wire = b"".join([encode_chunk(piece) for piece in pieces]) + encode_last_chunk(trailers) + rest
    decoded = decode(data.draw(splits(wire)), ChunkLimits())
    assert decoded == (b"".join(pieces), True, trailers, rest)


@given(hostile_bodies)
def test_what_was_decoded_is_the_same_when_encoded_again(body: bytes) -> None:
    decoded = decode([body], ChunkLimits())
    if decoded is not None and decoded[1]:
        payload, _, trailers, _ = decoded
        again = encode_chunk(payload) + encode_last_chunk(trailers)
        assert decode([again], ChunkLimits()) == (payload, True, trailers, b"")


@given(st.lists(hostile_bodies, max_size=4))
def test_a_decoder_raises_nothing_but_its_error_and_never_recovers(pieces: list[bytes]) -> None:
    decoder = ChunkedDecoder(UpstreamError, LIMITS)
    has_failed = False
    for piece in pieces:
        try:
            decoder.feed(piece)
        except ProxyError as error:
            has_failed = True
            assert type(error) is UpstreamError
        else:
            assert not has_failed
    assert not (has_failed and decoder.is_complete)
