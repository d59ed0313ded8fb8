"""What a face is told by whoever starts the server; nothing here reads the environment."""

from __future__ import annotations

import dataclasses
from collections.abc import MutableMapping
from typing import Any

from lamina.version import __version__

API_VERSION = "1.21"
"""What SDKs decide by which endpoints to use (contract 1.2)."""

VERSION = "1.21.0"
"""Of the ReductStore whose API this is, shown by /info."""

SERVER = f"ReductStore {VERSION} (Lamina/{__version__})"
"""Clients look for `ReductStore 1.x.y` at its start."""

Scope = MutableMapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class BatchLimits:
    """When an answer with records is cut (contract 8.4, 1.6). A batch holds one record at least."""

    records: int = 85
    """99 headers are what requests and urllib take: 85 records and a small fixed set."""

    content_bytes: int = 8_000_000
    header_bytes: int = 15_000
    """Of all record headers together: Node's fetch takes 16 KiB of headers in total."""

    list_bytes: int = 8_000
    """Of x-reduct-entries and x-reduct-labels each: aiohttp takes lines of 8,190 bytes."""


@dataclasses.dataclass(frozen=True, slots=True)
class FaceConfig:
    """Of one face; the defaults suit a server that nobody configured."""

    base_path: str = "/"
    """Begins and ends with a slash; the API lies under it at api/v1."""

    public_url: str = ""
    """Begins links, ends with a slash, base path included. Empty: the request's Host says how the client got here."""

    instance_name: str = "localhost"
    instance_role: str = "STANDALONE"
    batch: BatchLimits = BatchLimits()
    hold_s: float = 1.0
    """How long a read of a continuous query waits for records before it says 204 (contract 8.3)."""

    threads: int = 8
    """At work on engine calls that may block. More would only wait for the same disk and the same GIL."""
