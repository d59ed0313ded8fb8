"""Kinds of errors -> HTTP statuses, and what of an error a client is told."""

from __future__ import annotations

import errno
import logging

from lamina import errors
from lamina.random import Random

log = logging.getLogger("lamina.native")

STATUSES: dict[type[Exception], int] = {
    # the most derived kind counts
    errors.NotFound: 404,
    errors.AlreadyExists: 409,
    errors.InvalidArgument: 422,
    errors.TooBig: 413,
    errors.Conflict: 409,
    errors.Unavailable: 503,
    errors.NoSpace: 507,
    errors.QuotaExceeded: 507,
    errors.PermissionDenied: 403,
    errors.Unauthenticated: 401,
    errors.Closed: 410,
    errors.Corrupt: 500,
}

MESSAGE_LIMIT = 4000
"""Characters of a message: it may repeat what the caller sent."""

NO_SPACE = "the disk of the server is full: reading and removing go on, writing after space was freed"


class Busy(errors.Unavailable):
    """Unavailable for a reason that may be told."""


class ClientGone(Exception):
    """The connection broke; nobody waits for an answer."""


def verdict(error: BaseException, random: Random) -> tuple[int, errors.LaminaError]:
    """Status, and the error as it is told.

    What the caller cannot do anything about (damaged data, a failed disk, a defect) is told by a random number only;
    the log has the number and the whole story. Paths and traces never leave the machine.
    """
    if isinstance(error, errors.NoSpace) or (
        isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    ):
        return 507, errors.NoSpace(NO_SPACE)
    hidden = not isinstance(error, errors.LaminaError) or (
        isinstance(error, (errors.Corrupt, errors.Unavailable)) and not isinstance(error, Busy)
    )
    if not hidden:
        assert isinstance(error, errors.LaminaError)
        if len(str(error)) > MESSAGE_LIMIT:
            error = type(error)(str(error)[:MESSAGE_LIMIT])
        return status_of(error), error
    number = random.token_bytes(6).hex()
    if isinstance(error, errors.Unavailable):
        log.warning("error %s: %s", number, error)
        return 503, errors.Unavailable(f"not possible at present (error {number} in the server's log): retry later")
    log.error("error %s: %s", number, error, exc_info=error)
    if isinstance(error, errors.Corrupt):
        return 500, errors.Corrupt(f"stored data is damaged; the server's log tells more under {number}")
    return 500, errors.LaminaError(f"internal error; the server's log tells more under {number}")


def status_of(error: errors.LaminaError) -> int:
    return next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), 500)
