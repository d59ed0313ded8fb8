"""The values of tokens: made or chosen, and the hash that is all that is kept of one.

A value made here carries 128 random bits, so one SHA-256 is enough; one that a person chose is stretched with scrypt
(architecture section 7 row 26), 50 ms and 16 MiB.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import NamedTuple

from lamina.catalog.rows import TokenRow
from lamina.errors import InvalidArgument
from lamina.random import Random

NAME_LIMIT = 255
VALUE_LIMIT = 512
"""Characters of a chosen value: it travels in a header."""

LONGEST = max(VALUE_LIMIT, NAME_LIMIT + 33)
"""Characters of any value there can be."""

_NAME = re.compile(rf"[!-~]{{1,{NAME_LIMIT}}}")  # part of a made value, which travels in a header: visible ASCII
_VALUE = re.compile(rf"[!-~]{{1,{VALUE_LIMIT}}}")

_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 1 << 14, 8, 1


class Hashed(NamedTuple):
    """What is kept of a value."""

    kind: str  # as TokenRow.kind
    salt: bytes
    hash: bytes


def check_name(name: str) -> None:
    """Raises InvalidArgument for a name that no token can have."""
    if not _NAME.fullmatch(name):
        raise InvalidArgument(f"token name {name[:40]!r}: expected 1 to {NAME_LIMIT} visible ASCII characters")


def made(name: str, random: Random) -> tuple[str, Hashed]:
    """A new value for the token of a name, `<name>-<32 hex digits>`, and what is kept of it."""
    value = f"{name}-{random.token_bytes(16).hex()}"
    salt = random.token_bytes(16)
    return value, Hashed("sha256", salt, _hash("sha256", salt, value.encode()))


def chosen(value: str, random: Random) -> Hashed:
    """What is kept of a value that a person chose. Raises InvalidArgument, which does not show it. Takes 50 ms."""
    if not _VALUE.fullmatch(value):
        raise InvalidArgument(
            f"the value of a token has 1 to {VALUE_LIMIT} visible ASCII characters; the one given has {len(value)}"
        )
    salt = random.token_bytes(16)
    return Hashed("scrypt", salt, _hash("scrypt", salt, value.encode()))


def is_value_of(row: TokenRow, secret: bytes) -> bool:
    """Compares in constant time. Takes 50 ms for a chosen value."""
    return hmac.compare_digest(_hash(row.kind, row.salt, secret), row.hash)


def _hash(kind: str, salt: bytes, secret: bytes) -> bytes:
    if kind == "sha256":
        return hashlib.sha256(salt + secret).digest()
    return hashlib.scrypt(secret, salt=salt, n=_SCRYPT_N, r=_SCRYPT_R, p=_SCRYPT_P, maxmem=64 << 20, dklen=32)
