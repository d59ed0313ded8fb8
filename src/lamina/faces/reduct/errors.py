"""Kinds of errors -> HTTP statuses: the one table (contract 1.3), and what an error looks like as an answer."""

from __future__ import annotations

import errno
import logging

from lamina import errors
from lamina.engine.records.quota import QuotaLost, StorageLimit
from lamina.random import Random

log = logging.getLogger("lamina.reduct")

TABLE: dict[type[Exception], int] = {
    # the most derived kind counts
    errors.NotFound: 404,
    errors.AlreadyExists: 409,
    errors.InvalidArgument: 422,
    errors.Conflict: 409,
    errors.QuotaExceeded: 400,
    errors.Unavailable: 503,
    errors.PermissionDenied: 403,
    errors.Unauthenticated: 401,
    QuotaLost: 500,
    StorageLimit: 500,
    errors.Closed: 503,
}

MESSAGE_LIMIT = 1000
"""Characters of a message: it travels in a header line, of which aiohttp takes 8,190 bytes, and it may repeat what the
caller sent."""

NO_SPACE = "Not enough free disk space in the data folder: reading and removing go on, writing after space was freed"

UNPARSABLE = b"Unparsable message"


class Refused(errors.LaminaError):
    """What only this wire has a status for."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ClientGone(Exception):
    """The connection broke; nobody waits for an answer."""


def verdict(error: BaseException, random: Random) -> tuple[int, str]:
    """Status and message of what went wrong.

    What the caller cannot do anything about (damaged data, a failed disk, a defect) is told by a random number only;
    the log has the number and the whole story. Paths and traces never leave the machine.
    """
    if isinstance(error, Refused):
        return error.status, str(error)[:MESSAGE_LIMIT]
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or isinstance(error, errors.NoSpace):
        return 507, NO_SPACE
    if isinstance(error, errors.Closed):
        return 503, "The server is stopping"
    for kind in type(error).__mro__:
        status = TABLE.get(kind)
        if status is not None and kind is not errors.Unavailable:
            return status, str(error)[:MESSAGE_LIMIT]
    number = random.token_bytes(6).hex()
    if isinstance(error, errors.Unavailable):
        log.warning("error %s: %s", number, error)
        return 503, f"Not possible at present (error {number}): retry later"
    log.error("error %s: %s", number, error, exc_info=error)
    what = "Stored data is damaged" if isinstance(error, errors.Corrupt) else "Internal error"
    return 500, f"{what}; the server's log tells more under {number}"


def message_value(message: str) -> bytes:
    """A message as the value of a header (contract 1.3)."""
    if message.isascii() and message.isprintable():
        return message.encode()
    return UNPARSABLE


def item_value(error: BaseException, random: Random) -> bytes:
    """What went wrong with one record of a batch, as the value of its error header: `<status>,<message>`."""
    status, message = verdict(error, random)
    return b"%d,%b" % (status, message_value(message))
