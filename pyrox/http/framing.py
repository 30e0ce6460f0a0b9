"""Where a body ends, and the chunked coding (RFC 9112 sections 6 and 7).

Two parties that disagree about the end of a body are what request smuggling is made of, so the rules
here are the RFC's, in its order and its words, and where it lets a recipient repair a message Pyrox
refuses it instead. The exceptions are marked. Nothing of a received framing is ever sent on: the
engine decodes a body here and frames it anew.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from pyrox.errors import ClientError, ProxyError, UpstreamError
from pyrox.http.field_names import normal_name
from pyrox.http.headers import Field

CHUNKED = -1
UNTIL_CLOSE = -2

LAST_CHUNK = b"0\r\n\r\n"

_MAX_LENGTH = 2**63 - 1  # what a signed 64-bit off_t holds, here and in every server behind us
_MAX_SIZE_DIGITS = 16

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_is_token = re.compile(_TOKEN).fullmatch

# Every repetition is possessive: a line that does not match is refused in linear time.
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*+"'
_EXTENSIONS = rb"(?:;" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?+)*+"
_parse_size_line = re.compile(rb"([0-9A-Fa-f]{1,16}+)(" + _EXTENSIONS + rb")\r\n").fullmatch
# The end of one chunk and the start of the next as nearly all senders write them; twice as fast as two lines.
_match_boundary = re.compile(rb"\r\n([0-9A-Fa-f]{1,16}+)\r\n").match
_starts_size_line = re.compile(rb"[0-9A-Fa-f]{1,16}+(?:;|\r?\Z)").match
_parse_field_line = re.compile(rb"(" + _TOKEN + rb"):[ \t]*+([\t\x20-\x7e\x80-\xff]*+)\r\n").fullmatch

# The transfer codings of the IANA registry that Pyrox could name but does not decode.
_REGISTERED_CODINGS = frozenset({b"gzip", b"x-gzip", b"deflate", b"compress", b"x-compress"})

# RFC 9110 6.5.1: not in trailers are fields "that describe message framing, routing, authentication,
# request modifiers, response controls, or content format". A recipient that merges trailers into the
# header section would let a sender change what was decided from the header section alone.
_FORBIDDEN_TRAILERS = frozenset(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade "  # hop-by-hop
    b"host forwarded via x-real-ip "  # routing, and who the client is
    b"authorization proxy-authenticate proxy-authorization www-authenticate cookie set-cookie "
    b"cache-control expect max-forwards pragma range "  # request modifiers
    b"if-match if-none-match if-modified-since if-unmodified-since if-range "
    b"age date expires location retry-after vary warning".split()  # response control
)
_FORBIDDEN_PREFIXES = (b"content-", b"x-forwarded-")
_ALLOWED_CONTENT_TRAILER = b"content-digest"  # RFC 9530 section 2 allows it in a trailer section


def request_body_length(content_lengths: list[bytes], transfer_encodings: list[bytes], version: str) -> int:
    """Return the length of a request's body in bytes (0 and up), or ``CHUNKED``.

    ``content_lengths`` and ``transfer_encodings`` are the values of every such field line in order,
    without surrounding whitespace; ``version`` is ``"1.1"`` or ``"1.0"``. RFC 9112 6.3.

    Raises ``ClientError``: 501 for a transfer coding that Pyrox does not decode, 400 for all else.
    """
    if transfer_encodings:
        # "A server MAY reject a request that contains both Content-Length and Transfer-Encoding."
        if content_lengths:
            raise ClientError("Content-Length with Transfer-Encoding")
        # "A server or client that receives an HTTP/1.0 message containing a Transfer-Encoding header
        # field MUST treat the message as if the framing is faulty."
        if version == "1.0":
            raise ClientError("Transfer-Encoding in an HTTP/1.0 request")
        return _request_coding(_parse_codings(transfer_encodings, ClientError))
    # "If a valid Content-Length header field is present without Transfer-Encoding, its decimal value
    # defines the expected message body length in octets." A second line is refused even when equal:
    # no client sends two, and a server that reads the other one is the attack.
    if len(content_lengths) > 1:
        raise ClientError("more than one Content-Length")
    if content_lengths:
        return parse_content_length(content_lengths[0], ClientError)
    # "If this is a request message and none of the above are true, then the message body length is
    # zero (no message body is present)."
    return 0


def response_body_length(
    status: int,
    request_method: str,
    content_lengths: list[bytes],
    transfer_encodings: list[bytes],
    version: str,
) -> int:
    """Return the length of a response's body in bytes (0 and up), ``CHUNKED`` or ``UNTIL_CLOSE``.

    ``status`` is the response's, ``request_method`` the method of the request it answers; the other
    arguments are those of ``request_body_length``. RFC 9112 6.3. CONNECT is never forwarded, so its
    rule is not here.

    Raises ``UpstreamError`` (502) when the framing is not beyond doubt.
    """
    # "Any response to a HEAD request and any response with a 1xx, 204, or 304 status code is always
    # terminated by the first empty line after the header fields, regardless of the header fields
    # present in the message."
    if request_method == "HEAD" or status < 200 or status in (204, 304):
        return 0
    if transfer_encodings:
        # "Such a message might indicate an attempt to perform request smuggling or response splitting
        # and ought to be handled as an error."
        if content_lengths:
            raise UpstreamError("Content-Length with Transfer-Encoding")
        # "A server or client that receives an HTTP/1.0 message containing a Transfer-Encoding header
        # field MUST treat the message as if the framing is faulty."
        if version == "1.0":
            raise UpstreamError("Transfer-Encoding in an HTTP/1.0 response")
        if _parse_codings(transfer_encodings, UpstreamError) != [b"chunked"]:
            raise UpstreamError(f"unusable Transfer-Encoding {transfer_encodings!r}")
        return CHUNKED
    # An invalid Content-Length is "an unrecoverable error, unless ... all values in the list are the
    # same (in which case, the message is processed with that single value)". Only whole lines are
    # compared here: careless frameworks do write the field twice, none writes a list.
    lengths = {parse_content_length(value, UpstreamError) for value in content_lengths}
    if len(lengths) > 1:
        raise UpstreamError(f"different Content-Lengths {sorted(lengths)}")
    if lengths:
        return lengths.pop()
    # "Otherwise, this is a response message without a declared message body length, so the message
    # body length is determined by the number of octets received prior to the server closing."
    return UNTIL_CLOSE


def parse_content_length(value: bytes, error: type[ProxyError]) -> int:
    """Return the number of bytes that a Content-Length value declares, 0 to 2^63-1 (RFC 9110 8.6).

    Raises ``error`` for anything but ASCII digits (a sign, a list, whitespace) and for a larger number.
    """
    # Python's int() would take signs, spaces and underscores, and refuses over 4300 digits.
    digits = value.lstrip(b"0") or value[-1:]
    if not value.isdigit() or len(digits) > 19 or int(digits) > _MAX_LENGTH:
        raise error(f"invalid Content-Length {value[:64]!r}")
    return int(digits)


def _parse_codings(values: list[bytes], error: type[ProxyError]) -> list[bytes]:
    # RFC 9112 7: "chunked" has no parameters and Pyrox knows no other coding, so each element is a bare
    # token. Empty elements are refused too: ", chunked" is only ever sent to find who reads it how.
    codings = [element.strip(b" \t").lower() for value in values for element in value.split(b",")]
    for coding in codings:
        if not _is_token(coding):
            raise error(f"invalid Transfer-Encoding {values!r:.200}")
    return codings


def _request_coding(codings: list[bytes]) -> int:
    if codings == [b"chunked"]:
        return CHUNKED
    # "A sender MUST NOT apply the chunked transfer coding more than once to a message body", and "if
    # Transfer-Encoding is present in a request and the chunked transfer coding is not the final
    # encoding, the server MUST respond with the 400 (Bad Request) status code".
    if b"chunked" in codings[:-1] or codings[-1] in _REGISTERED_CODINGS:
        raise ClientError("chunked is not the last transfer coding, or not the only time")
    # "A server that receives a request message with a transfer coding it does not understand SHOULD
    # respond with 501 (Not Implemented)." To relay "gzip, chunked" as "chunked" would corrupt it.
    raise ClientError(f"transfer coding not understood: {b', '.join(codings)!r:.200}", status=501)


def encode_chunk(data: bytes) -> bytes:
    """Return ``data`` as one chunk; ``b""`` for no data, since an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def encode_last_chunk(trailers: list[Field]) -> bytes:
    """Return the last chunk and the trailer section, which ends the message (RFC 9112 7.1.2)."""
    if not trailers:
        return LAST_CHUNK
    lines = [b"%b: %b\r\n" % (name, value) for _, name, value in trailers]
    return b"0\r\n%b\r\n" % b"".join(lines)


