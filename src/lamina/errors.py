"""What can go wrong, as one tree. A kind tells the caller what to do; the message shows the value.

    LaminaError
    ├── NotFound (LookupError)              ask for something else
    │   ├── StreamNotFound
    │   └── VersionNotAvailable             never given, or pruned
    ├── AlreadyExists (ValueError)          choose another identity
    │   ├── StreamExists                    the uuid is in use
    │   ├── AmbiguousStream                 same collection and tags as another stream
    │   └── UuidBurnt                       the uuid belonged to an obliterated stream
    ├── InvalidArgument (ValueError)        fix the call
    │   ├── InvalidTimeRange
    │   ├── InvalidWidth                    point width, window width, depth, resolution
    │   ├── InvalidValue                    NaN, infinity, null
    │   ├── InvalidVersions                 a range of versions that runs backwards
    │   ├── InvalidCollection
    │   ├── InvalidTagKey
    │   ├── InvalidTagValue
    │   ├── AnnotationTooBig
    │   └── TooBig                          more than one call may carry
    ├── Conflict                            reload, then retry
    │   └── PropertyVersionMismatch
    ├── Unavailable                         retry later
    │   └── NoSpace                         the volume is below its reserve
    ├── OutcomeUnknown                      a change may have been made or not: look, then decide
    ├── QuotaExceeded
    ├── PermissionDenied (PermissionError)  the token does not allow it: take another
    │   └── Unauthenticated                 no token, or none that is valid: say who you are
    ├── Locked                              another process holds the directory, or this one already does
    ├── Corrupt                             bytes on disk are wrong
    │   └── UnknownFormat                   written by a newer Lamina
    └── Closed (ValueError)                 open it again

A subclass exists only where a caller or a wire format acts differently.
"""


class LaminaError(Exception):
    """Base of everything Lamina raises on purpose."""


class NotFound(LaminaError, LookupError):
    """There is no such thing."""


class StreamNotFound(NotFound):
    """No stream has this uuid, or it was obliterated."""


class VersionNotAvailable(NotFound):
    """The stream has no such version: never given, or pruned by retention."""


class AlreadyExists(LaminaError, ValueError):
    """The identity is taken."""


class StreamExists(AlreadyExists):
    """A stream with this uuid exists."""


class AmbiguousStream(AlreadyExists):
    """Another stream has this collection and identical tags."""


class UuidBurnt(AlreadyExists):
    """The uuid belonged to a stream that was obliterated; it is never given again."""


class InvalidArgument(LaminaError, ValueError):
    """The call cannot be carried out as it is written."""


class InvalidTimeRange(InvalidArgument):
    """A time outside the storable range, or a range that is empty or runs backwards."""


class InvalidWidth(InvalidArgument):
    """A point width, window width, depth or resolution outside its range."""


class InvalidValue(InvalidArgument):
    """A value that cannot be stored: NaN, infinity or null."""


class InvalidVersions(InvalidArgument):
    """A range of versions that runs backwards."""


class InvalidCollection(InvalidArgument):
    """A collection name that is empty, too long or holds a NUL."""


class InvalidTagKey(InvalidArgument):
    """A tag or annotation key that is not allowed."""


class InvalidTagValue(InvalidArgument):
    """A tag value that is not allowed."""


class AnnotationTooBig(InvalidArgument):
    """An annotation value above its limit."""


class TooBig(InvalidArgument):
    """More than one call may carry."""


class Conflict(LaminaError):
    """Somebody else changed it first: reload and retry."""


class PropertyVersionMismatch(Conflict):
    """The metadata changed since the expected property version."""


class Unavailable(LaminaError):
    """Not now: overloaded, or stopped after a failed sync. Reads go on; retry writes later."""


class NoSpace(Unavailable):
    """The volume has less free space than the configured reserve; reading and deleting still work."""


class OutcomeUnknown(LaminaError):
    """A server was asked for a change, and the connection broke before it answered: it was made, or not. Never raised
    for a database in this process. It is not Unavailable, which may be retried without a look."""


class QuotaExceeded(LaminaError):
    """A bucket's quota does not admit this."""


class PermissionDenied(LaminaError, PermissionError):
    """The token does not allow this."""


class Unauthenticated(PermissionDenied):
    """No token was given, or it is unknown, dead, or not for the caller's address."""


class Locked(LaminaError):
    """Another process has the directory open. `pid` is its process id, 0 if unknown."""

    def __init__(self, message: str, pid: int = 0) -> None:
        super().__init__(message)
        self.pid = pid


class Corrupt(LaminaError):
    """Bytes on disk are wrong. The message names file, offset, what was expected and what was found."""


class UnknownFormat(Corrupt):
    """The file needs a newer reader than this one."""


class Closed(LaminaError, ValueError):
    """The database, snapshot or handle is closed, or belongs to the process that forked this one."""
