"""What collections, tags and annotations may be called (contract section 6.1).

The store takes a general map of tags; a face may be narrower (BTrDB 5 knows four keys).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from lamina.errors import AnnotationTooBig, InvalidCollection, InvalidTagKey, InvalidTagValue

_TAG_KEY = re.compile(r"[a-z][a-z0-9_.]{0,62}\Z")
MAX_COLLECTION_BYTES = 255
MAX_TAG_VALUE = 256  # characters
MAX_ANNOTATION_KEY_BYTES = 256
MAX_ANNOTATION_BYTES = 64 * 1024


def check_collection(collection: str) -> None:
    """1 to 255 bytes of UTF-8 without NUL; `/` has no meaning. Raises InvalidCollection."""
    size = _utf8_size(collection)
    if not 1 <= size <= MAX_COLLECTION_BYTES or "\0" in collection:
        raise InvalidCollection(
            f"collection {_shown(collection)}: expected 1 to {MAX_COLLECTION_BYTES} bytes of UTF-8 without NUL"
        )


def check_tags(tags: Mapping[str, str]) -> None:
    """Keys: a small letter, then small letters, digits, `_`, `.`, below 64 bytes. Values: up to 256 characters
    without NUL. Raises InvalidTagKey, InvalidTagValue."""
    for key, value in tags.items():
        if not isinstance(key, str) or not _TAG_KEY.match(key):
            raise InvalidTagKey(f'tag key "{_short(key)}" is invalid')
        if not isinstance(value, str) or len(value) > MAX_TAG_VALUE or "\0" in value or _utf8_size(value) < 0:
            raise InvalidTagValue(
                f'value {_shown(value)} of tag "{key}" is invalid: '
                f"expected text of up to {MAX_TAG_VALUE} characters without NUL"
            )


def check_annotations(annotations: Mapping[str, str]) -> None:
    """Keys: 1 to 256 bytes of UTF-8. Values: up to 64 KiB. Raises InvalidTagKey, InvalidTagValue, AnnotationTooBig."""
    for key, value in annotations.items():
        if not isinstance(key, str) or not 1 <= _utf8_size(key) <= MAX_ANNOTATION_KEY_BYTES or "\0" in key:
            raise InvalidTagKey(f'annotation key "{_short(key)}" is invalid')
        if not isinstance(value, str) or (size := _utf8_size(value)) < 0:
            raise InvalidTagValue(f'value of annotation "{_short(key)}" is invalid: expected UTF-8 text')
        if size > MAX_ANNOTATION_BYTES:
            raise AnnotationTooBig(
                f'annotation "{_short(key)}" has {size} bytes: up to {MAX_ANNOTATION_BYTES} are allowed'
            )


def _utf8_size(text: object) -> int:
    """Bytes in UTF-8; -1 for what is no text or holds lone surrogates."""
    if not isinstance(text, str):
        return -1
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return -1


def _short(text: object) -> str:
    shown = str(text).encode("utf-8", "backslashreplace").decode()
    return shown if len(shown) <= 64 else shown[:61] + "..."


def _shown(text: object) -> str:
    return repr(_short(text))
