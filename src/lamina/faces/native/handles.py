"""What clients have open: views, snapshots, subscriptions. Each holds something back in the engine, so their number is
bounded, and one that nobody uses is closed."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from lamina.errors import Closed
from lamina.faces.native.errors import Busy
from lamina.random import Random
from lamina.time import Clock

IDLE_S = 3600
"""Compaction waits for readers, and looks every ten minutes: it can wait for one that is idle for an hour."""

MOST, MOST_OF_ONE = 10_000, 1000
"""Open at a time, of all tokens and of one."""

MOST_PARTS = 100_000
"""Entries that one snapshot was asked for."""


class _Held:
    __slots__ = ("close", "kind", "owner", "parts", "root", "used_ns", "value")

    def __init__(self, kind: str, owner: str, value: Any, close: Callable[[], None] | None, root: str) -> None:
        self.kind = kind
        self.owner = owner
        self.value = value
        self.close = close
        self.root = root  # the handle this is a part of; its own where it is none
        self.parts: list[str] = []
        self.used_ns = 0


class Handles:
    """Thread-safe. A handle is good for the token it was given to."""

    def __init__(self, clock: Clock, random: Random) -> None:
        self._clock = clock
        self._random = random
        self._lock = threading.Lock()  # guards everything below
        self._held: dict[str, _Held] = {}
        self._roots: Counter[str] = Counter()  # by owner

    def __len__(self) -> int:
        return len(self._held)

    def add(self, kind: str, owner: str, value: Any, close: Callable[[], None]) -> str:
        """A new handle. Raises Busy, and closes the value, where too many are open."""
        id = self._random.token_bytes(16).hex()
        held = _Held(kind, owner, value, close, id)
        with self._lock:
            full = self._roots.total() >= MOST or self._roots[owner] >= MOST_OF_ONE
            if not full:
                held.used_ns = self._clock.monotonic_ns()
                self._held[id] = held
                self._roots[owner] += 1
        if full:
            close()
            raise Busy(
                f"too many views, snapshots and subscriptions are open: {MOST_OF_ONE} of one token, {MOST} of all"
            )
        return id

    def add_part(self, kind: str, owner: str, value: Any, of: str) -> str:
        """A handle that goes with another. Raises Busy, Closed."""
        id = self._random.token_bytes(16).hex()
        with self._lock:
            root = self._find(of, owner).root
            parts = self._held[root].parts
            if len(parts) >= MOST_PARTS:
                raise Busy(f"a snapshot was asked for more than {MOST_PARTS} entries: close it, and open it anew")
            parts.append(id)
            self._held[id] = _Held(kind, owner, value, None, root)
        return id

    def get(self, kind: str, owner: str, id: str) -> Any:
        """What the handle stands for. Raises Closed."""
        with self._lock:
            held = self._find(id, owner, kind)
            self._held[held.root].used_ns = self._clock.monotonic_ns()
            return held.value

    def _find(self, id: str, owner: str, kind: str = "snapshot") -> _Held:
        held = self._held.get(id)
        if held is None or held.owner != owner:
            raise Closed(
                f"this {kind} is open no more: the server closes what is not used for {IDLE_S} s, and has forgotten"
                " what was open before it was started; open it anew"
            )
        return held

    def drop(self, owner: str, id: str) -> None:
        """Close it. Nothing happens where it is closed."""
        with self._lock:
            held = self._held.get(id)
            if held is None or held.owner != owner or held.close is None:
                return
            self._forget(id, held)
        held.close()

    def _forget(self, id: str, held: _Held) -> None:
        del self._held[id]
        for part in held.parts:
            del self._held[part]
        self._roots[held.owner] -= 1
        if not self._roots[held.owner]:
            del self._roots[held.owner]

    def sweep(self) -> None:
        """Close what nobody used for IDLE_S. Call it now and then."""
        now = self._clock.monotonic_ns()
        self._close(lambda held: now - held.used_ns >= IDLE_S * 1_000_000_000)

    def close(self) -> None:
        self._close(lambda held: True)

    def _close(self, wanted: Callable[[_Held], bool]) -> None:
        with self._lock:
            going = [(id, held) for id, held in self._held.items() if held.root == id and wanted(held)]
            for id, held in going:
                self._forget(id, held)
        for _, held in going:
            if held.close is not None:
                held.close()
