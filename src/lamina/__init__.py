"""Lamina: a time-series database for everything a machine emits, in one directory.

    import lamina

    with lamina.open("data") as db:
        s = db.streams.create("plant/pump-3", "vibration", unit="g")
        s.insert(times, values)                          # int64 ns and float64 arrays -> version
        s.windows(start, end, width="1s").to_pandas()    # statistics at any zoom
        s.values(start, end, version=11)                 # any version, as it was

`open` gives a `Database`; `db.streams` its streams. Errors are the tree in `lamina.errors`. Names are loaded on first
use: `import lamina` itself costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lamina.version import __version__

if TYPE_CHECKING:
    from lamina.columns import Ranges, Samples, Summaries
    from lamina.engine.database import Database
    from lamina.engine.open import open_database as open
    from lamina.engine.snapshot import Snapshot
    from lamina.engine.stream import Stream
    from lamina.engine.view import StreamView
    from lamina.errors import LaminaError
    from lamina.settings import Settings

_HOME = {
    "Database": "lamina.engine.database",
    "LaminaError": "lamina.errors",
    "Ranges": "lamina.columns",
    "Samples": "lamina.columns",
    "Settings": "lamina.settings",
    "Snapshot": "lamina.engine.snapshot",
    "Stream": "lamina.engine.stream",
    "StreamView": "lamina.engine.view",
    "Summaries": "lamina.columns",
    "open": "lamina.engine.open",
}

__all__ = [
    "Database",
    "LaminaError",
    "Ranges",
    "Samples",
    "Settings",
    "Snapshot",
    "Stream",
    "StreamView",
    "Summaries",
    "__version__",
    "open",
]


def __getattr__(name: str) -> Any:
    """Names of the public API, imported when they are first asked for (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'lamina' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOME[name]), "open_database" if name == "open" else name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
