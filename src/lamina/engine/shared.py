"""One open database for all of a process who name its directory: opened by the first, closed with the last.

A directory belongs to one `Database` at a time (`LOCK`). Classes that a program makes from a path, without knowing who
else did, share it: each has a handle of its own and gives it back.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING

from lamina.errors import Closed, InvalidArgument

if TYPE_CHECKING:
    from lamina.engine.database import Database
    from lamina.settings import Settings


class _Opened:
    """A directory that some handles use."""

    def __init__(self) -> None:
        # Guards both fields, also while the database opens or closes, so that whoever comes meanwhile waits for the
        # directory. Reentrant: the collector may finish a lost handle while this thread holds it.
        self.lock = threading.RLock()
        self.database: Database | None = None
        self.users: set[object] = set()

    def give_back(self, user: object) -> None:
        with self.lock:
            self.users.discard(user)
            database = self.database
            if not self.users and database is not None:
                self.database = None
                database.close()


_opened: weakref.WeakValueDictionary[str, _Opened] = weakref.WeakValueDictionary()
_lock = threading.RLock()  # guards _opened, and is held for a look-up only


class SharedDatabase:
    """A handle on an open database; a context manager that closes it.

    A handle that is lost, or still open at the end of the process, is closed as well.
    """

    def __init__(self, database: Database, opened: _Opened, user: object) -> None:
        self._database = database
        self._give_back = weakref.finalize(self, opened.give_back, user)

    @property
    def database(self) -> Database:
        """The open database, not to be closed by who has only a handle. Raises Closed after `close`."""
        if self.closed:
            raise Closed("the connection is closed")
        return self._database

    @property
    def closed(self) -> bool:
        return not self._give_back.alive

    def close(self) -> None:
        """Give the database back; the last handle closes it, and raises what `Database.close` raises. Idempotent."""
        self._give_back()

    def __enter__(self) -> SharedDatabase:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_shared(path: str | os.PathLike[str], *, settings: Settings | None = None) -> SharedDatabase:
    """A handle on the database in a directory, which is created if missing; opened unless this process has it so.

    ":memory:" is a fresh database each time. `settings` are those of who comes first. Raises InvalidArgument (open with
    other settings), and what `lamina.open` raises: Locked if the process has the directory open in another way.
    """
    opened = _Opened() if os.fspath(path) == ":memory:" else _directory(os.path.realpath(path))
    user = object()
    with opened.lock:
        opened.users.add(user)  # first of all: a lost handle that is finished in here is then not the last one
        try:
            return SharedDatabase(_database(opened, path, settings), opened, user)
        except BaseException:
            opened.give_back(user)
            raise


def _directory(key: str) -> _Opened:
    with _lock:
        opened = _opened.get(key)
        if opened is None:
            opened = _opened[key] = _Opened()
        return opened


def _database(opened: _Opened, path: str | os.PathLike[str], settings: Settings | None) -> Database:
    database = opened.database
    if database is None or database.closed:
        from lamina.engine.open import open_database

        database = opened.database = open_database(path, settings=settings)
    elif settings is not None and settings != database.settings:
        raise InvalidArgument(f"{database.path} is open with {database.settings}: expected no settings, or the same")
    return database


def _after_fork() -> None:
    """A forked child has no open database (`Database.abandon`), and locks whose owners are not there."""
    global _lock
    _lock = threading.RLock()
    for opened in list(_opened.values()):
        opened.lock = threading.RLock()
        opened.database = None


os.register_at_fork(after_in_child=_after_fork)
