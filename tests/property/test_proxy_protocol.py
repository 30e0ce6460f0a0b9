"""PROXY protocol headers: cuts do not matter, what was written is read, only ``ClientError`` escapes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyrox.errors import ClientError
from pyrox.http.proxy_protocol import UNIX, Endpoint, HeaderReader, ProxyHeader, encode_header
from tests.property.messages import mutated, splits

_addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6).filter(lambda a: a.ipv4_mapped is None))
endpoints = st.tuples(_addresses.map(str), st.integers(0, 65535))
versions = st.sampled_from(["v1", "v2"])
tlvs = st.builds(
    lambda kind, value: bytes((kind,)) + len(value).to_bytes(2, "big") + value,
    st.sampled_from([0x01, 0x02, 0x03, 0x04, 0x20, 0xE0]),
    st.binary(max_size=20),
)


@st.composite
def headers(draw: st.DrawFn) -> bytes:
    """A header of either version; one of version 2 may have TLVs, right or wrong."""
    ends = st.one_of(st.none(), st.just(UNIX), endpoints)
    raw = encode_header(draw(versions), draw(ends), draw(ends))
    if raw.startswith(b"PROXY"):
        return raw
    extension = b"".join(draw(st.lists(tlvs, max_size=3)))
    length = int.from_bytes(raw[14:16], "big") + len(extension)
    return raw[:14] + length.to_bytes(2, "big") + raw[16:] + extension


streams = st.builds(
    lambda header, rest: header + rest,
    st.one_of(headers(), mutated(headers()), st.binary(max_size=40)),
    st.one_of(st.just(b""), st.just(b"GET / HTTP/1.1\r\n"), st.binary(max_size=200)),
)


def outcome_of(pieces: list[bytes]) -> tuple[ProxyHeader, int] | str | None:
    """The header and its length; None when more is needed; why it is refused."""
    reader, length = HeaderReader(), 0
    try:
        for piece in pieces:
            taken = reader.feed(piece)
            length += taken
            assert 0 <= taken <= len(piece)
            assert reader.header is not None or taken == len(piece)
    except ClientError:
        return "refused"
    return (reader.header, length) if reader.header is not None else None


@given(streams, st.data())
def test_cuts_do_not_change_what_is_read_or_refused(stream: bytes, data: st.DataObject) -> None:
    whole = outcome_of([stream])
    assert outcome_of(data.draw(splits(stream))) == whole
    assert outcome_of([stream[i : i + 1] for i in range(len(stream))]) == whole


@given(versions, endpoints, endpoints, st.binary(max_size=20))
def test_what_was_written_is_read(version: str, source: Endpoint, destination: Endpoint, rest: bytes) -> None:
    raw = encode_header(version, source, destination)
    assert outcome_of([raw + rest]) == (ProxyHeader(source, destination), len(raw))
    assert len(raw) <= 107


@given(streams)
def test_what_was_read_reads_the_same_when_written_again(stream: bytes) -> None:
    outcome = outcome_of([stream])
    if isinstance(outcome, tuple):
        header = outcome[0]
        for version in ("v1", "v2"):
            raw = encode_header(version, header.source, header.destination)
            again = outcome_of([raw])
            assert isinstance(again, tuple)
            if header.source != UNIX or version == "v2":
                assert (again[0].source, again[0].destination) == (header.source, header.destination)


@given(streams)
def test_what_is_refused_is_refused_whatever_follows(stream: bytes) -> None:
    if outcome_of([stream]) == "refused":
        assert outcome_of([stream + b"\r\n"]) == "refused"
