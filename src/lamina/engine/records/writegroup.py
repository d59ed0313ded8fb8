"""Whole records that become durable and readable together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from lamina.engine.records.arguments import CHUNK_BYTES
from lamina.engine.records.write import Write, finish_all
from lamina.records.labels import LabelSet
from lamina.storage.files import Buffer

if TYPE_CHECKING:
    from types import TracebackType

    from lamina.engine.records.bucket import Bucket
    from lamina.engine.records.entry import Entry


class WriteGroup:
    """Inside `with`, records are added; at its end all are committed and waited for, in one commit (in several above
    32 MiB). An error at the end, or one that leaves the block, aborts what was not committed: nothing of it remains.

    Of one bucket; not thread-safe.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._writes: list[Write] = []

    def __enter__(self) -> Self:
        return self

    def add(self, entry: Entry, time_us: int, data: Buffer, labels: LabelSet, content_type: str) -> None:
        """A record of an existing entry; `data` counts in bytes and must not change before the end. A long one goes to
        the disk now. Raises what `Bucket.open_write` and `Write.write` raise: this record is left out then, the others
        stay."""
        write = self._bucket.open_write(entry, time_us, len(data), labels, content_type)
        try:
            if write.inline:
                write.set_content(data)
            else:
                view = memoryview(data)
                for first in range(0, len(view), CHUNK_BYTES):
                    write.write(view[first : first + CHUNK_BYTES])
        except BaseException:
            write.abort()
            raise
        self._writes.append(write)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is not None or not self._writes:
                return
            large = [write for write in self._writes if not write.inline]
            if large:
                finish_all(large)
            commit = self._bucket.commit_writes(self._writes)
        finally:
            for write in self._writes:
                write.abort()  # a no-op for what was committed
        commit.wait()
