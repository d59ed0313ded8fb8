"""The commit of records whose contents are there: into ops, to the log, and the claims back where it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lamina.engine.records.append import append_op
from lamina.engine.records.batch import Batch
from lamina.engine.records.write import OP_BYTES, Write
from lamina.records import ops
from lamina.records.row import ROW
from lamina.storage.log import Op, Ticket

if TYPE_CHECKING:
    from lamina.records.labels import LabelSet


class Commit:
    """Some writes under way: a ticket that takes the claims back where they fail."""

    __slots__ = ("_over", "_parts")

    def __init__(self, parts: list[tuple[Ticket, list[Write | Batch]]]) -> None:
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

    def here(self) -> bool:
        """For a thread that must not wait: whether all is through, committed on this thread if that is quickly done.
        Else `add_done_callback`."""
        done = all(ticket.commit_here() for ticket, _ in self._parts)
        if done:
            self._through()
        return done

    @property
    def error(self) -> BaseException | None:
        return next((ticket.error for ticket, _ in self._parts if ticket.error is not None), None)

    def _through(self) -> None:
        if self._over:
            return
        self._over = True
        for ticket, writes in self._parts:
            error = ticket.error
            for write in writes:
                write.through(error)


class _Part(NamedTuple):
    """What becomes an op."""

    size: int  # of the contents in it
    writes: Sequence[Write] | Batch

    def op(self) -> Op:
        return self.writes.op() if isinstance(self.writes, Batch) else _op(self.writes)

    def members(self) -> Sequence[Write | Batch]:
        return (self.writes,) if isinstance(self.writes, Batch) else self.writes


def commit(writes: Sequence[Write | Batch], submit: Callable[[Sequence[Op]], Ticket]) -> Commit:
    """Queue records whose contents are there. Raises what submitting raises; the claims of what was not queued are
    free then, and what was queued is committed all the same."""
    queued: list[tuple[Ticket, list[Write | Batch]]] = []
    try:
        for parts in _submissions(writes):
            ticket = submit([part.op() for part in parts])
            members = [write for part in parts for write in part.members()]
            queued.append((ticket, members))
            for write in members:
                write.committed()
    except Exception:
        for write in writes:
            write.abort()  # a no-op for those that are queued
        if queued:
            Commit(queued).add_done_callback(lambda _: None)  # nobody waits: it looks after their claims
        raise
    return Commit(queued)


def _submissions(writes: Sequence[Write | Batch]) -> Iterator[list[_Part]]:
    """What is submitted together."""
    gathered: list[_Part] = []
    pending = 0
    for part in _parts(writes):
        if gathered and pending + part.size > 2 * OP_BYTES:
            yield gathered
            gathered, pending = [], 0
        gathered.append(part)
        pending += part.size
    if gathered:
        yield gathered


def _parts(writes: Sequence[Write | Batch]) -> Iterator[_Part]:
    """Batches, and the single writes of each entry in pieces that fit into an op."""
    by_entry: dict[int, list[Write]] = {}
    for write in writes:
        if isinstance(write, Batch):
            yield _Part(write.size, write)
        else:
            by_entry.setdefault(write.entry.id, []).append(write)
    for mine in by_entry.values():
        part: list[Write] = []
        size = 0
        for write in mine:
            length = write.size if write.upload is None else 0
            if part and size + length > OP_BYTES:
                yield _Part(size, part)
                part, size = [], 0
            part.append(write)
            size += length
        yield _Part(size, part)


def _op(writes: Sequence[Write]) -> Op:
    """Of single writes of one entry."""
    first = writes[0]
    times = [write.time_us for write in writes]
    contents = [write.content for write in writes if write.content is not None and write.size]
    if len(writes) == 1:
        where, file = (0, 0) if first.upload is None else (first.upload.where, first.upload.file)
        row = ops.ONE.pack(first.time_us, first.size, where, first.size, 0, first.crc, file, first.base, 0, 0, 0)
        return append_op(
            first.bucket, first.entry, row, times, [first.labels], [first.content_type], contents, first.claimed
        )
    rows = np.zeros(len(writes), ROW)
    rows["time"] = times
    rows["size"] = rows["stored"] = [write.size for write in writes]
    rows["crc"] = [write.crc for write in writes]
    rows["meta"] = [write.base for write in writes]
    uploads = [(i, write.upload) for i, write in enumerate(writes) if write.upload is not None]
    lengths = rows["size"].copy()
    lengths[[i for i, _ in uploads]] = 0
    rows["where"] = np.cumsum(lengths) - lengths
    for i, upload in uploads:
        rows["where"][i], rows["file"][i] = upload.where, upload.file
    sets: dict[LabelSet, int] = {}
    types: dict[str, int] = {}
    labels: LabelSet | None = None
    number = 0
    numbers: list[int] = []
    for write in writes:
        if write.labels is not labels:  # mostly they are the same object, and hashing them costs more than the rest
            labels = write.labels
            number = sets.setdefault(labels, len(sets))
        numbers.append(number)
    rows["set"] = numbers
    rows["type"] = [types.setdefault(write.content_type, len(types)) for write in writes]
    claimed = sum(write.claimed for write in writes)
    return append_op(first.bucket, first.entry, rows.tobytes(), times, list(sets), list(types), contents, claimed)
