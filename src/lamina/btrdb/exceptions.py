"""What goes wrong, as programs for BTrDB catch it, and calling again.

    BTrDBError
    ├── ConnectionError                 the directory or the server cannot be had, or not any more
    ├── StreamNotFoundError             404
    ├── BTRDBServerError                "CODE: TEXT" of what has no class of its own
    ├── InvalidOperation
    │   ├── StreamExists                417: the uuid is in use
    │   ├── AmbiguousStream             418: same collection and tags as another stream
    │   └── PermissionDenied            the key does not allow it
    ├── BTRDBValueError (ValueError)
    │   ├── NoSuchPoint                 401
    │   ├── InvalidCollection, InvalidTagKey, InvalidTagValue     407, 408, 409
    │   ├── InvalidTimeRange, InvalidPointWidth                   413, 415
    │   ├── BadValue                    425: NaN, infinity, null
    │   ├── RecycledUUID                429: the uuid of an obliterated stream
    │   ├── BadSQLValue                 441
    │   └── VersionNotAvailable         450
    ├── BTRDBTypeError (TypeError)
    ├── CredentialsFileNotFound (FileNotFoundError)
    └── ProfileNotFound

The same call fails with the same class and text on a directory and on a server. What a connection to a server fails
with is a `grpc.RpcError` besides.
"""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, NoReturn, TypeVar

from lamina.time import Clock, SystemClock

log = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])

MAX_RETRIES = 5
INITIAL_RETRY_DELAY = 3
"""Seconds."""
RETRY_BACKOFF_FACTOR = 4
"""Each wait is so many times the one before."""


class BTrDBError(Exception):
    """Base of everything that BTrDB refuses. `stat` is the status code, 0 if it has none."""

    stat = 0


class ConnectionError(BTrDBError):  # the original's name
    """There is no connection to the database, or not any more: connect again."""


class StreamNotFoundError(BTrDBError):
    """No stream has this uuid or name."""


class CredentialsFileNotFound(FileNotFoundError, BTrDBError):
    """The file of profiles does not exist."""


class ProfileNotFound(BTrDBError):
    """The file of profiles has none of this name."""


class BTRDBServerError(BTrDBError):
    """The database refuses or fails for a reason without a class of its own; the text begins with the status code."""


class BTRDBTypeError(TypeError, BTrDBError):
    """An argument has the wrong type."""


class InvalidOperation(BTrDBError):
    """The operation is not possible here."""


class StreamExists(InvalidOperation):
    """A stream with this uuid exists."""


class AmbiguousStream(InvalidOperation):
    """Another stream has this collection and identical tags."""


class PermissionDenied(InvalidOperation):
    """The key does not allow it."""


class BTRDBValueError(ValueError, BTrDBError):
    """An argument has a value that is not allowed."""


class InvalidCollection(BTRDBValueError):
    """A collection's name that is empty, too long or holds a NUL."""


class InvalidTagKey(BTRDBValueError):
    """A key of a tag or annotation that is not allowed."""


class InvalidTagValue(BTRDBValueError):
    """A value of a tag or annotation that is not allowed."""


class InvalidTimeRange(BTRDBValueError):
    """A time that cannot be stored, or a range that is empty or runs backwards."""


class InvalidPointWidth(BTRDBValueError):
    """A point width, width, depth or resolution outside its range."""


class BadValue(BTRDBValueError):
    """A value that cannot be stored: NaN, infinity or null."""


class RecycledUUID(BTRDBValueError):
    """The uuid belonged to a stream that was obliterated; it is never given again."""


class BadSQLValue(BTRDBValueError):
    """The SQL statement cannot be run."""


class VersionNotAvailable(BTRDBValueError):
    """The stream has no such version: never given, or pruned."""


class NoSuchPoint(BTRDBValueError):
    """There is no point on that side."""


BTRDB_ERRORS: dict[int, type[BTrDBError]] = {
    401: NoSuchPoint,
    404: StreamNotFoundError,
    407: InvalidCollection,
    408: InvalidTagKey,
    409: InvalidTagValue,
    413: InvalidTimeRange,
    415: InvalidPointWidth,
    417: StreamExists,
    418: AmbiguousStream,
    425: BadValue,
    429: RecycledUUID,
    441: BadSQLValue,
    450: VersionNotAvailable,
}
"""Status codes with a class of their own."""

