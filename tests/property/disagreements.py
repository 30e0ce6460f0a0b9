"""Where Pyrox reads otherwise than llhttp or h11, and why it may.

A disagreement is permitted when a row covers it: by the words of the refusal and by what in the bytes is
to blame. Each row has examples of its own, so that a row which describes nothing any more fails its test.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LLHTTP = ("llhttp",)
H11 = ("h11",)
BOTH = ("llhttp", "h11")


@dataclass(frozen=True)
class Row:
    """One kind of disagreement with ``readers``.

    ``refusal`` is a pattern that the start of the refusal matches: Pyrox's in ``STRICTER``, the reader's
    in ``MORE_LENIENT``; nobody refuses in ``FRAMED_OTHERWISE``. ``sign`` is searched for in the message,
    ``.`` being any byte.
    """

    readers: tuple[str, ...]
    refusal: str
    sign: bytes
    why: str
    examples: tuple[bytes, ...]

    def covers(self, reader: str, refusal: str, data: bytes) -> bool:
        return (
            reader in self.readers
            and re.match(self.refusal, refusal) is not None
            and re.search(self.sign, data, re.DOTALL) is not None
        )


_GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
_POST = _GET + b"Transfer-Encoding: chunked\r\n\r\n"
_OK = b"HTTP/1.1 200 OK\r\n"
_OK_CHUNKED = _OK + b"Transfer-Encoding: chunked\r\n\r\n"
_LAST = b"0\r\n\r\n"

STRICTER = (
    Row(
        BOTH,
        "bare LF|malformed (request|response) head|invalid (chunk size|trailer|Content-Length|Transfer-Enc)",
        rb"(?<!\r)\n",
        "RFC 9112 2.2 says MAY of a lone LF as a line end; whoever takes it sees another message. llhttp "
        "takes one only before a request line",
        (b"\n" + _GET + b"\r\n", b"GET / HTTP/1.1\nHost: a\r\n\r\n", _OK + b"\n", _POST + b"0\r\nX: 1\n\r\n"),
    ),
    Row(
        LLHTTP,
        "malformed request line|bare LF or CR",
        rb"\A(\r\n)?\r",
        "RFC 9112 2.2: 'at least one empty line' before a request is ignored: Pyrox ignores one, of CRLF",
        (b"\r\n\r\n" + _GET + b"\r\n", b"\r" + _GET + b"\r\n"),
    ),
    Row(
        LLHTTP,
        "malformed request line",
        rb"\A(\r\n)?[!-~]+ [^ ]*\r\n",
        "RFC 9112 3: a request line without a version is HTTP/0.9's, which had no fields and no framing",
        (b"GET /\r\nHost: a\r\n\r\n",),
    ),
    Row(
        BOTH,
        "malformed request line",
        rb"\A[^#]+ [^ ]*#[^ ]* HTTP/",
        "RFC 9112 3.2: a fragment is no part of a target; servers differ on whether it ends the path",
        (b"GET /#f HTTP/1.1\r\nHost: a\r\n\r\n",),
    ),
    Row(
        BOTH,
        "invalid request target",
        rb" (\*|(?!https?://[^/?])[^/ ][^ ]*) HTTP/",
        "RFC 9112 3.2: asked for by path, by http or https URL, or OPTIONS *; nothing else can be routed",
        (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    ),
    Row(
        H11,
        "malformed request head: (Invalid characters|Unexpected (start )?char) in url|invalid request target",
        rb" [^/ ][^ ]* HTTP/",
        "RFC 9112 3.2: as above; llhttp has refused it before Pyrox looks",
        (b"GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n",),
    ),
    Row(
        BOTH,
        "CONNECT|malformed request line",
        rb"CONNECT ",
        "RFC 9110 9.3.6: CONNECT is for forward proxies; answered 405. llhttp takes it without a target",
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", b"CONNECT  HTTP/1.1\r\nHost: a\r\n\r\n"),
    ),
    Row(
        H11,
        "method not known|malformed request head: (Expected HTTP/2|Invalid method)",
        rb"\A",
        "llhttp's list of methods is Pyrox's too: a 501 for the rest (RFC 9110 9.1)",
        (b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", b"PRI / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ),
    Row(
        LLHTTP,
        "no Host|more than one Host",
        rb"(?i)\A(?!.*\nhost:)|\nhost:.*\nhost:",
        "RFC 9112 3.2: a 400 is a MUST; routing decides by it",
        (b"GET / HTTP/1.1\r\n\r\n", _GET + b"Host: a\r\n\r\n"),
    ),
    Row(
        BOTH,
        "invalid Host",
        rb"(?i)\nhost:(?![ \t]*a[ \t]*\r\n)",
        "RFC 9112 3.2: a 400 is a MUST when Host is no uri-host [ ':' port ]",
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",),
    ),
    Row(
        BOTH,
        "only HTTP/1.0|malformed (response head|status line)",
        rb"HTTP/(?!1\.[01])|\A[A-Z]*(?<!HTTP)/",
        "only HTTP/1.0 and 1.1 are spoken; what the head of another version means is not known",
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", b"GET / HTTP/1.2\r\n\r\n", b"HTTP/2.0 200 OK\r\n\r\n"),
    ),
    Row(
        BOTH,
        "malformed status line",
        rb"\A[^ ]* (?![1-5]\d\d[ \r])",
        "RFC 9110 15: a status outside 100 to 599 is invalid, and a 5xx error to a user agent at best",
        (b"HTTP/1.1 600 x\r\n\r\n", b"HTTP/1.1 099 x\r\n\r\n"),
    ),
    Row(
        BOTH,
        "malformed (status line|(request|response) head)|invalid (trailer|Content-Length|Transfer-Enc)",
        rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)",
        "RFC 9110 5.5: control characters are invalid in values, and in logs and terminals worse",
        (b"HTTP/1.1 200 a\x01\r\n\r\n", _GET + b"X: \x01\r\n\r\n", _POST + b"0\r\nX: \x01\r\n\r\n"),
    ),
    Row(
        H11,
        "malformed (request|response) head|invalid (trailer|Content-Length|Transfer-Encoding)",
        rb"\n[ \t]",
        "RFC 9112 5.2: a folded line MUST be rejected or replaced; a filter for one line misses it",
        (_GET + b"X: 1\r\n 2\r\n\r\n", _OK + b"X: 1\r\n 2\r\n\r\n", _POST + b"0\r\nX: 1\r\n 2\r\n\r\n"),
    ),
    Row(
        H11,
        "malformed (request|response) head|invalid Content-Length|more than one Content-Length",
        rb"(?i)\ncontent-length:.*,|\ncontent-length:.*\ncontent-length:",
        "RFC 9112 6.3 permits to refuse two lengths though equal; whoever joins them reads another",
        (_GET + b"Content-Length: 1, 1\r\n\r\nx", _GET + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx"),
    ),
    Row(
        H11,
        "malformed (request|response) head|invalid Content-Length|Content-Length with Transfer-Encoding",
        rb"(?i)\n(content-length:.*\ntransfer-encoding|transfer-encoding:.*\ncontent-length):",
        "RFC 9112 6.3: 'ought to be handled as an error': request smuggling, response splitting",
        (
            _POST[:-2] + b"Content-Length: 1\r\n\r\n" + _LAST,
            _OK + b"Content-Length: 1\r\n" + _OK_CHUNKED[17:] + _LAST,
        ),
    ),
    Row(
        H11,
        "malformed response head: Content-Length overflow",
        rb"(?i)\ncontent-length:[ \t]*\d{20}",
        "RFC 9110 8.6 asks to guard against overflow, also where the length frames nothing (HEAD, 304)",
        (b"HTTP/1.1 304 x\r\nContent-Length: 18446744073709551621\r\n\r\n",),
    ),
    Row(
        BOTH,
        "Transfer-Encoding in an HTTP/1.0",
        rb"(?i)HTTP/1\.0.*\ntransfer-encoding:",
        "RFC 9112 6.1: it MUST be treated as faulty framing; HTTP/1.0 knows no chunks",
        (_POST.replace(b"1.1", b"1.0") + _LAST, _OK_CHUNKED.replace(b"1.1", b"1.0") + _LAST),
    ),
    Row(
        LLHTTP,
        "transfer coding not understood|unusable Transfer-Encoding|invalid Transfer-Encoding",
        rb"(?i)\ntransfer-encoding:(?![ \t]*chunked[ \t]*\r\n(?!.*\ntransfer-encoding:))",
        "RFC 9112 7: Pyrox decodes one chunked coding; relaying another undecoded would corrupt the body",
        (
            _POST.replace(b"chunked", b"gzip, chunked") + _LAST,
            _POST.replace(b"chunked", b", chunked") + _LAST,
            _OK_CHUNKED.replace(b"chunked", b"chunked, chunked") + _LAST,
        ),
    ),
    Row(
        H11,
        "malformed request head: Request has invalid `Transfer-Encoding`",
        rb"(?i)\ntransfer-encoding:[ \t]*chunked[ \t]*\t[ \t]*\r\n",
        "RFC 9110 5.5: a tab after a value is no part of it, but llhttp takes this for another coding, and "
        "what servers differ on is not relayed",
        (_POST.replace(b"chunked", b"chunked\t") + _LAST,),
    ),
    Row(
        BOTH,
        "invalid chunk size",
        rb"\n[0-9A-Fa-f]+([ \t;][^\n]*|\r+)\r\n",
        "RFC 9112 7.1.1 without its bad whitespace: servers differ on where a sloppy extension ends",
        (_POST + b"1 \r\nx\r\n" + _LAST, _POST + b"1;a=\r\nx\r\n" + _LAST, _POST + b"1;\r\nx\r\n" + _LAST),
    ),
    Row(
        BOTH,
        "invalid chunk size",
        rb"\n[0-9A-Fa-f]{17,}",
        "more than 16 hex digits wrap in a 64-bit counter; nobody pads with zeros but to hide a number",
        (_POST + b"00000000000000001\r\nx\r\n" + _LAST,),
    ),
)

MORE_LENIENT = (
    Row(
        LLHTTP,
        "(Content-Length|Transfer-Encoding) can't be present",
        rb"(?i)\AHTTP/1.[01] (204|304) .*\n(content-length:.*\ntransfer-enc|transfer-enc.*\ncontent-length:)",
        "RFC 9112 6.3: such a response ends with its head 'regardless of the header fields present'. Neither "
        "field is sent on. h11 reads as Pyrox does",
        (b"HTTP/1.1 304 x\r\nContent-Length: 1\r\n" + _OK_CHUNKED[17:],),
    ),
    Row(
        LLHTTP,
        "Duplicate Content-Length",
        rb"(?i)\AHTTP/.*\ncontent-length:[ \t]*0*(\d+)[ \t]*\r\n(.*\n)?content-length:[ \t]*0*\1[ \t]*\r\n",
        "RFC 9112 6.3: a response whose lengths are all the same may be read by that one; frameworks do it. "
        "One line is sent on. h11 reads as Pyrox does",
        (_OK + b"Content-Length: 1\r\nX: 1\r\nContent-Length: 1\r\n\r\nx",),
    ),
    Row(
        H11,
        "no request line received",
        rb"\A\r\n",
        "RFC 9112 2.2: a server SHOULD ignore an empty line before the request",
        (b"\r\n" + _GET + b"\r\n",),
    ),
    Row(
        H11,
        "bad Content-Length",
        rb"(?i)\ncontent-length:[ \t]*0+\d",
        "RFC 9110 8.6: 1*DIGIT; leading zeros do not make a number larger. Sent on without them",
        (_GET + b"Content-Length: 000000000000000000001\r\n\r\nx",),
    ),
    Row(
        H11,
        "Only Transfer-Encoding|multiple Transfer-Encoding",
        rb"\AHTTP/1.[01] (1\d\d|204|304) ",
        "RFC 9112 6.3: such a response has no body 'regardless of the header fields present'",
        (b"HTTP/1.1 204 x\r\nTransfer-Encoding: gzip\r\n\r\n",),
    ),
    Row(
        H11,
        "Only Transfer-Encoding|multiple Transfer-Encoding|bad Content-Length|conflicting Content-Length",
        rb"(?i)\n0+(;[^\n]*)?\r\n.*(transfer-encoding|content-length):",
        "RFC 9110 6.5.1: framing fields in a trailer section frame nothing; they are not sent on",
        (_POST + b"0\r\nTransfer-Encoding: x\r\n\r\n",),
    ),
    Row(
        LLHTTP,
        "Invalid `Transfer-Encoding`|(Content-Length|Transfer-Encoding) can't be present|Duplicate Content",
        rb"(?i)\n0+(;[^\n]*)?\r\n.*(transfer-encoding|content-length):",
        "RFC 9110 6.5.1: as above",
        (_POST + b"0\r\nContent-Length: 5\r\n\r\n", _POST + b"0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ),
    Row(
        LLHTTP,
        "incomplete",
        rb"(?i)\ntransfer-encoding:[ \t]*chunked[ \t]*\t[ \t]*\r\n",
        "RFC 9110 5.5: a tab after a value is no part of it; llhttp takes 'chunked<TAB>' for another "
        "coding, and then reads until the close. h11 reads as Pyrox does",
        (_OK + b"Transfer-Encoding: chunked\t\r\n\r\n" + _LAST,),
    ),
)

FRAMED_OTHERWISE = (
    Row(
        LLHTTP,
        "",
        rb"\AHTTP/1.[01] 1(?!0[0-3])\d\d",
        "RFC 9112 6.3: no 1xx response has a body; llhttp knows that of 100 to 103 only. h11 knows it of all",
        (b"HTTP/1.1 104 x\r\nContent-Length: 1\r\n\r\n" + _OK,),
    ),
)
