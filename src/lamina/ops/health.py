"""Whether an open database is fit for work, in words that may be shown to anybody."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

State = Literal["ready", "degraded", "poisoned", "starting"]


class Watched(Protocol):
    """What health and metrics need to know of a database."""

    @property
    def poisoned(self) -> BaseException | None: ...

    @property
    def degraded(self) -> Sequence[object]: ...

    def stats(self) -> Mapping[str, int | float]: ...


class Health(NamedTuple):
    """`ready`: full duty. `degraded`: full duty, but some stored ranges are damaged and answer Corrupt.
    `poisoned`: a write or sync failed; reads go on, writes are refused until a restart.
    `starting`: not open yet."""

    state: State
    reason: str  # "" when ready; names no path and no data: it is shown without a token

    @property
    def serving(self) -> bool:
        """Whether a load balancer should send work here."""
        return self.state in ("ready", "degraded")


STARTING = Health("starting", "The server is starting up, please try again later")
"""Text: contract reductstore section 1.8."""


def health(db: Watched | None) -> Health:
    """Of an open database, or of one that is still being opened (None)."""
    if db is None:
        return STARTING
    if db.poisoned is not None:
        return Health("poisoned", f"Writes stopped: a write or sync failed ({_kind(db.poisoned)}); restart")
    damages = len(db.degraded)
    if damages:
        return Health("degraded", f"{damages} damaged range{'s' if damages > 1 else ''}; run lamina doctor")
    return Health("ready", "")


def _kind(error: BaseException) -> str:
    """The error without its text, which may hold paths: its errno where there is one, else its type."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno is not None:
            return errno.errorcode.get(seen.errno, str(seen.errno))
        seen = seen.__cause__ or seen.__context__
    return type(error).__name__
