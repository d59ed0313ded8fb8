"""The release of BTrDB's own Python client whose classes these are like."""

from __future__ import annotations

__version_info__ = {"major": 5, "minor": 34, "micro": 2, "releaselevel": "final"}


def get_version(short: bool = False) -> str:
    """ "5.34.2", which has no shorter form."""
    return ".".join(str(__version_info__[part]) for part in ("major", "minor", "micro"))
