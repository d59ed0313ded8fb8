"""The seam to the commit log: ops go in, are made durable in groups, numbered, and published in order.

One log for all kinds. An op has a `seq` (1, 2, ... never reused); a group of ops shares one frame and one sync.
What an op means is the engine's business: the log calls a `Sink` to number and publish what it made durable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from lamina.storage.files import Buffer

OP_HEADER = np.dtype([("length", "<u4"), ("kind", "u1"), ("type", "u1"), ("flags", "<u2"), ("object", "<u8")])
"""16 bytes before every op's body (FORMAT.md); `length` counts header, body and padding, a multiple of 8."""


class Op:
    """One change of one object, before and while it is committed.

    `parts` is the body in pieces (the log pads it to 8 bytes); the sink may replace parts in `number`, never change
    their total length. `position` is the log position of the body's first byte, set before `publish`. `note` is
    whatever the maker wants to find again in `number` and `publish` without decoding the body; it is not stored.
    """

    __slots__ = ("flags", "kind", "note", "object_id", "parts", "position", "type")

    def __init__(
        self, kind: int, type: int, object_id: int, parts: list[Buffer], note: object = None, flags: int = 0
    ) -> None:
        self.kind = kind
        self.type = type
        self.object_id = object_id
        self.parts = parts
        self.note = note
        self.flags = flags
        self.position = 0


class Ticket(Protocol):
    seq: int  # of its first op; 0 until published
    result: object  # what `Sink.number` returned for it

    def wait(self, timeout_s: float | None = None) -> None:
        """Return when the ops are durable (as the mode promises) and published; re-raise the group's error.
        Raises Unavailable after the timeout; the ops may still be committed."""
        ...

    def add_done_callback(self, call: Callable[[Ticket], None]) -> None:
        """Call on the thread with the commit role, or at once if done; must not block."""
        ...

    def commit_here(self) -> bool:
        """For a thread that must not wait for a disk: commit now, on it, if no sync is needed for that, little is
        queued and nobody else is at it. Whether the ops are published, or have failed."""
        ...

    @property
    def error(self) -> BaseException | None:
        """Why it failed; None while pending or after success."""
        ...

    @property
    def done(self) -> bool: ...


class Sink(Protocol):
    """What the engine gives the log. Both are called by the one holder of the commit role, in seq order."""

    def number(self, first_seq: int, ops: Sequence[Op]) -> object:
        """Give versions to the ops of one submission, just before they are written. May raise a LaminaError: then
        this submission alone is refused, takes no seq and leaves nothing. The result goes into the ticket. Must be
        repeatable: after an interrupt it is called again with the same ops."""
        ...

    def publish(self, first_seq: int, ops: Sequence[Op]) -> None:
        """Make a whole durable group visible. Must be repeatable: after an interrupt it is called again."""
        ...


class ReplayFrame(NamedTuple):
    """An unbroken run of ops of one file, found at recovery; the body is the file up to its end."""

    first_seq: int
    ops: NDArray[np.void]  # OP_HEADER fields plus "offset" u8: where the body starts inside `body`
    body: memoryview
    position: int  # log position of body[0]; of an op's body: position + offset


class Damage(NamedTuple):
    """What recovery could not read although it was acknowledged (law 4)."""

    path: str
    first_missing: int
    last_missing: int


class Log(Protocol):
    def submit(self, ops: Sequence[Op], *, essential: bool = False) -> Ticket:
        """Queue ops as one submission: consecutive seqs, one frame, all or nothing. They are committed when somebody
        waits for the ticket, or gives it a callback. Blocks while the queue is full; raises Unavailable when poisoned,
        Closed, TooBig, NoSpace (not if `essential`: needed to free space)."""
        ...

    def barrier(self, timeout_s: float | None = None) -> int:
        """Wait until everything submitted before is published (or failed); the last published seq."""
        ...

    def read(self, position: int, length: int) -> bytes:
        """Bytes of the log that were published, at a position (record payloads). Raises Corrupt, NotFound."""
        ...

    def replay(self, after: int) -> Iterator[ReplayFrame]:
        """At open, before any submit: frames that hold ops with seq > after, in order. A frame may start with ops
        <= after; the caller skips those."""
        ...

    def sync(self) -> int:
        """Make everything published so far durable; the seq up to which it is. Free but in "os" mode."""
        ...

    def rotate(self) -> None:
        """Go on in a new file, so that trim can free the present one."""
        ...

    def trim(self, seq: int) -> None:
        """Ops <= seq are no longer needed: whole files below are unlinked, never the newest."""
        ...

    @property
    def published_seq(self) -> int: ...

    @property
    def damage(self) -> Sequence[Damage]:
        """Complete once `replay` is exhausted."""
        ...

    @property
    def bytes_kept(self) -> int:
        """Bytes from the oldest kept file to the end."""
        ...

    @property
    def ops_kept(self) -> int: ...

    @property
    def poisoned(self) -> BaseException | None: ...

    def close(self) -> None:
        """Finish what was submitted, sync, release. Idempotent."""
        ...
