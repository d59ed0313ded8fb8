"""One record on its way in: claimed first, then its content, then the commit (commit.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lamina.engine.records.arguments import TOO_LONG, TOO_SHORT
from lamina.engine.reserve import told_as_no_space
from lamina.errors import InvalidArgument, NotFound
from lamina.records.checksum import checksum
from lamina.records.labels import LabelSet
from lamina.storage.crc import crc32c
from lamina.storage.files import Buffer

if TYPE_CHECKING:
    from lamina.engine.records.bucket import Bucket
    from lamina.engine.records.entry_slot import EntrySlot
    from lamina.storage.upload import Upload

INLINE = 65_536
"""Contents up to here go through the log, longer ones straight into a payload file: what goes through the log is
written twice (architecture section 7 row 10)."""

OP_BYTES = 16 << 20
"""Contents put into one op: ops end at 48 MiB, and a smaller one is replayed in less memory."""


class Write:
    """Made by `Bucket.open_write`. Its time and its bytes of quota are claimed until it is committed or aborted.

    Not thread-safe; one after the other on any thread.
    """

    __slots__ = ("_content", "_crc", "_over", "_upload", "base", "bucket", "claimed", "content_type", "entry", "labels",
                 "size", "time_us")  # fmt: skip

    def __init__(
        self,
        bucket: Bucket,
        entry: EntrySlot,
        time_us: int,
        size: int,
        labels: LabelSet,
        content_type: str,
        base: int,
        claimed: int,
    ) -> None:
        self.bucket = bucket
        self.entry = entry
        self.time_us = time_us
        self.size = size
        self.labels = labels
        self.content_type = content_type
        self.base = base
        self.claimed = claimed
        self._content: Buffer | None = None
        self._upload: Upload | None = None
        self._crc = 0
        self._over = False

    @property
    def inline(self) -> bool:
        """Whether the content is given whole, by `set_content`."""
        return self.size <= INLINE

    def set_content(self, content: Buffer) -> None:
        """The whole content of an inline record. It must not change until the commit is through.

        Raises InvalidArgument if it is not as long as announced."""
        if len(content) != self.size:
            raise InvalidArgument(TOO_LONG if len(content) > self.size else TOO_SHORT)
        self._content = content
        self._crc = crc32c(content) if type(content) is bytes else checksum(content)

    def write(self, chunk: Buffer) -> None:
        """The next bytes of a record that is not inline; writes to the disk. Raises InvalidArgument, NoSpace,
        OSError."""
        with told_as_no_space(f"a content of {self.size} bytes"):
            if self._upload is None:
                self._upload = self.bucket.store.payloads.open_upload(
                    self.bucket.id, self.size, file_bytes=self.bucket.file_bytes
                )
            self._upload.write(chunk)

    def finish(self) -> None:
        """All bytes of a record that is not inline were given: make them durable. Raises InvalidArgument (too few),
        OSError."""
        finish_all([self])

    def _end_upload(self) -> int:
        """The payload file of a content whose bytes were all given."""
        if self._upload is None:
            raise InvalidArgument(TOO_SHORT)
        self._crc = self._upload.finish()
        return self._upload.file

    def abort(self) -> None:
        """Give up; nothing of the record remains. A no-op once it is committed or aborted."""
        if self._over:
            return
        self._over = True
        if self._upload is not None:
            self._upload.abort()
        self._content = None
        self.bucket.release(self.entry, [self.time_us], self.claimed)

    @property
    def upload(self) -> Upload | None:
        """Where the content of a record that is not inline lies."""
        return self._upload

    @property
    def crc(self) -> int:
        return self._crc

    @property
    def content(self) -> Buffer | None:
        return self._content

    def committed(self) -> None:
        """It is the log's now."""
        self._over = True

    def through(self, error: BaseException | None) -> None:
        """The log is done with it. What becomes of its file is the catalog's affair now; if it failed, what a later
        reopening finds in the log is found then."""
        if error is not None:
            self.bucket.release(self.entry, [self.time_us], self.claimed)
        if self._upload is not None:
            self._upload.release()


def finish_all(writes: Sequence[Write]) -> None:
    """`Write.finish` of many records of a bucket: one sync for each of their files. Raises as that does; those that
    are whole stay finished."""
    files = {write._end_upload() for write in writes}
    store = writes[0].bucket.store
    if store.settings.durability != "os":  # else the log's keeper syncs them before the ops
        store.payloads.sync(files)


def check_alive(entry: EntrySlot) -> None:
    """Raises NotFound for an entry that was removed."""
    if entry.dead or entry.leaving:
        raise NotFound(f"Entry '{entry.name}' not found in bucket '{entry.bucket.name}'")
