"""Kinds of errors -> status codes: the one table (contract section 7)."""

from __future__ import annotations

from lamina import errors

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
    errors.PermissionDenied: (437, None),  # over gRPC only where no status of its own can be sent any more
    errors.Closed: (402, "the server is stopping"),  # not UNAVAILABLE: the Go client would retry without end
}


class Refused(errors.InvalidArgument):
    """What only this contract has a code for."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def known(error: Exception) -> tuple[int, str] | None:
    """Code and text of an error that tells the caller what to do; None: the table has no such kind."""
    if isinstance(error, Refused):
        return error.code, str(error)
    for kind in type(error).__mro__:
        if kind in TABLE:
            code, text = TABLE[kind]
            return code, text if text is not None else str(error)
    return None
