"""Bytes to try: messages put together from parts where parsers are known to differ, and mutations.

In every list the plain parts come first and often, so that most messages have at most one or two
faults: one fault hides the next.
"""

from __future__ import annotations

from hypothesis import strategies as st

_METHODS = [b"GET"] * 8 + [b"POST"] * 8 + [b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"PATCH", b"QUERY"]
_ODD_METHODS = [b"CONNECT", b"BREW", b"get", b"G(T", b"", b"PRI", b"DESCRIBE", b"M-SEARCH", b" GET"]
_TARGETS = [b"/"] * 8 + [b"/a?b=c", b"*", b"http://a/x", b"/%20"]
_ODD_TARGETS = [
    b"",
    b"a",
    b"//",
    b"/a b",
    b"/\xe4",
    b"/#f",
    b"ftp://a/",
    b"http:///",
    b"a:80",
    b"/\x00",
    b"/\t",
]
_VERSIONS = [b"HTTP/1.1"] * 12 + [b"HTTP/1.0"] * 2
_ODD_VERSIONS = [
    b"HTTP/2.0",
    b"HTTP/1.2",
    b"HTTP/0.9",
    b"http/1.1",
    b"HTTP/1.10",
    b"HTTP/11",
    b"",
    b"ICE/1.0",
]
_STATUSES = [b"200 OK"] * 10 + [b"204 No Content", b"304 Not Modified", b"404 Nope", b"500 ", b"100 Continue"]
_ODD_STATUSES = [
    b"200",
    b"099 x",
    b"600 x",
    b"20 x",
    b"2000 x",
    b"+20 x",
    b"200 a\x01",
    b"200\tOK",
    b"200  OK",
]
_LINE_ENDS = [b"\r\n"] * 120 + [b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n "]

_PLAIN_FIELDS = [
    b"X-A: 1",
    b"x-b:2",
    b"X-C: \t3 ",
    b"X-D:",
    b"X-E: \xe4\xff",
    b"Connection: close",
    b"X-A: 4",
]
_LENGTHS = [b"Content-Length: 5"] * 6 + [b"content-length:5", b"Content-Length: 0", b"Content-Length: 005"]
_CODINGS = [b"Transfer-Encoding: chunked"] * 6 + [
    b"transfer-encoding:Chunked",
    b"TRANSFER-ENCODING: chunked \t",
]
_ODD_FIELDS = [
    b"Content-Length: 5, 5",
    b"Content-Length: 6",
    b"Content-Length: +5",
    b"Content-Length: -5",
    b"Content-Length: 0x5",
    b"Content-Length: 5_0",
    b"Content-Length:",
    b"Content-Length: 5 5",
    b"Content-Length: 9223372036854775808",
    b"Content-Length: 18446744073709551621",
    b"Content-Length: 00000000000000000000005",
    b"Content-Length : 5",
    b"Content-Length: \x0b5",
    b"Content_Length: 5",
    b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked, gzip",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: chunked;a=b",
    b"Transfer-Encoding: ,chunked",
    b"Transfer-Encoding: chunked,",
    b'Transfer-Encoding: "chunked"',
    b"Transfer-Encoding: \x0bchunked",
    b"Transfer-Encoding:\r\n chunked",
    b"Transfer-Encoding : chunked",
    b"Transfer-Encoding:",
    b"X-Fold: a\r\n b",
    b"X-Ctl: a\x01b",
    b"X-Nul: a\x00b",
    b"X-Cr: a\rb",
    b"X-Lf: a\nb",
    b" X-Lead: 1",
    b"X-Space : 1",
    b": empty",
    b"no colon",
    b"X(: 1",
    b"X\xe4: 1",
    b"Host: b",
    b"Host: a",
    b"Host: a b",
    b"Host:",
    b"X_under: 1",
]

_SIZES = [b"5"] * 8 + [b"05", b"5;a", b"5;a=b", b'5;a="q \\" \xe4"', b"5;a;b=c"]
_ODD_SIZES = [
    b"-5",
    b"+5",
    b"0x5",
    b" 5",
    b"5 ",
    b"5\t",
    b"5_0",
    b"",
    b"g",
    b"6",
    b"4",
    b"00000000000000005",
    b"fffffffffffffffb",
    b"10000000000000005",
    b"5;",
    b"5 ;a",
    b"5; a",
    b"5;a =b",
    b"5;a=",
    b'5;a="',
    b"5;a\x01",
    b"5;a\rb",
    b"5;\xe4",
]
_TRAILERS = [b"X-T: 1", b"x-t:2 ", b"X-U: \xe4"]
_ODD_TRAILERS = [
    b" X-T: 1",
    b"X-T : 1",
    b"X-T",
    b"X-T: \x01",
    b"Content-Length: 5",
    b"Transfer-Encoding: chunked",
]


def _mostly(usual: list[bytes], odd: list[bytes]) -> st.SearchStrategy[bytes]:
    """One of ``usual`` in 15 of 16 cases, else one of ``odd``."""
    return st.integers(0, 15).flatmap(lambda n: st.sampled_from(odd if n == 13 else usual))


_line_ends = st.sampled_from(_LINE_ENDS)


@st.composite
def _head(draw: st.DrawFn, start: bytes, fields: list[bytes]) -> bytes:
    fields = draw(st.permutations(fields))
    return b"".join(line + draw(_line_ends) for line in [start, *fields]) + draw(_line_ends)


@st.composite
def _fields(draw: st.DrawFn) -> list[bytes]:
    framing = draw(st.sampled_from([[], _LENGTHS, _LENGTHS, _CODINGS, _CODINGS, _CODINGS]))
    fields = [draw(st.sampled_from(framing))] if framing else []
    fields += draw(st.lists(st.sampled_from(_PLAIN_FIELDS), max_size=2))
    if draw(st.integers(0, 3)) == 3:
        fields.append(draw(st.sampled_from(_ODD_FIELDS)))
    return fields


@st.composite
def chunked_bodies(draw: st.DrawFn) -> bytes:
    """A chunked body, mostly valid."""
    parts = []
    for _ in range(draw(st.integers(0, 3))):
        parts += [draw(_mostly(_SIZES, _ODD_SIZES)), draw(_line_ends), b"hello", draw(_line_ends)]
    parts += [draw(_mostly([b"0", b"0", b"000", b"0;a=b"], [b"", b"-0", b"0 ", b"0x0"])), draw(_line_ends)]
    for trailer in draw(st.lists(_mostly(_TRAILERS, _ODD_TRAILERS), max_size=2)):
        parts += [trailer, draw(_line_ends)]
    parts.append(draw(_line_ends))
    return b"".join(parts)


_bodies = st.one_of(chunked_bodies(), chunked_bodies(), st.sampled_from([b"hello", b"hel", b""]))
_rests = st.sampled_from([b"", b"", b"GET /next HTTP/1.1\r\n", b"\r\n", b"x"])


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request, mostly valid, with a body and perhaps the start of another request."""
    version = draw(_mostly(_VERSIONS, _ODD_VERSIONS))
    start = b" ".join([draw(_mostly(_METHODS, _ODD_METHODS)), draw(_mostly(_TARGETS, _ODD_TARGETS)), version])
    host = [] if draw(st.integers(0, 15)) == 13 else [b"Host: a"]
    before = draw(st.sampled_from([b""] * 12 + [b"\r\n", b"\n", b"\r\n\r\n"]))
    return before + draw(_head(start, host + draw(_fields()))) + draw(_bodies) + draw(_rests)


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    """A response, mostly valid, with a body."""
    version = draw(_mostly(_VERSIONS, _ODD_VERSIONS))
    start = version + b" " + draw(_mostly(_STATUSES, _ODD_STATUSES))
    return draw(_head(start, draw(_fields()))) + draw(_bodies) + draw(_rests)


_BYTES = b'\r\n\t :;,="\\0159aAfFxX_-+\x00\x01\x0b\x1f\x7f\x80\xa0\xff'
_edits = st.tuples(
    st.sampled_from(["insert", "replace", "delete", "double"]),
    st.floats(0, 1, exclude_max=True),
    st.one_of(st.sampled_from(_BYTES), st.integers(0, 255)),
)


@st.composite
def mutated(draw: st.DrawFn, messages: st.SearchStrategy[bytes]) -> bytes:
    """One of ``messages`` with up to three bytes inserted, replaced, deleted or a piece of it doubled."""
    data = draw(messages)
    for kind, place, byte in draw(st.lists(_edits, min_size=1, max_size=3)):
        at = int(place * len(data))
        end = at + (8 if kind == "double" else kind != "insert")
        middle = data[at:end] * 2 if kind == "double" else bytes([byte])
        data = data[:at] + (b"" if kind == "delete" else middle) + data[end:]
    return data


@st.composite
def splits(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """``data`` cut into pieces, none of them lost; a piece may be empty."""
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
