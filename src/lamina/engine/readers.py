"""Who looks back: open readers and named snapshots, each as of a seq.

What lived then stays readable: sealing and compaction keep rows that some reader sees, leases keep their files.
"""

from __future__ import annotations

import threading

from lamina.catalog.catalog import Catalog, CatalogSnapshot
from lamina.engine.leases import Leases
from lamina.storage.log import Log


class Readers:
    """Thread-safe; shared by records and points."""

    def __init__(self, catalog: Catalog, log: Log, leases: Leases) -> None:
        self._catalog = catalog
        self._log = log
        self.leases = leases
        self._lock = threading.Lock()  # guards `open`
        self.open: dict[int, int] = {}  # seq -> open readers that look as of it

    def begin(self, seq: int | None = None) -> tuple[int, int]:
        """Look as of a seq, None: now. (seq, lease), to be given to `end`."""
        lease = self.leases.take()
        with self._lock:
            chosen = self._log.published_seq if seq is None else seq
            self.open[chosen] = self.open.get(chosen, 0) + 1
        return chosen, lease

    def end(self, held: tuple[int, int]) -> None:
        seq, lease = held
        with self._lock:
            left = self.open[seq] - 1
            if left:
                self.open[seq] = left
            else:
                del self.open[seq]
        self.leases.give_back(lease)

    def pins(self) -> list[int]:
        """Seqs that named snapshots and open readers look as of, ascending."""
        with self._catalog.snapshot() as snapshot:
            named = [pin.seq for pin in snapshot.pins()]
        with self._lock:
            return sorted({*named, *self.open})

    def anybody(self, catalog: CatalogSnapshot) -> bool:
        """Whether somebody looks back at all."""
        with self._lock:
            looking = bool(self.open)
        return looking or next(iter(catalog.pins()), None) is not None
