"""What following inserts is bound by."""

from __future__ import annotations

from lamina.faces.btrdb.service.codes import RESOURCE_DEPLETED, Refused

MAILBOX = 1024
"""Undelivered inserts of a subscription; a reader that is further behind is cut off."""


def overflowed() -> Refused:
    """Why it was."""
    return Refused(RESOURCE_DEPLETED, f"more than {MAILBOX} inserts wait to be read: subscribe again and read faster")
