"""Names as parts of a request's path, and texts as labels in its headers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import quote

from lamina.reduct.batch.text import TOKEN, check_value
from lamina.reduct.error import ReductError
from lamina.reduct.transport import Header

LABEL_PREFIX = "x-reduct-label-"


@lru_cache(256)
def bucket_path(bucket: str) -> str:
    return f"/b/{quote(bucket, safe='')}"


@lru_cache(4096)
def entry_path(bucket: str, entry: str) -> str:
    return f"/b/{quote(bucket, safe='')}/{quote(entry, safe='/$')}"


def io_path(bucket: str, what: str) -> str:
    """Of a call on several entries."""
    return f"/io/{quote(bucket, safe='')}/{what}"


@lru_cache(4096)
def _label_name(name: str) -> str:
    """The name of a label's header. Raises ReductError."""
    if not TOKEN.fullmatch(name):
        raise ReductError(400, f"label name {name!r} cannot be the name of a header: write it in a RecordBatch")
    return LABEL_PREFIX + name


def label_headers(labels: Mapping[str, object]) -> list[Header]:
    """One header per label; its name arrives in lower case. Raises ReductError (name), ValueError (value)."""
    return [(_label_name(name), check_value(str(value))) for name, value in labels.items()]
