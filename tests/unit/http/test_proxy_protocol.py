"""PROXY protocol headers, by the sentences of HAProxy's specification."""

from __future__ import annotations

import pytest

from pyrox.errors import ClientError
from pyrox.http.proxy_protocol import UNIX, HeaderReader, ProxyHeader, encode_header

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
IPV4 = bytes([192, 0, 2, 1, 198, 51, 100, 7]) + b"\xdc\x04" + b"\x01\xbb"
FROM_IPV4 = ProxyHeader(("192.0.2.1", 56324), ("198.51.100.7", 443))
IPV6 = bytes.fromhex("20010db8000000000000000000000001 20010db8000000000000000000000002") + IPV4[-4:]
FROM_IPV6 = ProxyHeader(("2001:db8::1", 56324), ("2001:db8::2", 443))


def v2(block: bytes, family: int = 0x11, command: int = 0x21, length: int | None = None) -> bytes:
    size = len(block) if length is None else length
    return SIGNATURE + bytes((command, family)) + size.to_bytes(2, "big") + block


def tlv(kind: int, value: bytes) -> bytes:
    return bytes((kind,)) + len(value).to_bytes(2, "big") + value


def read(raw: bytes) -> ProxyHeader:
    """The header that is the whole of ``raw``."""
    reader = HeaderReader()
    assert reader.feed(raw) == len(raw)
    assert reader.header is not None
    return reader.header


def refusal_of(raw: bytes) -> str:
    with pytest.raises(ClientError) as caught:
        HeaderReader().feed(raw)
    return caught.value.detail


@pytest.mark.parametrize(
    ("line", "header"),
    [
        (b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n", FROM_IPV4),
        (b"PROXY TCP6 2001:db8::1 2001:DB8:0:0:0:0:0:2 56324 443\r\n", FROM_IPV6),
        (b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:c633:6407 56324 443\r\n", FROM_IPV4),
        (
            b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n",
            ProxyHeader(("0.0.0.0", 0), ("255.255.255.255", 65535)),
        ),
        (b"PROXY UNKNOWN\r\n", ProxyHeader()),
        (b"PROXY UNKNOWN anything at all, \x00 too\r\n", ProxyHeader()),
        (b"PROXY UNKNOWN " + b"f" * 91 + b"\r\n", ProxyHeader()),  # 107 bytes
    ],
)
def test_version_1_line_is_read(line: bytes, header: ProxyHeader) -> None:
    assert read(line) == header


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.1\r\n",
        b"proxy TCP4 192.0.2.1 198.51.100.7 56324 443\r\n",
        b" PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n",
        b"PROXY  TCP4 192.0.2.1 198.51.100.7 56324 443\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443 \r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\r\n",
        b"PROXY TCP4\t192.0.2.1 198.51.100.7 56324 443\r\n",
        b"PROXY TCP4 192.0.2.01 198.51.100.7 56324 443\r\n",
        b"PROXY TCP4 192.0.2 198.51.100.7 56324 443\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.7 056324 443\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.7 +6324 443\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 65536\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.7 56324\r\n",
        b"PROXY TCP4 2001:db8::1 2001:db8::2 56324 443\r\n",
        b"PROXY TCP6 192.0.2.1 198.51.100.7 56324 443\r\n",
        b"PROXY TCP6 fe80::1%eth0 fe80::2%eth0 56324 443\r\n",
        b"PROXY TCP6 2001:db8::1::1 2001:db8::2 56324 443\r\n",
        b"PROXY UDP4 192.0.2.1 198.51.100.7 56324 443\r\n",
        b"PROXY UNKNOWNS\r\n",
        b"PROXY UNKNOWN a\rb\r\n",
        b"PROXY UNKNOWN\n",
        b"PROXY \r\n",
        b"PROXY UNKNOWN " + b"f" * 92 + b"\r\n",
        b"PROXY UNKNOWN " + b"f" * 93,
    ],
)
def test_version_1_line_that_is_not_to_the_letter_is_refused(line: bytes) -> None:
    assert refusal_of(line)


@pytest.mark.parametrize(
    ("raw", "header"),
    [
        (v2(IPV4), FROM_IPV4),
        (v2(IPV4, family=0x12), FROM_IPV4),
        (v2(IPV6, family=0x21), FROM_IPV6),
        (v2(bytes(216), family=0x31), ProxyHeader(UNIX, UNIX)),
        (v2(b"", family=0x00), ProxyHeader()),
        (v2(b"whatever", family=0x00), ProxyHeader()),
        (v2(b"", family=0x00, command=0x20), ProxyHeader()),
        (v2(b"whatever", family=0x77, command=0x20), ProxyHeader()),
        (v2(IPV4 + tlv(0x04, bytes(9)) + tlv(0xEE, b"") + tlv(0x02, b"a.test")), FROM_IPV4),
    ],
)
def test_version_2_header_is_read(raw: bytes, header: ProxyHeader) -> None:
    assert read(raw) == header


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (v2(IPV4, command=0x11), "version and command 0x11"),
        (v2(IPV4, command=0x22), "version and command 0x22"),
        (v2(IPV4, family=0x10), "family and transport 0x10"),
        (v2(IPV4, family=0x41), "family and transport 0x41"),
        (v2(IPV4[:-1]), "11 bytes cannot hold two addresses of family 0x11"),
        (v2(IPV4, family=0x21), "12 bytes cannot hold two addresses of family 0x21"),
        (v2(bytes(215), family=0x31), "215 bytes cannot hold two addresses of family 0x31"),
        (v2(IPV4 + b"\x04"), "a TLV beyond the end of the header"),
        (v2(IPV4 + b"\x04\x00"), "a TLV beyond the end of the header"),
        (v2(IPV4 + b"\x04\x00\x02a"), "a TLV beyond the end of the header"),
        (v2(IPV4 + tlv(0x20, bytes(4))), "an SSL TLV that is too short"),
        (v2(IPV4 + tlv(0x20, bytes(5) + b"\x21\x00\x01")), "a TLV beyond the end of the header"),
        (SIGNATURE[:-1] + b"\r" + v2(IPV4)[12:], " is no header"),
    ],
)
def test_version_2_header_that_is_not_to_the_letter_is_refused(raw: bytes, reason: str) -> None:
    assert refusal_of(raw).endswith(reason)