BTRDB_SERVER_ERRORS = [
    402, 403, 405, 414, 421, 423, 424, 426, 427, 431, 432, 433, 434, 438, 440, *range(452, 460), 500, 501, 502,
]  # fmt: skip
"""Status codes that are BTRDBServerErrors; any other is a plain BTrDBError."""

TRANSIENT = frozenset((402, 405, 419, 426, 428, 440))
"""Status codes after which the same call may succeed."""


def refused(code: int, text: str) -> BTrDBError:
    """The exception for a status code and its text."""
    kind = BTRDB_ERRORS.get(code)
    if kind is not None:
        error = kind(text)
    elif code in BTRDB_SERVER_ERRORS:
        error = BTRDBServerError(f"{code}: {text}")
    else:
        error = BTrDBError(text)
    error.stat = code
    return error


def unreachable(status: str, text: str) -> BTrDBError:
    """The exception for a gRPC status ("UNAVAILABLE", ...) that a call ended with instead of an answer."""
    if status in ("PERMISSION_DENIED", "UNAUTHENTICATED"):
        return PermissionDenied(text)
    if status in ("UNAVAILABLE", "CANCELLED"):
        return ConnectionError(text)
    return BTRDBServerError(f"{status}: {text}")


def check_proto_stat(stat: Any) -> None:
    """Raise what the `stat` of an answer says (its `code` and `msg`); nothing for code 0."""
    if stat.code:
        raise refused(stat.code, stat.msg)


def handle_grpc_error(err: Any) -> NoReturn:
    """Raise what a gRPC failure means; an exception of this module as it is."""
    if isinstance(err, BTrDBError):
        raise err
    raise unreachable(err.code().name, err.details() or str(err)) from err


def error_handler(fn: F) -> F:
    """`fn`, with gRPC failures as exceptions of this module; also for a generator function, as it is iterated."""

    @wraps(fn)
    def translated(*args: Any, **kwargs: Any) -> Any:
        if inspect.isgeneratorfunction(fn):
            return consume_generator(fn, *args, **kwargs)
        try:
            return fn(*args, **kwargs)
        except Exception as error:
            _translate(error)

    return translated  # type: ignore[return-value]


def consume_generator(fn: Callable[..., Iterator[Any]], *args: Any, **kwargs: Any) -> Iterator[Any]:
    """What the generator `fn(*args, **kwargs)` gives, with gRPC failures as exceptions of this module."""
    try:
        yield from fn(*args, **kwargs)
    except Exception as error:
        _translate(error)


def _translate(error: Exception) -> NoReturn:
    if callable(getattr(error, "code", None)) and callable(getattr(error, "details", None)):
        handle_grpc_error(error)
    raise error


_clock: Clock = SystemClock()  # what retries wait by


def retry(fn: F, *args: Any, **kwargs: Any) -> F:
    """`fn`, called again after a failure that may pass, if it is called with `auto_retry=True`.

    `retries` (5): calls at most. `retry_delay` (3): seconds before the second; `retry_backoff` (4): each wait is so
    many times the one before. What may pass: a lost connection, and a database that is overloaded or stopping.
    Anything else (an unknown stream, a bad argument) fails at once: it would fail again. After the last call its error
    is raised.
    """

    @wraps(fn)
    def retried(*args: Any, **kwargs: Any) -> Any:
        calls = (kwargs.get("retries") or MAX_RETRIES) if kwargs.get("auto_retry") else 1
        delay = kwargs.get("retry_delay") or INITIAL_RETRY_DELAY
        for call in range(1, calls + 1):
            try:
                return fn(*args, **kwargs)
            except BTrDBError as error:
                if call == calls or not (isinstance(error, ConnectionError) or error.stat in TRANSIENT):
                    raise
                log.info("%s failed, call %d of %d follows in %s s: %s", fn.__name__, call + 1, calls, delay, error)
            _clock.wait(threading.Event(), delay)
            delay *= kwargs.get("retry_backoff") or RETRY_BACKOFF_FACTOR
        raise AssertionError("the last call returns or raises")

    return retried  # type: ignore[return-value]