def forwardable_trailers(trailers: list[Field]) -> list[Field]:
    """Return the trailer fields that may be sent on: those RFC 9110 6.5.1 does not forbid."""
    return [field for field in trailers if not _is_forbidden_trailer(field[0])]


def _is_forbidden_trailer(name: bytes) -> bool:
    # CGI-style servers read Content_Length as Content-Length.
    name = name.replace(b"_", b"-")
    if name in _FORBIDDEN_TRAILERS:
        return True
    return name.startswith(_FORBIDDEN_PREFIXES) and name != _ALLOWED_CONTENT_TRAILER


@dataclass(frozen=True, slots=True)
class ChunkLimits:
    """How much of what is not payload a chunked body may hold; sizes in bytes.

    * ``extension``: the chunk extensions of one chunk.
    * ``extensions_total``: the chunk extensions of one message.
    * ``trailer_size``: the trailer section with its line ends.
    * ``trailer_fields``: the number of trailer field lines.

    ``identity_fields`` are not taken from trailers at all; names as in ``HeadLimits``.
    """

    extension: int = 4 * 1024
    extensions_total: int = 64 * 1024
    trailer_size: int = 32 * 1024
    trailer_fields: int = 100
    identity_fields: frozenset[bytes] = frozenset()


class _Expect(Enum):
    """What the next byte belongs to."""

    SIZE = "chunk size line"
    DATA = "chunk data"
    DATA_END = "line end after chunk data"
    TRAILER = "trailer section"
    END = "end of message"
    FAILED = "failed"


