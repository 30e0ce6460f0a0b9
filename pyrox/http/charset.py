"""Text in a body: character codings by their names, and a body as text while it streams by.

Only codings that give back the same bytes are known, so that text which nobody changes stays as it was:
stateful ones (iso-2022-jp, utf-7) do not, and Python's own (zlib, unicode_escape, idna) are a stranger's
way to make it compute.
"""

from __future__ import annotations

import codecs
import re
from encodings import normalize_encoding
from encodings.aliases import aliases
from functools import lru_cache
from typing import Literal

Errors = Literal["surrogateescape", "strict", "replace"]

_is_known = re.compile(
    r"utf-8|utf-16(-[lb]e)?|ascii|iso8859-\d+|cp125\d|cp949|koi8-[rtu]|tis-620|mac-roman"
    r"|euc_jp|euc_kr|gb2312|gbk|gb18030|big5|shift_jis"
).fullmatch

# Those of its modules that have no other name are not in Python's own table.
_CODECS = frozenset((*aliases, *aliases.values(), "koi8_t", "koi8_u"))
_is_label = re.compile(r"[A-Za-z0-9.:_-]{1,40}").fullmatch

_find_charset = re.compile(r';\s*charset\s*=\s*"?([^\s";,]+)', re.IGNORECASE).search

# A byte order mark says more than any name (WHATWG Encoding 6, "BOM sniff").
_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}

# No single byte of these can be shown as a character (utf-16), or Python's decoder loses some of them when
# a sequence of more than two is broken (the others).
_STRICT = ("utf-16-le", "utf-16-be", "gb18030", "euc_jp", "euc_kr")


def charset_of(content_type: str) -> str | None:
    """Return Python's name for the ``charset`` of a Content-Type; ``"utf-8"`` when there is none.

    None when it is not known, or one that cannot be turned into text and back unchanged.
    """
    found = _find_charset(content_type)
    return "utf-8" if found is None else _python_name(found.group(1).lower())


def codec_of(label: str) -> str | None:
    """Return the name of Python's codec for ``label``, None when there is none.

    Ask this before Python is asked: it remembers each name that it does not know, for ever.
    """
    name = normalize_encoding(label).lower() if _is_label(label) else ""
    return name if name in _CODECS else None


@lru_cache(maxsize=256)
def _python_name(label: str) -> str | None:
    codec = codec_of(label)
    if codec is None:
        return None
    name = codecs.lookup(codec).name
    # "utf-16le" by its name is what nearly all of it is (WHATWG Encoding 4.2).
    name = "utf-16-le" if name == "utf-16" else name
    return name if _is_known(name) else None


class TextBody:
    """Turns one body into text, piece by piece, and text back into its bytes.

    ``charset`` is what ``charset_of`` gives. A byte order mark decides against it; the mark is no part of
    the text and stands first in what is encoded. ``errors``: what becomes of bytes that are no text.
    ``"surrogateescape"`` shows each as a character from U+DC80 to U+DCFF, which is encoded as that byte
    again; ``"strict"`` raises ``UnicodeError``, always for utf-16, gb18030 and euc; ``"replace"`` makes it
    U+FFFD.
    """

    __slots__ = ("_charset", "_decoder", "_errors", "_held", "_mark")

    def __init__(self, charset: str, errors: Errors = "surrogateescape") -> None:
        self._charset = charset
        self._errors = errors
        self._decoder: codecs.IncrementalDecoder | None = None  # until there may be a mark no more
        self._held = b""
        self._mark = b""  # what stands before the next piece of encoded text

    def decode(self, data: bytes, final: bool = False) -> str:
        """Return the text that is complete with ``data``; ``final``: it is the last piece, maybe empty."""
        decoder = self._decoder
        if decoder is None:
            data = self._held + data
            if not final and _may_become_mark(data):
                self._held = data
                return ""
            decoder = self._start(data)
            data = data[len(self._mark) :]
        return decoder.decode(data, final)

    def encode(self, text: str) -> bytes:
        """Return the bytes of ``text``; raises ``UnicodeError`` when the charset has no place for it."""
        mark, self._mark = self._mark, b""
        return mark + text.encode(self._charset, self._errors_of(self._charset))

    def _start(self, data: bytes) -> codecs.IncrementalDecoder:
        for mark, charset in _MARKS.items():
            if data.startswith(mark):
                self._mark, self._charset = mark, charset
        make_decoder = codecs.getincrementaldecoder(self._charset)
        self._decoder = make_decoder(self._errors_of(self._charset))
        return self._decoder

    def _errors_of(self, charset: str) -> str:
        return "strict" if charset in _STRICT else self._errors


def _may_become_mark(data: bytes) -> bool:
    return any(mark.startswith(data) and mark != data for mark in _MARKS)
