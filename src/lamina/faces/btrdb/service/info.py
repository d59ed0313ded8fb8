"""Who we are, and what is refused to be asked."""

from __future__ import annotations

from typing import NamedTuple

from lamina.faces.btrdb.service.codes import FAULT_INJECTION_DISABLED, Refused


class Release(NamedTuple):
    """The release of BTrDB whose behaviour the answers have."""

    major: int
    minor: int
    build: str


VERSION_5 = Release(5, 34, "5.34.0")
"""Clients look at the numbers only: the major one must be 5, and from minor 30 on the Python client uses Arrow."""

VERSION_4 = Release(4, 15, "4.15.9")


def fault_inject() -> None:
    """Always refused (424)."""
    raise Refused(FAULT_INJECTION_DISABLED, "Fault injection is disabled on this node")