class ChunkedDecoder:
    """Decode one chunked body (RFC 9112 7.1) from bytes that arrive in pieces.

    * ``is_complete``: the whole message is here.
    * ``trailers``: its trailer fields so far, in order, forbidden ones included.
    * ``leftover``: what came after the end of the message; ``b""`` until it is complete.

    The result does not depend on how the bytes are cut. Every violation of the grammar or of a limit
    raises ``error``, and so does every later ``feed``. Whitespace that the RFC calls bad (BWS) is
    refused. At most one line and one fed piece are held in memory.
    """

    __slots__ = (
        "_error",
        "_expect",
        "_extensions_left",
        "_limits",
        "_line",
        "_remaining",
        "_trailer_room",
        "leftover",
        "trailers",
    )

    def __init__(self, error: type[ProxyError], limits: ChunkLimits) -> None:
        self.trailers: list[Field] = []
        self.leftover = b""
        self._error = error
        self._limits = limits
        self._expect = _Expect.SIZE
        self._remaining = 0  # bytes of the current chunk's data still to come
        self._line = bytearray()  # the start of a line whose end has not arrived
        self._extensions_left = limits.extensions_total
        self._trailer_room = limits.trailer_size

    @property
    def is_complete(self) -> bool:
        """True once the end of the trailer section was fed."""
        return self._expect is _Expect.END

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes of the message and return the payload in them, ``b""`` if none.

        Raises the decoder's ``error`` when the bytes are not a chunked body.
        """
        size = len(data)
        if size < self._remaining:  # inside a large chunk nothing is looked at or copied
            self._remaining -= size
            return data
        if self._expect is _Expect.FAILED:
            raise self._failure("fed after a failure", data)
        payload: list[bytes] = []
        position = 0
        while position < size and self._expect is not _Expect.END:
            if self._remaining:
                piece = data[position : position + self._remaining]
                position += len(piece)
                payload.append(piece)
                self._remaining -= len(piece)
                if self._remaining:
                    break
                self._expect = _Expect.DATA_END
                boundary = _match_boundary(data, position)
                if boundary is not None:
                    position = boundary.end()
                    self._start_chunk(int(boundary[1], 16))
            else:
                position = self._take_line(data, position)
        if position < size:
            self.leftover += data[position:]
        return payload[0] if len(payload) == 1 else b"".join(payload)

    def _start_chunk(self, size: int) -> None:
        self._remaining = size
        self._expect = _Expect.DATA if size else _Expect.TRAILER

    def _take_line(self, data: bytes, position: int) -> int:
        # Lines are cut at LF, so that a bare one is seen and refused.
        end = data.find(b"\n", position) + 1
        if not end:
            self._line += data[position:]
            self._check_incomplete_line()
            return len(data)
        line = data[position:end]
        if self._line:
            line = bytes(self._line) + line
            self._line.clear()
        self._parse_line(line)
        return end

    def _parse_line(self, line: bytes) -> None:
        if self._expect is _Expect.SIZE:
            self._parse_size(line)
        elif self._expect is _Expect.TRAILER:
            self._parse_trailer(line)
        elif line == b"\r\n":
            self._expect = _Expect.SIZE
        else:
            raise self._failure("chunk data does not end where its size says", line)

    def _check_incomplete_line(self) -> None:
        """Refuse a line as soon as no rest could make it good; looks at a bounded number of bytes."""
        line = self._line
        if self._expect is _Expect.SIZE:
            longest = _MAX_SIZE_DIGITS + self._limits.extension + len(b"\r\n")
            if len(line) > longest or not _starts_size_line(line):
                raise self._failure("invalid chunk size", line)
        elif self._expect is _Expect.TRAILER:
            self._check_trailer_room(line)
        elif line != b"\r":
            raise self._failure("chunk data does not end where its size says", line)

    def _parse_size(self, line: bytes) -> None:
        match = _parse_size_line(line)
        if match is None:
            raise self._failure("invalid chunk size line", line)
        size, extensions = match.groups()
        self._extensions_left -= len(extensions)
        if len(extensions) > self._limits.extension or self._extensions_left < 0:
            raise self._failure("too long chunk extensions", line)
        self._start_chunk(int(size, 16))

    def _parse_trailer(self, line: bytes) -> None:
        self._check_trailer_room(line)
        self._trailer_room -= len(line)
        if line == b"\r\n":
            self._expect = _Expect.END
            return
        match = _parse_field_line(line)
        if match is None:
            raise self._failure("invalid trailer field", line)
        name, value = match.groups()
        if len(self.trailers) == self._limits.trailer_fields:
            raise self._failure("too many trailer fields", line)
        lower = name.lower()
        if normal_name(lower) not in self._limits.identity_fields:
            self.trailers.append((lower, name, value.rstrip(b" \t")))

    def _check_trailer_room(self, line: bytes | bytearray) -> None:
        if len(line) > self._trailer_room:
            raise self._failure("too large trailer section", line)

    def _failure(self, detail: str, line: bytes | bytearray) -> ProxyError:
        self._expect = _Expect.FAILED
        return self._error(f"{detail}: {bytes(line[:64])!r}")
