"""When each token was last used: in memory at once, in the catalog up to a minute later."""

from __future__ import annotations

import threading

from lamina.access.database import Database
from lamina.catalog.catalog import CatalogSnapshot
from lamina.catalog.rows import TokenRow
from lamina.engine.metadata import Change

SAVE_US = 60_000_000
"""A token's last use is written at most so often: a write is a synced op of the log."""


class Uses:
    """Last uses, by the id of the token: a name may be given again. Thread-safe."""

    __slots__ = ("_db", "_saving", "_seen", "_written")

    def __init__(self, db: Database) -> None:
        self._db = db
        self._seen: dict[str, int] = {}  # id -> µs; single stores and loads, so that a call waits for nothing
        self._saving = threading.Lock()  # one save at a time; guards _written
        self._written: dict[str, int] = {}  # id -> µs, of the tokens in _seen

    def note(self, id: str, now_us: int) -> None:
        self._seen[id] = now_us

    def last(self, row: TokenRow) -> int:
        """µs; 0: not known."""
        return max(self._seen.get(row.id, 0), row.last_access_us)

    def save(self, *, all: bool = False) -> None:
        """Write the uses that are due: of tokens whose use on disk is a minute older, or (`all`) older at all.

        Costs nothing when none is. Blocks for a metadata commit otherwise; raises what that raises.
        """
        with self._saving:
            apart = 1 if all else SAVE_US
            due = {id: us for id, us in self._seen.copy().items() if us - self._written.get(id, 0) >= apart}
            if not due:
                return
            known: set[str] = set()

            def decide(snapshot: CatalogSnapshot) -> Change:
                change = Change()
                for row in snapshot.tokens():
                    known.add(row.id)
                    us = due.get(row.id, 0)
                    self._written[row.id] = row.last_access_us
                    if us - row.last_access_us >= apart:
                        change.puts.append(row._replace(last_access_us=us))
                return change

            self._db.metadata.change(decide)
            for id, us in due.items():
                if id not in known:  # removed meanwhile
                    self._seen.pop(id, None)
                elif us - self._written[id] >= apart:
                    self._written[id] = us
            self._written = {id: us for id, us in self._written.items() if id in known}
