"""The PROXY protocol: who the client is, said by a proxy before the first byte of the client's own.

A proxy that passes a TCP stream on hides its client's address. HAProxy's PROXY protocol has it say the
address once, at the start of the connection: as a line of text (version 1) or as a binary header
(version 2, with TLVs behind the addresses). There is no answer, and nothing marks a connection that has
one, so whoever reads it must know from elsewhere which peers send it, and must believe nobody else.

The specification is doc/proxy-protocol.txt of HAProxy; sentences in quotes are from there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from pyrox.errors import ClientError

Endpoint = tuple[str, int]  # IP address and port; an IPv4-mapped IPv6 address is written as IPv4

UNIX: Endpoint = ("unix", 0)  # some unix socket; its path means nothing elsewhere

_V1_START = b"PROXY "
_V2_START = b"\r\n\r\n\0\r\nQUIT\n"
_V2_FIXED = 16  # the signature, version and command, family, length
_V1_LONGEST = 107  # "a 108-byte buffer is always enough to store all the line and a trailing zero"

# "Heading zeroes are not permitted in front of numbers in order to avoid any possible confusion with
# octal numbers."
_PORT = rb"(0|[1-9][0-9]{0,4})"
_parse_v1_tcp = re.compile(
    rb"PROXY TCP([46]) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) %b %b\r\n" % (_PORT, _PORT)
).fullmatch
# "For 'UNKNOWN', the rest of the line before the CRLF may be omitted by the sender, and the receiver
# must ignore anything presented before the CRLF is found."
_is_v1_unknown = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?\r\n").fullmatch

_LOCAL, _PROXY = 0x20, 0x21  # version 2 in the high half, the command in the low one
_UNSPEC, _TCP4, _TCP6, _UNIX_STREAM = 0x00, 0x11, 0x21, 0x31
# Bytes of one address by family and transport. "Other values are unspecified and must not be emitted in
# version 2 of this protocol and must be rejected as invalid by receivers." A datagram's source is a
# client's address as much as a stream's: a proxy that takes HTTP/3 may pass it on over TCP.
_ADDRESS_SIZES = {_UNSPEC: 0, _TCP4: 4, 0x12: 4, _TCP6: 16, 0x22: 16, _UNIX_STREAM: 108, 0x32: 108}

_TLV_CRC32C, _TLV_SSL = 0x03, 0x20
_CLIENT_SSL = 0x01  # "the client connected over SSL/TLS"


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """What a header says.

    * ``source``: the client's address; None when the real peer is to be taken for the client: a health
      check of the proxy's own, or a client whose address the proxy does not know.
    * ``destination``: the address that the client connected to; None as ``source``.
    * ``tls``: whether the client spoke TLS to the proxy, as far as the header says.
    """

    source: Endpoint | None = None
    destination: Endpoint | None = None
    tls: bool = False


class HeaderReader:
    """Finds and parses the header at the start of a stream, in whatever pieces it comes.

    ``header`` is None until the header is complete. At most 107 bytes are kept for version 1, 64 KiB for
    version 2.
    """

    __slots__ = ("_data", "header")

    def __init__(self) -> None:
        self._data = bytearray()
        self.header: ProxyHeader | None = None

    def feed(self, data: bytes) -> int:
        """Take the next bytes of the stream; returns how many of them belong to the header.

        These are all of them until the header is complete. Raises ``ClientError`` as soon as it is clear
        that the stream does not start with a valid header; the reader must not be used after that.
        """
        if self.header is not None:
            return 0
        before = len(self._data)
        self._data += data
        end = self._find_end(before)
        if end is None:
            return len(data)
        self.header = _parse(bytes(self._data[:end]))
        self._data.clear()
        return end - before

    def _find_end(self, before: int) -> int | None:
        """Return the length of the header; None when more bytes are needed."""
        data = self._data
        if _V1_START.startswith(data[: len(_V1_START)]):
            end = data.find(b"\n", before, _V1_LONGEST) + 1
            if not end and len(data) >= _V1_LONGEST:
                raise ClientError("a line of more than 107 bytes")
            return end or None
        if not _V2_START.startswith(data[: len(_V2_START)]):
            raise ClientError(f"{bytes(data[:16])!r} is no header")
        if len(data) < _V2_FIXED:
            return None
        _check_fixed_part(data)
        end = _V2_FIXED + int.from_bytes(data[14:16], "big")
        return end if len(data) >= end else None


def encode_header(version: str, source: Endpoint | None, destination: Endpoint | None) -> bytes:
    """Return the header of ``version``, ``"v1"`` or ``"v2"``, that names a client.

    * ``source``: the client's address; ``destination``: the one it connected to. Two of different
      families become two IPv6 addresses.
    * None for either, or ``UNIX`` for one of them, makes a header that names nobody, for a connection of
      the proxy's own.
    """
    if source == destination == UNIX and version == "v2":
        return _encode_v2(_PROXY, _UNIX_STREAM, bytes(2 * 108))
    if source is None or destination is None or UNIX in (source, destination):
        return b"PROXY UNKNOWN\r\n" if version == "v1" else _encode_v2(_LOCAL, _UNSPEC, b"")
    # A zone means nothing to another host.
    addresses = [_unmapped(ip_address(host.partition("%")[0])) for host, _ in (source, destination)]
    if addresses[0].version != addresses[1].version:
        addresses = [_mapped(address) for address in addresses]
    family, ports = addresses[0].version, (source[1], destination[1])
    if version == "v1":
        texts = " ".join([_text_of(address) for address in addresses])
        return f"PROXY TCP{family} {texts} {ports[0]} {ports[1]}\r\n".encode()
    block = b"".join([item.packed for item in addresses] + [port.to_bytes(2, "big") for port in ports])
    return _encode_v2(_PROXY, _TCP4 if family == 4 else _TCP6, block)


# --- version 1 and version 2 ---


def _parse(raw: bytes) -> ProxyHeader:
    if not raw.startswith(_V1_START):
        return _parse_v2(raw)
    if _is_v1_unknown(raw):
        return ProxyHeader()
    match = _parse_v1_tcp(raw)
    if match is None:
        raise ClientError(repr(raw))
    family, source, destination, *ports = match.groups()
    kind = IPv4Address if family == b"4" else IPv6Address
    try:
        addresses = [kind(text.decode()) for text in (source, destination)]
    except ValueError as error:
        raise ClientError(str(error)) from None
    numbers = [int(port) for port in ports]
    if max(numbers) > 65535:
        raise ClientError("a port over 65535")
    ends = list(zip(map(str, map(_unmapped, addresses)), numbers, strict=True))
    return ProxyHeader(ends[0], ends[1])


def _check_fixed_part(data: bytearray) -> None:
    command, family, length = data[12], data[13], int.from_bytes(data[14:16], "big")
    if command not in (_LOCAL, _PROXY):
        raise ClientError(f"version and command 0x{command:02x}")
    if command == _LOCAL:
        return
    size = _ADDRESS_SIZES.get(family)
    if size is None:
        raise ClientError(f"family and transport 0x{family:02x}")
    if length < _block_size(size):
        raise ClientError(f"{length} bytes cannot hold two addresses of family 0x{family:02x}")


def _parse_v2(raw: bytes) -> ProxyHeader:
    command, family = raw[12], raw[13]
    # "LOCAL: the receiver must accept this connection as valid and must use the real connection
    # endpoints and discard the protocol block including the family which is ignored."
    if command == _LOCAL or family == _UNSPEC:
        return ProxyHeader()
    size = _ADDRESS_SIZES[family]
    tls = _parse_tlvs(raw, _V2_FIXED + _block_size(size))
    if size == 108:
        return ProxyHeader(UNIX, UNIX, tls)
    packed, ports = raw[16 : 16 + 2 * size], raw[16 + 2 * size : 20 + 2 * size]
    addresses = [str(_unmapped(ip_address(half))) for half in (packed[:size], packed[size:])]
    source, destination = (int.from_bytes(half, "big") for half in (ports[:2], ports[2:]))
    return ProxyHeader((addresses[0], source), (addresses[1], destination), tls)


def _block_size(size: int) -> int:
    return 2 * size + (4 if size in (4, 16) else 0)  # IP addresses have ports


def _encode_v2(command: int, family: int, block: bytes) -> bytes:
    return _V2_START + bytes((command, family)) + len(block).to_bytes(2, "big") + block


# --- TLVs ---


def _parse_tlvs(raw: bytes, start: int) -> bool:
    """Check the TLVs from ``start`` on; returns whether they say that the client spoke TLS."""
    tls = has_checksum = False
    for kind, offset, value in _split_tlvs(raw, start):
        if kind == _TLV_CRC32C:
            # "If the checksum doesn't match, the receiver MUST abort the connection". Of two, each would
            # have to leave the other out.
            if has_checksum or len(value) != 4 or int.from_bytes(value, "big") != _checksum(raw, offset):
                raise ClientError("a wrong checksum")
            has_checksum = True
        elif kind == _TLV_SSL:
            if len(value) < 5:
                raise ClientError("an SSL TLV that is too short")
            for _ in _split_tlvs(value, 5):
                pass  # only checked
            tls = bool(value[0] & _CLIENT_SSL)
    return tls


def _split_tlvs(raw: bytes, start: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield type, offset of the value and value of each TLV, which must fill ``raw`` to its end."""
    while start < len(raw):
        offset = start + 3
        end = offset + int.from_bytes(raw[start + 1 : offset], "big")
        if offset > len(raw) or end > len(raw):
            raise ClientError("a TLV beyond the end of the header")
        yield raw[start], offset, raw[offset:end]
        start = end


def _checksum(raw: bytes, offset: int) -> int:
    """CRC-32C of the header, with the four bytes of the checksum itself as zeros."""
    crc = 0xFFFFFFFF
    for byte in raw[:offset] + bytes(4) + raw[offset + 4 :]:
        crc = _CRC32C[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _crc_of_byte(crc: int) -> int:
    for _ in range(8):
        crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)  # Castagnoli's polynomial, RFC 3720 appendix B.4
    return crc


_CRC32C = [_crc_of_byte(byte) for byte in range(256)]


# --- addresses ---


def _unmapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def _mapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    return IPv6Address(f"::ffff:{address}") if isinstance(address, IPv4Address) else address


def _text_of(address: IPv4Address | IPv6Address) -> str:
    unmapped = _unmapped(address)
    return str(address) if unmapped is address else f"::ffff:{unmapped}"  # as inet_ntop writes it
