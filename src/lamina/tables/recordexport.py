"""Records of a bucket into a folder or tar archive (`recordfiles.py` says how they lie there)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamina.engine.records.arguments import condition_of
from lamina.engine.records.record import SMALL, read_contents
from lamina.records.names import check_entry_name
from lamina.tables.recordfiles import BUCKET_FILE, PART_RECORDS, Described, bucket_text, part_name, target_of
from lamina.time import TimeLike

if TYPE_CHECKING:
    from lamina.engine.records.bucket import Bucket
    from lamina.engine.records.record import Record
    from lamina.tables.recordfiles import Target

Progress = Callable[[int, int], object]
"""(bytes of contents written, bytes in all; 0 where a condition or range selects some)"""

TOGETHER_BYTES = 4 << 20
"""Short contents read at a time."""


def export_records(
    bucket: Bucket,
    target: str | PathLike[str],
    *,
    entries: Sequence[str] = (),
    start: TimeLike | None = None,
    stop: TimeLike | None = None,
    when: Mapping[str, Any] | str | None = None,
    progress: Progress | None = None,
) -> tuple[int, int]:
    """Write records with start <= time < stop (µs, datetime, ISO 8601) that fulfil a condition; how many, and bytes of
    their contents.

    `target`: NAME.tar, .tar.gz, .tgz or .tar.xz, else a new folder. `entries`: without what is below them; none: all,
    attachments too. Each entry is exported as it is when its turn comes. Memory holds a thousand descriptions and 4
    MiB of contents. Raises AlreadyExists (target), NotFound (entry), InvalidArgument, Corrupt, OSError.
    """
    condition_of(when)  # a mistake in it leaves no folder behind
    names = [bucket.existing_entry(check_entry_name(name)).name for name in entries] or bucket.names()
    total = 0 if start is not None or stop is not None or when is not None else _bytes(bucket, names)
    place = target_of(Path(target))
    complete = False
    try:
        text = bucket_text(bucket.name, bucket.settings._asdict())
        place.add(BUCKET_FILE, len(text), [text])
        records = (record for name in names for record in bucket.entry(name).query(start, stop, when=when))
        done = _write(place, records, total, progress)
        complete = True
    finally:
        place.close(complete)
    return done


def _bytes(bucket: Bucket, names: Iterable[str]) -> int:
    return sum(bucket.entry(name).info().size for name in names)


def _write(place: Target, records: Iterator[Record], total: int, progress: Progress | None) -> tuple[int, int]:
    count = size = number = 0
    while part := list(islice(records, PART_RECORDS)):
        number += 1
        described = [
            Described(record.entry, record.time_us, record.size, record.content_type, record.labels) for record in part
        ]
        text = "".join(record.line() + "\n" for record in described).encode()
        place.add(part_name(number), len(text), [text])
        for record, what, content in zip(part, described, _contents(part), strict=True):
            place.add(what.file, record.size, content)
            count += 1
            size += record.size
            if progress is not None:
                progress(size, max(total, size) if total else 0)
    return count, size


def _contents(records: Sequence[Record]) -> Iterator[Iterable[bytes | memoryview]]:
    """Of each its pieces; neighbours that are short are read together."""
    at = 0
    while at < len(records):
        end, size = at, 0
        while end < len(records) and records[end].size <= SMALL and size < TOGETHER_BYTES:
            size += records[end].size
            end += 1
        if end == at:
            yield records[at].chunks()
            at += 1
        else:
            yield from ([content] for content in read_contents(records[at:end]))
            at = end
