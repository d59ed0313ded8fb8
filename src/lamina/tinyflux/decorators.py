"""Checks around the methods of an object that has `_storage`, `_index`, `_auto_index` and `reindex()`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

Method = TypeVar("Method", bound=Callable[..., Any])


def _refuse(self: Any, allowed: bool) -> None:
    # Storages of ours raise themselves; a storage of the user's may answer False.
    if not allowed:
        mode = getattr(self._storage, "_mode", "")
        raise OSError(f'Cannot update the database. Access mode is "{mode}"')


def append_op(method: Method) -> Method:
    """OSError unless the storage can be appended to."""

    @wraps(method)
    def op(self: Any, *args: Any, **kwargs: Any) -> Any:
        _refuse(self, self._storage.can_append)
        return method(self, *args, **kwargs)

    return cast(Method, op)


def read_op(method: Method) -> Method:
    """OSError unless the storage can be read. An invalid index is rebuilt first, unless `auto_index` is off."""

    @wraps(method)
    def op(self: Any, *args: Any, **kwargs: Any) -> Any:
        _refuse(self, self._storage.can_read)
        if self._auto_index and not self._index.valid:
            self.reindex()
        return method(self, *args, **kwargs)

    return cast(Method, op)


def write_op(method: Method) -> Method:
    """OSError unless the storage can be written to."""

    @wraps(method)
    def op(self: Any, *args: Any, **kwargs: Any) -> Any:
        _refuse(self, self._storage.can_write)
        return method(self, *args, **kwargs)

    return cast(Method, op)


def temp_storage_op(method: Method) -> Method:
    """Temporary storage before, and its clean-up after, also when the method fails."""

    @wraps(method)
    def op(self: Any, *args: Any, **kwargs: Any) -> Any:
        self._storage._init_temp_storage()
        try:
            return method(self, *args, **kwargs)
        finally:
            self._storage._cleanup_temp_storage()

    return cast(Method, op)
