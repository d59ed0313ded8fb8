"""Links to one record of a query's result, for whoever has no token."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from lamina.reduct.connection import LINKS_BY_RECORD, Version
from lamina.reduct.msg.bucket import CreateQueryLinkRequest, QueryType
from lamina.reduct.query import asked, entry_names
from lamina.reduct.time import TimestampLike, unix_timestamp_from_any

OPTIONS = ("record_index", "record_entry", "record_timestamp", "expire_at", "file_name", "base_url")

LIFETIME = timedelta(days=1)


def link_request(
    version: Version,
    bucket: str,
    entries: str | Sequence[str],
    start: TimestampLike | None,
    stop: TimestampLike | None,
    when: dict[str, Any] | None,
    options: Mapping[str, Any],
) -> tuple[str, bytes]:
    """Path and body of the request. Raises ValueError (which record is not said), TypeError (unknown option)."""
    names = entry_names(entries)
    query = asked(QueryType.QUERY, names, start, stop, when, options, ("strict", "ext", *OPTIONS), only_metadata=False)
    index, entry, at = (options.get(name) for name in OPTIONS[:3])
    alone = names[0] if len(names) == 1 else ""
    if version >= LINKS_BY_RECORD:
        if at is None or index is not None:
            raise ValueError("a link names its record by record_timestamp, and record_entry where there are several")
        entry = entry or alone
        if not entry:
            raise ValueError("record_entry must be given together with record_timestamp: there are several entries")
        at = unix_timestamp_from_any(at)
        index = None
    else:
        index, entry, at = index or 0, None, None
    expire_at = options.get("expire_at")
    expires = time.time() + LIFETIME.total_seconds() if expire_at is None else _seconds(expire_at)
    file_name = options.get("file_name") or f"{alone or bucket}_{at if at is not None else index}.bin"
    request = CreateQueryLinkRequest(
        bucket=bucket,
        entry=alone,
        index=index,
        record_entry=entry,
        record_timestamp=at,
        query=query,
        expire_at=int(expires),
        base_url=options.get("base_url"),
    )
    return f"/links/{quote(file_name, safe='/')}", request.model_dump_json(exclude_none=True).encode()


def _seconds(moment: datetime) -> float:
    return moment.timestamp()
