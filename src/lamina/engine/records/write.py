"""One record on its way in: claimed first, then its content, then the commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from lamina.engine.records.arguments import TOO_LONG, TOO_SHORT
from lamina.engine.records.publish import AppendNote
from lamina.errors import InvalidArgument, NotFound
from lamina.records import ops
from lamina.records.checksum import checksum
from lamina.records.labels import LabelSet
from lamina.storage.crc import crc32c
from lamina.storage.files import Buffer
from lamina.storage.log import Op, Ticket

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
        """The next bytes of a record that is not inline; writes to the disk. Raises InvalidArgument, OSError."""
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

    def row(self, where: int, set: int, type: int) -> bytes:
        """As it stands in the op; `where`: of an inline content among the op's contents; `set`, `type`: in its
        tables."""
        upload = self._upload
        file = 0
        if upload is None:
            assert self._content is not None, "committed before the content was given"
        else:
            where, file = upload.where, upload.file
        return ops.ONE.pack(self.time_us, self.size, where, self.size, 0, self._crc, file, self.base, set, type, 0)

    @property
    def content(self) -> Buffer | None:
        return self._content

    def committed(self) -> None:
        """It is the log's now."""
        self._over = True

    def through(self) -> None:
        """The log is done with it."""
        if self._upload is not None:
            self._upload.release()


def finish_all(writes: Sequence[Write]) -> None:
    """`Write.finish` of many records of a bucket: one sync for each of their files. Raises as that does; those that
    are whole stay finished."""
    files = {write._end_upload() for write in writes}
    store = writes[0].bucket.store
    if store.settings.durability != "os":  # else the log's keeper syncs them before the ops
        store.payloads.sync(files)


class Commit:
    """Some writes under way: a ticket that takes the claims back where they fail."""

    __slots__ = ("_over", "_parts")

    def __init__(self, parts: list[tuple[Ticket, list[Write]]]) -> None:
        """Tickets, and the writes of each."""
        self._parts = parts
        self._over = False

    def wait(self) -> None:
        """Return when all are durable and readable. Raises what one of them failed with: then the others may have
        come through, and the claims of those that did not are free."""
        failed: Exception | None = None
        for ticket, _ in self._parts:
            try:
                ticket.wait()
            except Exception as error:
                failed = failed or error
        self._through()
        if failed is not None:
            raise failed

    def add_done_callback(self, call: Callable[[Commit], None]) -> None:
        """Call on the thread with the commit role when all is done; it must not block."""
        left = len(self._parts)

        def done(_: Ticket) -> None:
            nonlocal left
            left -= 1
            if not left:
                self._through()
                call(self)

        if not left:
            call(self)
        for ticket, _ in self._parts:
            ticket.add_done_callback(done)

    @property
    def error(self) -> BaseException | None:
        return next((ticket.error for ticket, _ in self._parts if ticket.error is not None), None)

    def _through(self) -> None:
        """Published, or of unknown fate: what becomes of their files is the catalog's affair now, and what a later
        reopening finds in the log is found then."""
        if self._over:
            return
        self._over = True
        for ticket, writes in self._parts:
            for write in writes:
                if ticket.error is not None:
                    write.bucket.release(write.entry, [write.time_us], write.claimed)
                write.through()


def commit(writes: Sequence[Write], submit: Callable[[Sequence[Op]], Ticket]) -> Commit:
    """Queue records whose contents are there. Raises what submitting raises; the claims of what was not queued are
    free then, and what was queued is committed all the same."""
    by_entry: dict[int, list[Write]] = {}
    for write in writes:
        by_entry.setdefault(write.entry.id, []).append(write)
    queued: list[tuple[Ticket, list[Write]]] = []
    try:
        for batch in _batches(by_entry.values()):
            ticket = submit([_op(part) for part in batch])
            queued.append((ticket, [write for part in batch for write in part]))
            for write in queued[-1][1]:
                write.committed()
    except Exception:
        for write in writes:
            write.abort()  # a no-op for those that are queued
        if queued:
            Commit(queued).add_done_callback(lambda _: None)  # nobody waits: it looks after their claims
        raise
    return Commit(queued)


def _batches(by_entry: Iterable[list[Write]]) -> Iterator[list[list[Write]]]:
    """What is submitted together: for each op its records."""
    batch: list[list[Write]] = []
    pending = 0
    for mine in by_entry:
        for part in _parts(mine):
            size = sum(write.size for write in part if write.content is not None)
            if batch and pending + size > 2 * OP_BYTES:
                yield batch
                batch, pending = [], 0
            batch.append(part)
            pending += size
    if batch:
        yield batch


def _parts(writes: list[Write]) -> list[list[Write]]:
    """Pieces that fit into an op."""
    if len(writes) == 1 or sum(write.size for write in writes) <= OP_BYTES:
        return [writes]
    parts: list[list[Write]] = [[]]
    size = 0
    for write in writes:
        length = write.size if write.content is not None else 0
        if parts[-1] and size + length > OP_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(write)
        size += length
    return parts


def _op(writes: list[Write]) -> Op:
    entry, limits = writes[0].entry, writes[0].bucket.limits
    if len(writes) == 1:
        (write,) = writes
        tables = write.bucket.tables(write.labels, write.content_type)
        row = write.row(0, 0, 0)
        contents: list[Any] = [write.content] if write.size and write.content is not None else []
        sets, types = [write.labels], [write.content_type]
        claimed = write.claimed
    else:
        set_ids: dict[LabelSet, int] = {}
        type_ids: dict[str, int] = {}
        rows = bytearray()
        contents = []
        where = claimed = 0
        labels: LabelSet | None = None
        number = 0
        for write in writes:
            if write.labels is not labels:  # mostly they are the same object, and hashing them costs as much as the row
                labels = write.labels
                number = set_ids.setdefault(labels, len(set_ids))
            rows += write.row(where, number, type_ids.setdefault(write.content_type, len(type_ids)))
            content = write.content
            if content is not None:
                where += write.size
                contents.append(content)
            claimed += write.claimed
        row = bytes(rows)
        sets, types = list(set_ids), list(type_ids)
        one = len(sets) == len(types) == 1
        tables = writes[0].bucket.tables(sets[0], types[0]) if one else ops.encode_tables(sets, types)
    parts = ops.append_parts(row, len(writes), len(sets), len(types), tables, limits, contents)
    note = AppendNote(
        entry,
        row,
        [write.time_us for write in writes],
        [write.size for write in writes],
        [write.base for write in writes],
        sets,
        types,
        limits,
        ops.contents_offset(len(writes), len(tables)),
        claimed,
    )
    return Op(ops.KIND, ops.APPEND, entry.id, parts, note)


def check_alive(entry: EntrySlot) -> None:
    """Raises NotFound for an entry that was removed."""
    if entry.dead or entry.leaving:
        raise NotFound(f"Entry '{entry.name}' not found in bucket '{entry.bucket.name}'")
