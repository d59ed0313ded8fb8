"""The metadata lane: one change at a time, logged first, then in the catalog, then answered.

Names, tags, settings and tokens exist nowhere in data segments, so every change is a meta op before it is a catalog
transaction (architecture section 7 row 21). A crash between the two is mended at recovery: meta ops with a seq above
the catalog's `meta_applied_seq` are applied again; they are puts and deletes of whole rows, hence repeatable.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from lamina.catalog import metafile
from lamina.catalog.catalog import Catalog, CatalogDelta, CatalogSnapshot
from lamina.catalog.rows import PinRow, Row
from lamina.errors import Unavailable
from lamina.storage.log import Log, Op
from lamina.time import Clock

KIND = 0
PUT, DEL, PIN, UNPIN = 1, 2, 3, 4

Deletion = tuple[str, Any]
"""(table, key)"""


class Change:
    """What one metadata change puts and deletes."""

    __slots__ = ("deletes", "puts")

    def __init__(self, puts: Sequence[Row] = (), deletes: Sequence[Deletion] = ()) -> None:
        self.puts = list(puts)
        self.deletes = list(deletes)


class Metadata:
    """Thread-safe: the lane's lock orders all changes."""

    def __init__(self, catalog: Catalog, log: Log, clock: Clock, epoch: int, applied_seq: int, dumped_seq: int) -> None:
        """`applied_seq`: of the catalog. `dumped_seq`: up to it the newest meta segment has everything; 0 = none."""
        self.lane = threading.Lock()  # held from the check to the answer; the first of all locks
        self._catalog = catalog
        self._log = log
        self._clock = clock
        self._epoch = epoch
        self.generation = 0  # +1 per change: caches of rows compare it
        self.dumped_seq = dumped_seq
        self.bytes_since_dump = int(applied_seq > dumped_seq)  # how many are unknown of an earlier life
        self.failed: BaseException | None = None

    def change(
        self,
        decide: Callable[[CatalogSnapshot], Change],
        *,
        essential: bool = False,
        applied: Callable[[], object] | None = None,
    ) -> int:
        """Apply what `decide` answers to a look at the catalog; the seq of its last op, 0 if nothing changed.

        `essential`: also on a full disk, because it lets space be freed. `applied` is called once the change is in
        the catalog, before the next one is decided: what memory has of it is kept in step. Raises what decide raises
        (nothing is changed then), Unavailable, NoSpace.
        """
        with self.lane:
            self._check()
            with self._catalog.snapshot() as snapshot:
                change = decide(snapshot)
            if not change.puts and not change.deletes:
                return 0
            ops = [Op(KIND, PUT, 0, [metafile.encode_put(row)]) for row in change.puts]
            ops += [Op(KIND, DEL, 0, [metafile.encode_delete(*deletion)]) for deletion in change.deletes]
            seq = self._commit(ops, change, essential)
            if applied is not None:
                applied()
            return seq

    def put(self, rows: Sequence[Row]) -> int:
        """Insert or replace rows of meta tables."""
        return self.change(lambda _: Change(rows))

    def delete(self, table: str, key: Any) -> int:
        return self.change(lambda _: Change(deletes=[(table, key)]))

    def pin(self, name: str) -> PinRow:
        """A named snapshot; its seq is that of its own op. An existing name is moved."""
        with self.lane:
            self._check()
            created_us = self._clock.wall_us()
            op = Op(KIND, PIN, 0, [metafile.encode_pin(name, created_us)])
            self.bytes_since_dump += _size([op])
            ticket = self._log.submit([op])
            ticket.wait()
            row = PinRow(name, ticket.seq, created_us)
            self._apply(ticket.seq, Change([row]))
            return row

    def unpin(self, name: str) -> None:
        with self.lane:
            self._check()
            self._commit(
                [Op(KIND, UNPIN, 0, [metafile.encode_unpin(name)])], Change(deletes=[("pin", name)]), essential=True
            )

    def _commit(self, ops: list[Op], change: Change, essential: bool) -> int:
        self.bytes_since_dump += _size(ops)
        ticket = self._log.submit(ops, essential=essential)
        ticket.wait()
        last = ticket.seq + len(ops) - 1
        self._apply(last, change)
        return last

    def _apply(self, seq: int, change: Change) -> None:
        delta = CatalogDelta(self._epoch)
        delta.puts += change.puts
        delta.deletes += _with_roots(change.deletes)
        delta.meta_applied_seq = seq
        try:
            self._log.sync()  # "os" mode: the catalog must not know more than the log will after a power loss
            self._catalog.commit(delta)
        except BaseException as error:
            # The op is durable, the tables may lack it: only recovery can bring them together again.
            self.failed = error
            raise
        self.generation += 1

    def dumped(self, seq: int) -> None:
        """A meta segment has everything up to `seq`. The lane is held."""
        self.dumped_seq = seq
        self.bytes_since_dump = 0

    def _check(self) -> None:
        if self.failed is not None:
            message = "metadata changes stopped after a failed catalog commit; reopen the database to recover"
            raise Unavailable(message) from self.failed

    def replay(self, changes: Sequence[tuple[int, Change]]) -> None:
        """Bring the catalog up to the log at recovery."""
        for seq, change in changes:
            delta = CatalogDelta(self._epoch)
            delta.puts += change.puts
            delta.deletes += _with_roots(change.deletes)
            delta.meta_applied_seq = seq
            self._catalog.commit(delta)
        if changes:
            self.generation += 1
            self.bytes_since_dump += 1


def _size(ops: Sequence[Op]) -> int:
    return sum(memoryview(part).nbytes for op in ops for part in op.parts)


def _with_roots(deletes: Sequence[Deletion]) -> list[Deletion]:
    """A stream takes its root along."""
    return [*deletes, *(("stream_root", key) for table, key in deletes if table == "stream")]


def decoded(type: int, seq: int, body: bytes) -> Change:
    """The change a meta op carries; a PIN pins its own seq. Raises Corrupt."""
    found = metafile.decode(type, body)
    if found.row is None:
        return Change(deletes=[(found.table, found.key)])
    return Change([found.row._replace(seq=seq) if type == PIN else found.row])