def test_what_cannot_become_a_header_is_refused_before_it_is_complete() -> None:
    for start in (b"G", b"PRI", b"\r\n\r\n\x01", v2(b"", command=0x31, length=65535)):
        assert refusal_of(start)


def test_longest_header_is_read() -> None:
    raw = v2(IPV4 + tlv(0x04, bytes(65535 - 12 - 3)))
    assert len(raw) == 16 + 65535
    assert read(raw) == FROM_IPV4


def test_bytes_behind_the_header_are_left_alone() -> None:
    for raw in (b"PROXY UNKNOWN\r\n", v2(IPV4)):
        reader = HeaderReader()
        assert reader.feed(raw[:9]) == 9
        assert reader.header is None
        assert reader.feed(raw[9:] + b"GET / HTTP/1.1\r\n") == len(raw) - 9
        assert reader.header is not None
        assert reader.feed(b"Host: a\r\n") == 0


@pytest.mark.parametrize(("client", "tls"), [(0x01, True), (0x07, True), (0x00, False), (0x06, False)])
def test_ssl_tlv_says_whether_the_client_spoke_tls(client: int, tls: bool) -> None:
    value = bytes((client, 0, 0, 0, 0)) + tlv(0x21, b"TLSv1.3")
    assert read(v2(IPV4 + tlv(0x20, value))).tls is tls


def with_checksum(checksum: bytes) -> bytes:
    return v2(IPV4 + tlv(0x03, checksum) + tlv(0x04, b"x"))


def test_checksum_is_verified() -> None:
    assert bitwise_crc32c(b"123456789") == 0xE3069283  # the check value that catalogues of CRCs give
    good = bitwise_crc32c(with_checksum(bytes(4))).to_bytes(4, "big")
    assert read(with_checksum(good)) == FROM_IPV4
    for place in range(4):
        bad = good[:place] + bytes((good[place] ^ 1,)) + good[place + 1 :]
        assert refusal_of(with_checksum(bad)).endswith("a wrong checksum")
    assert refusal_of(with_checksum(b"")).endswith("a wrong checksum")
    assert refusal_of(v2(IPV4 + tlv(0x03, good) + tlv(0x03, good))).endswith("a wrong checksum")


def bitwise_crc32c(data: bytes) -> int:
    """Long division by the reflected polynomial, as RFC 3720 defines it."""
    crc = 0xFFFFFFFF
    for bit in (byte >> shift & 1 for byte in data for shift in range(8)):
        crc = crc >> 1 ^ (0x82F63B78 if (crc ^ bit) & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("source", "destination", "line", "binary"),
    [
        (
            *(("192.0.2.1", 56324), ("198.51.100.7", 443)),
            b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n",
            v2(IPV4),
        ),
        (
            *(("2001:db8::1", 56324), ("2001:db8::2", 443)),
            b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n",
            v2(IPV6, family=0x21),
        ),
        (
            *(("::ffff:192.0.2.1", 56324), ("::ffff:198.51.100.7", 443)),
            b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n",
            v2(IPV4),
        ),
        (
            *(("192.0.2.1", 56324), ("2001:db8::2", 443)),
            b"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 56324 443\r\n",
            v2(bytes(10) + b"\xff\xff\xc0\x00\x02\x01" + IPV6[16:], family=0x21),
        ),
        (
            *(("fe80::1%eth0", 1), ("fe80::2%eth0", 2)),
            b"PROXY TCP6 fe80::1 fe80::2 1 2\r\n",
            v2(
                bytes.fromhex("fe800000000000000000000000000001 fe800000000000000000000000000002 00010002"),
                family=0x21,
            ),
        ),
        (UNIX, UNIX, b"PROXY UNKNOWN\r\n", v2(bytes(216), family=0x31)),
        (None, None, b"PROXY UNKNOWN\r\n", v2(b"", family=0, command=0x20)),
        (("192.0.2.1", 1), None, b"PROXY UNKNOWN\r\n", v2(b"", family=0, command=0x20)),
        (UNIX, ("192.0.2.1", 1), b"PROXY UNKNOWN\r\n", v2(b"", family=0, command=0x20)),
    ],
)
def test_header_is_written(
    source: tuple[str, int] | None, destination: tuple[str, int] | None, line: bytes, binary: bytes
) -> None:
    assert encode_header("v1", source, destination) == line
    assert encode_header("v2", source, destination) == binary
