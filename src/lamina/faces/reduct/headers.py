"""Words of the headers: names, label texts, numbers, and how each is kept from breaking a line (contract 1.6, 9.1).

Header values are visible ASCII. What does not fit in is percent-encoded in UTF-8, never refused: a record that was
written can be read (contract 21 item 4).
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from lamina.errors import InvalidArgument
from lamina.records.labels import NO_LABELS, LabelSet

Header = tuple[bytes, bytes]

LABEL_PREFIX = b"x-reduct-label-"
DEFAULT_TYPE = "application/octet-stream"
LAST_TIME = (1 << 64) - 1

CACHE_LIMIT = 4096
"""Entries of a cache of parsed or encoded headers; a full one is emptied. Writers repeat a few thousand label sets at
most, or never repeat one, and then no cache helps."""

CACHED_BYTES = 1024
"""Longer values are parsed each time, so that a cache holds 4 MiB at most."""

_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_HEX = frozenset(b"0123456789abcdefABCDEF")

_names: dict[str, str] = {}
_label_headers: dict[LabelSet, list[Header]] = {}
_label_sets: dict[tuple[Header, ...], LabelSet] = {}


def number(text: bytes) -> int | None:
    """An unsigned integer below 2**64 of ASCII digits, or None."""
    if not text.isdigit() or len(text) > 20:
        return None
    value = int(text)
    return value if value <= LAST_TIME else None


def encode_name(text: str) -> str:
    """A name as it stands in a list of names: what is no token character is percent-encoded, upper-case hex.

    A percent sign stays, as the reference's encoders leave it."""
    encoded = _names.get(text)
    if encoded is None:
        raw = text.encode("utf-8", "replace")
        encoded = "".join(chr(byte) if byte in _TOKEN else f"%{byte:02X}" for byte in raw)
        if len(_names) >= CACHE_LIMIT:
            _names.clear()
        _names[text] = encoded
    return encoded


def decode_name(encoded: bytes) -> str:
    """The name that was encoded; unencoded slashes are taken, too. Raises InvalidArgument."""
    if b"%" in encoded:
        place = encoded.find(b"%")
        while place >= 0:
            digits = encoded[place + 1 : place + 3]
            if len(digits) != 2 or not _HEX.issuperset(digits):
                raise _invalid_encoding(encoded)
            place = encoded.find(b"%", place + 3)
        raw = unquote_to_bytes(encoded)
    else:
        raw = encoded
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise _invalid_encoding(encoded) from None


def _invalid_encoding(encoded: bytes) -> InvalidArgument:
    return InvalidArgument(f"Invalid entry encoding in header name: '{encoded.decode('latin-1')}'")


def decode_names(value: bytes) -> list[str]:
    """Names separated by commas, spaces around them trimmed. Raises InvalidArgument for an encoding that is none."""
    return [decode_name(part.strip()) for part in value.split(b",")]


def visible(text: str, also: str = "") -> str:
    """The text with everything percent-encoded that is not visible ASCII or a space, and the characters of `also`."""
    if text.isascii() and text.isprintable() and not any(character in text for character in also):
        return text
    parts = []
    for character in text:
        if " " <= character <= "~" and character not in also:
            parts.append(character)
        else:
            parts.extend(f"%{byte:02X}" for byte in character.encode("utf-8", "replace"))
    return "".join(parts)


def batch_value(text: str) -> str:
    """A label's value in a batch header: in double quotes if it holds a comma.

    The grammar has no escape for quotes: where they would be read as the end of the value they are percent-encoded."""
    if "," in text:
        return f'"{visible(text, also=_QUOTE)}"'
    return visible(text, also=_QUOTE) if text.startswith('"') else visible(text)


_QUOTE = '"'


def batch_type(content_type: str) -> str:
    """A content type in a batch header, which ends at the next comma."""
    return visible(content_type, also=",")


def label_headers(labels: LabelSet) -> list[Header]:
    """The labels of a single record, a header each."""
    found = _label_headers.get(labels)
    if found is None:
        by_name: dict[bytes, bytes] = {}  # names differ in case only: the one in lower case, last in order, counts
        for name, value in labels:
            if name:
                by_name[LABEL_PREFIX + encode_name(name).lower().encode()] = visible(value).encode()
        found = list(by_name.items())
        if len(_label_headers) >= CACHE_LIMIT:
            _label_headers.clear()
        if sum(len(value) for _, value in found) <= CACHED_BYTES:
            _label_headers[labels] = found
    return found


def label_set(headers: tuple[Header, ...]) -> LabelSet:
    """The labels of a written record from its `x-reduct-label-` headers (and no others). Raises InvalidArgument."""
    if not headers:
        return NO_LABELS
    found = _label_sets.get(headers)
    if found is None:
        found = tuple(sorted(label_changes(headers).items()))
        if len(_label_sets) >= CACHE_LIMIT:
            _label_sets.clear()
        if sum(len(name) + len(value) for name, value in headers) <= CACHED_BYTES:
            _label_sets[headers] = found
    return found


def label_changes(headers: Iterable[Header]) -> dict[str, str]:
    """Label -> value of `x-reduct-label-` headers, the last one counts. Raises InvalidArgument."""
    changes = {}
    for name, value in headers:
        label = name[len(LABEL_PREFIX) :].decode("latin-1")
        try:
            changes[label] = value.decode()
        except UnicodeDecodeError:
            raise InvalidArgument(f"Label values for x-reduct-label-{label} must be valid UTF-8 strings") from None
    return changes
