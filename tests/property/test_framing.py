"""Body lengths: for any field values the answer is a plain one or a refusal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyrox.errors import ClientError, UpstreamError
from pyrox.http.framing import CHUNKED, UNTIL_CLOSE, request_body_length, response_body_length

_lengths = st.one_of(
    st.sampled_from([b"0", b"5", b"05", b"5,5", b"+5", b"9223372036854775808", b""]),
    st.integers(0, 2**65).map(lambda n: b"%d" % n),
    st.binary(max_size=4),
)
_codings = st.one_of(
    st.sampled_from([b"chunked", b"Chunked", b"gzip", b"gzip, chunked", b"chunked, chunked", b"foo", b""]),
    st.binary(max_size=9),
)
_length_lists = st.lists(_lengths, max_size=3)
_coding_lists = st.one_of(st.just([]), st.lists(_codings, max_size=2))
_versions = st.sampled_from(["1.0", "1.1"])


def is_length(value: bytes) -> bool:
    return value != b"" and all(b in b"0123456789" for b in value) and int(value) < 2**63


@given(_length_lists, _coding_lists, _versions)
def test_request_has_a_body_only_when_one_field_says_so_plainly(
    lengths: list[bytes], codings: list[bytes], version: str
) -> None:
    try:
        length = request_body_length(lengths, codings, version)
    except ClientError as error:
        assert error.status in (400, 501)
        assert lengths or codings
    else:
        if length == CHUNKED:
            assert (lengths, version) == ([], "1.1")
            assert [coding.lower().strip(b" \t") for coding in codings] == [b"chunked"]
        elif lengths:
            assert codings == [] and len(lengths) == 1
            assert is_length(lengths[0]) and length == int(lengths[0])
        else:
            assert (codings, length) == ([], 0)


@given(st.integers(100, 599), st.sampled_from(["GET", "HEAD"]), _length_lists, _coding_lists, _versions)
def test_response_has_a_body_only_when_its_fields_agree(
    status: int, method: str, lengths: list[bytes], codings: list[bytes], version: str
) -> None:
    try:
        length = response_body_length(status, method, lengths, codings, version)
    except UpstreamError as error:
        assert error.status == 502
        assert lengths or codings
    else:
        if method == "HEAD" or status < 200 or status in (204, 304):
            assert length == 0
        elif length == CHUNKED:
            assert (lengths, version, len(codings)) == ([], "1.1", 1)
        elif length == UNTIL_CLOSE:
            assert lengths == codings == []
        else:
            assert codings == [] and all(map(is_length, lengths))
            assert {int(value) for value in lengths} == {length}
