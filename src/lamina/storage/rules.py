"""What every Files and Blobs holds to: which paths are legal, and what some errors say."""

import os
import re

from lamina.errors import Corrupt, InvalidArgument, Locked


def check_path(path: str) -> str:
    """The path itself, if it names something inside the root: parts joined by `/`, none empty, "." or "..".

    Raises InvalidArgument; "" (the root) is refused too.
    """
    if "\0" in path or not _NO_PARTS.isdisjoint(path.split("/")):
        raise InvalidArgument(
            f"path {path!r}: expected one inside the database directory without empty, '.' or '..' parts"
        )
    return path


_NO_PARTS = frozenset(("", ".", ".."))


def check_folder(folder: str) -> str:
    """As check_path, but "" is the root."""
    return check_path(folder) if folder else folder


def folder_of(path: str) -> str:
    """The folder a path lies in; "" is the root."""
    return path.rpartition("/")[0]


def locked(place: str, note: bytes) -> Locked:
    """The error for a lock that another holds; the first number in the holder's note is its pid."""
    digits = re.search(rb"\d+", note)
    pid = int(digits[0]) if digits else 0
    if pid == os.getpid():
        advice = "this one, or one of another container: use what it has opened already, or close that first"
        return Locked(f"{place} is held by process {pid}, {advice}", pid)
    holder = f"process {pid}" if pid else "another process"
    advice = "one at a time may open a database; end that one, or ask it as a client if it is a server"
    return Locked(f"{place} is held by {holder}: {advice}", pid)


def ends_early(name: str, offset: int, length: int, size: int) -> Corrupt:
    """The error for a range that is not inside an object."""
    return Corrupt(f"{name}: expected {length} bytes at offset {offset}, found an object of {size} bytes")
