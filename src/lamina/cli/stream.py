"""How a command line names a stream: by uuid, or as COLLECTION/NAME."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from lamina.errors import InvalidArgument

if TYPE_CHECKING:
    from lamina.engine.database import Database
    from lamina.engine.stream import Stream


def find_stream(db: Database, text: str) -> Stream:
    """Raises StreamNotFound; NotFound if several have the name."""
    try:
        return db.streams.get(UUID(text))
    except ValueError:
        return db.streams[split(text)]


def split(text: str) -> tuple[str, str]:
    """(collection, name): the name is what follows the last slash."""
    collection, slash, name = text.rpartition("/")
    if not (slash and collection and name):
        raise InvalidArgument(f"stream {text!r}: expected a uuid or COLLECTION/NAME")
    return collection, name


def time_or_ns(text: str) -> int | str:
    """A time of the command line for the native API: nanoseconds if it is a number, else ISO 8601."""
    return int(text) if text.removeprefix("-").isdecimal() else text
