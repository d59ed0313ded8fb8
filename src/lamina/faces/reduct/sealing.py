"""Link parameters that say everything and cannot be changed: text in the open, a keyed hash over it (contract 12).

ct is the request as compressed JSON, i whose token made the link, n sixteen random bytes, s HMAC-SHA256 of all three.
Who holds a link may read what it says: it says no more than which records it leads to.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote, urlencode

from lamina.catalog.rows import SecretRow
from lamina.errors import InvalidArgument

if TYPE_CHECKING:
    from lamina.engine.database import Database

KEY_NAME = "links"
KEY_BYTES = 32
NONCE_BYTES = 16


class Random(Protocol):
    def token_bytes(self, n: int) -> bytes: ...


def link_key(db: Database) -> bytes:
    """The key of this database's links, made at its first use. Blocks for a metadata commit then."""
    with db.catalog.snapshot() as snapshot:
        row = snapshot.secret(KEY_NAME)
    if row is None:
        row = SecretRow(KEY_NAME, db.random.token_bytes(KEY_BYTES))
        db.metadata.put([row])
        with db.catalog.snapshot() as snapshot:  # another call may have been quicker: the one that is kept counts
            row = snapshot.secret(KEY_NAME) or row
    return row.value


def seal(key: bytes, payload: bytes, issuer: str, random: Random) -> str:
    """The query string of a link."""
    text = _text(zlib.compress(payload))
    nonce = _text(random.token_bytes(NONCE_BYTES))
    mark = _text(_mac(key, text, issuer, nonce))
    return urlencode({"ct": text, "s": mark, "i": issuer, "n": nonce}, quote_via=quote)


def unseal(key: bytes, query: Mapping[str, str]) -> tuple[bytes, str]:
    """Payload and issuer. Raises InvalidArgument: a parameter is missing, or was changed."""
    for name in ("ct", "s", "i", "n"):
        if name not in query:
            raise InvalidArgument(f"Missing '{name}' parameter")
    text, issuer, nonce = query["ct"], query["i"], query["n"]
    expected = _text(_mac(key, text, issuer, nonce))
    if not hmac.compare_digest(expected.encode(), query["s"].encode("utf-8", "replace")):
        raise InvalidArgument("Query link is damaged")
    return zlib.decompress(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))), issuer


def _mac(key: bytes, text: str, issuer: str, nonce: str) -> bytes:
    parts = [part.encode("utf-8", "replace") for part in (text, issuer, nonce)]
    lengths = b"".join(len(part).to_bytes(8, "little") for part in parts)
    return hmac.new(key, lengths + b"".join(parts), hashlib.sha256).digest()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
