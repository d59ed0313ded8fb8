"""The place an entry's published state hangs on, and the claims of writers on its times."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from lamina.records.blocks import Blocks
from lamina.records.state import EntryState

if TYPE_CHECKING:
    from lamina.engine.records.bucket import Bucket
    from lamina.engine.records.publish import SealedVictim


class EntrySlot:
    """One living entry. There is never a second slot for an entry."""

    __slots__ = (
        "applied",
        "blocks",
        "bucket",
        "claims",
        "created_us",
        "dead",
        "described",
        "evicted_through",
        "evicting",
        "high",
        "id",
        "keys",
        "leaving",
        "listeners",
        "lock",
        "meta",
        "name",
        "pending",
        "places",
        "sealing",
        "state",
    )

    def __init__(self, id: int, bucket: Bucket, name: str, meta: bool, created_us: int, state: EntryState) -> None:
        self.id = id
        self.bucket = bucket
        self.name = name  # changed by renames, on the metadata lane
        self.meta = meta  # attachments: hidden, never evicted
        self.created_us = created_us
        self.state = state  # replaced under the publish lock only
        self.blocks = Blocks()  # changed under the publish lock only
        self.dead = False  # removed; set under the publish lock
        self.leaving = False  # about to be removed: takes no more ops; set under the publish lock
        self.applied = state.seq  # seq up to which the catalog has it; changed under `sealing`
        self.described = 0  # segment with the newest directory known of it; a rebuild needs it; under `sealing`
        self.lock = threading.RLock()  # object lock: from resolving a label update or removal to its publication
        self.sealing = threading.Lock()  # one seal or rewrite at a time; taken before `lock`
        self.claims = threading.Lock()  # guards the two below; never held while anything waits
        self.high = -1  # largest time ever claimed: a higher one cannot be taken
        self.pending: set[int] = set()  # claimed, not yet published
        self.evicted_through = -1  # evictions under way reach here; guarded by the bucket's lock
        self.evicting = 0  # bytes that they take, which the bucket's load counts as gone; likewise
        self.keys: dict[str, int] | None = None  # attachments: times by key, once loaded; under the publish lock
        self.places: dict[int, SealedVictim] = {}  # attachments: those in sections, by time; under the publish lock
        self.listeners: tuple[Callable[[], None], ...] = ()  # called when records were published; must not block

    def release(self, times: list[int]) -> None:
        """Forget claims."""
        with self.claims:
            self.pending.difference_update(times)

    @property
    def needed_seq(self) -> int:
        """The oldest op this entry needs from the log; 0: none."""
        return self.state.needed
