"""Kinds of errors -> status codes of the wire: the one table (contract section 7), and `stat` as bytes.

A domain error is a gRPC success that carries `stat`; a gRPC status is only for keys and permissions, because clients
do not translate those.
"""

from __future__ import annotations

import logging

from lamina import errors
from lamina.faces.btrdb.generated import lamina_wire_v5_pb2 as pb
from lamina.random import Random

log = logging.getLogger("lamina.btrdb")

NO_SUCH_POINT, STREAM_EXISTS_4, STREAM_EXISTS, WRONG_ARGS = 401, 406, 417, 421
FAULT_INJECTION_DISABLED, RESOURCE_DEPLETED, REUSED_UUID = 424, 426, 429
INVALID_PARAMETER, BAD_SQL, INTERNAL, NOT_IMPLEMENTED = 438, 441, 500, 501

TABLE: dict[type[Exception], tuple[int, str | None]] = {
    # the most derived kind counts; a text here replaces the error's own, because clients compare it
    errors.StreamNotFound: (404, "stream does not exist"),
    errors.VersionNotAvailable: (450, None),
    errors.NotFound: (445, None),
    errors.StreamExists: (STREAM_EXISTS, None),
    errors.AmbiguousStream: (418, "a stream already exists in that collection with identical tags"),
    errors.UuidBurnt: (REUSED_UUID, None),
    errors.AlreadyExists: (442, None),
    errors.InvalidTimeRange: (413, None),
    errors.InvalidWidth: (415, None),
    errors.InvalidValue: (425, None),
    errors.InvalidVersions: (427, None),
    errors.InvalidCollection: (407, None),
    errors.InvalidTagKey: (408, None),
    errors.InvalidTagValue: (409, None),
    errors.AnnotationTooBig: (422, None),
    errors.TooBig: (414, None),
    errors.InvalidArgument: (WRONG_ARGS, None),
    errors.PropertyVersionMismatch: (423, "stream annotation version does not match"),
    errors.Conflict: (430, None),
    errors.NoSpace: (
        RESOURCE_DEPLETED,
        "the disk of the server is full: reading and deleting go on, writing after space was freed",
    ),
    errors.QuotaExceeded: (RESOURCE_DEPLETED, None),
    errors.PermissionDenied: (437, None),  # only where no gRPC status can be sent any more
    errors.Closed: (402, "the server is stopping"),  # not UNAVAILABLE: the Go client would retry without end
}

_TEXT_LIMIT = 4000
"""Characters of a message; some errors repeat what the caller sent, which may be megabytes."""


class Refused(errors.InvalidArgument):
    """What only this wire has a code for."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def stat(code: int, text: str) -> bytes:
    """A whole response message that says only this: `stat` is field 1 of every response."""
    plain = text[:_TEXT_LIMIT].encode("utf-8", "replace").decode()
    return pb.StatusResponse(stat=pb.Status(code=code, msg=plain)).SerializeToString()


def answer(error: Exception, random: Random) -> bytes:
    """The response to a call that failed.

    What the caller cannot do anything about (damaged data, a failed disk, a defect) is told by a random number only;
    the log has the number and the whole story. Paths and traces never leave the machine.
    """
    if isinstance(error, Refused):
        return stat(error.code, str(error))
    for kind in type(error).__mro__:
        if kind in TABLE:
            code, text = TABLE[kind]
            return stat(code, text if text is not None else str(error))
    number = random.token_bytes(6).hex()
    if isinstance(error, errors.Unavailable):
        log.warning("error %s: %s", number, error)
        return stat(RESOURCE_DEPLETED, f"not possible at present (error {number}): retry later")
    log.error("error %s: %s", number, error, exc_info=error)
    damaged = isinstance(error, errors.Corrupt)
    what = "stored data is damaged" if damaged else "internal error"
    return stat(INTERNAL, f"{what}; the server's log tells more under {number}")
