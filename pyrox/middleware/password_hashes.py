"""Hashes of passwords, as the second column of an htpasswd file has them: those worth having, verified.

bcrypt, argon2 and SHA-crypt are slow by design, so that whoever gets the file cannot try many passwords.
``{SHA}`` is not, but there are programs that write nothing else. What is weaker is refused by name.
"""

from __future__ import annotations

import ctypes
import hashlib
import re
from base64 import b64decode
from collections.abc import Callable
from functools import cache
from hmac import compare_digest
from typing import Any

from pyrox.middleware.extras import require

Verify = Callable[[bytes, bytes], bool]  # the password and the hash -> whether they belong together

_is_bcrypt = re.compile(rb"\$2[aby]\$(?:0[4-9]|1[0-7])\$[./A-Za-z0-9]{53}").fullmatch
_is_argon2 = re.compile(
    rb"\$argon2(?:id|i|d)\$v=\d+\$m=(\d{1,7}),t=\d{1,3},p=\d{1,2}\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+"
).fullmatch
_is_sha_crypt = re.compile(
    rb"\$[56]\$(?:rounds=([1-9]\d{3,5})\$)?[./A-Za-z0-9]{1,16}\$(?:[./A-Za-z0-9]{43}|[./A-Za-z0-9]{86})"
).fullmatch
_is_sha1 = re.compile(rb"\{SHA\}[A-Za-z0-9+/]{27}=").fullmatch

_MAKE_ANEW = "make it anew with: htpasswd -B FILE USER"
_BCRYPT_SEES = 72  # bytes of a password; htpasswd leaves out the rest, too


def verifier_of(hashed: bytes) -> Verify:
    """Return what verifies passwords against ``hashed``; it computes for long, in C, without the GIL.

    Raises ``ValueError`` saying what is wrong with a hash that is too weak, too costly or no hash at all;
    it does not show the hash, which may be a password.
    """
    if _is_bcrypt(hashed):
        return _bcrypt(require("bcrypt", "passwords"))
    if argon2 := _is_argon2(hashed):
        if int(argon2[1]) > 1 << 20:
            raise ValueError("an argon2 hash that takes more than 1 GiB of memory")
        return _argon2(require("argon2.low_level", "passwords"))
    if _is_sha_crypt(hashed):
        _libcrypt()
        return _verify_sha_crypt
    if _is_sha1(hashed):
        return _verify_sha1
    raise ValueError(_fault_of(hashed))


def _fault_of(hashed: bytes) -> str:
    if hashed.startswith((b"$apr1$", b"$1$")):
        return f"a hash by MD5, which is too weak; {_MAKE_ANEW}"
    if hashed.startswith((b"$2a$", b"$2b$", b"$2y$")):
        return "a bcrypt hash that is cut off, or costs more than 17"
    if hashed.startswith(b"$"):
        return f"a hash that is damaged, too costly or of a kind not known here; {_MAKE_ANEW}"
    return f"plain text or a weak hash; {_MAKE_ANEW}"


def _bcrypt(bcrypt: Any) -> Verify:
    def verify(password: bytes, hashed: bytes) -> bool:
        return bool(bcrypt.checkpw(password[:_BCRYPT_SEES], hashed))

    return verify


def _argon2(argon2: Any) -> Verify:
    kinds = {b"d": argon2.Type.D, b"i": argon2.Type.I, b"id": argon2.Type.ID}
    mismatch = require("argon2.exceptions", "passwords").VerifyMismatchError

    def verify(password: bytes, hashed: bytes) -> bool:
        kind = kinds[hashed.split(b"$", 2)[1].removeprefix(b"argon2")]
        try:
            return bool(argon2.verify_secret(hashed, password, kind))
        except mismatch:
            return False

    return verify


def _verify_sha1(password: bytes, hashed: bytes) -> bool:
    digest = hashlib.sha1(password, usedforsecurity=False).digest()
    return compare_digest(digest, b64decode(hashed[len(b"{SHA}") :]))


def _verify_sha_crypt(password: bytes, hashed: bytes) -> bool:
    if b"\0" in password:  # C would see its beginning only
        return False
    state = ctypes.create_string_buffer(1 << 18)  # twice what the C libraries want for it
    found = _libcrypt()(password, hashed, state)
    return found is not None and compare_digest(found, hashed)


@cache
def _libcrypt() -> Any:
    """Return ``crypt_r``. Python's own ``crypt`` holds the GIL, and is gone from Python 3.13."""
    for name in ("libcrypt.so.1", "libcrypt.so.2", None):
        try:
            crypt = ctypes.CDLL(name).crypt_r
        except (OSError, AttributeError):
            continue
        crypt.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
        crypt.restype = ctypes.c_char_p
        return crypt
    raise ValueError(f"a hash by SHA-crypt, for which this system has no libcrypt; {_MAKE_ANEW}")
