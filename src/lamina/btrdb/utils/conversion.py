"""Annotations as text and back, and uuids."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any
from uuid import UUID

RFC3339 = "%Y-%m-%d %H:%M:%S.%f%z"


class AnnotationEncoder(json.JSONEncoder):
    """JSON, also of UUIDs, datetimes, numpy.datetime64 (RFC 3339) and sets (lists). A text is stored as it is, without
    quotes."""

    def default(self, obj: Any) -> Any:
        """What JSON has no form for."""
        if isinstance(obj, UUID):
            return str(obj)
        if isinstance(obj, dt.datetime):
            return obj.strftime(RFC3339)
        if isinstance(obj, set | frozenset):
            return list(obj)
        if type(obj).__module__ == "numpy":
            import numpy as np

            if isinstance(obj, np.datetime64):
                at: dt.datetime = obj.astype("datetime64[us]").astype(dt.datetime)
                return at.replace(tzinfo=dt.UTC).strftime(RFC3339)
        return super().default(obj)

    def encode(self, obj: Any) -> str:
        """The text that is stored."""
        text = super().encode(obj)
        return text.strip('"') if text.startswith('"') and text.endswith('"') else text


class AnnotationDecoder(json.JSONDecoder):
    """What the encoder wrote; a text that is no JSON is itself."""

    def decode(self, s: str) -> Any:  # type: ignore[override]
        """The object of a stored text."""
        try:
            return super().decode(s)
        except json.JSONDecodeError:
            return s


def to_uuid(obj: Any) -> UUID:
    """Of a UUID, or its text as str or bytes. Raises ValueError (no uuid), TypeError."""
    if isinstance(obj, UUID):
        return obj
    if isinstance(obj, bytes):
        obj = obj.decode()
    if isinstance(obj, str):
        return UUID(obj)
    raise TypeError(f"Cannot convert object to UUID ({type(obj).__name__})")
