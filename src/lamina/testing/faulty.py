"""Files that fail when told to."""

from __future__ import annotations

import errno as codes
import os
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from lamina.storage.files import Buffer, File, FileInfo, Files, Lock
from lamina.time import Clock, SystemClock

Call = Literal["open", "read", "write", "truncate", "sync", "rename", "unlink", "sync_folder"]
Effect = Literal["error", "short", "lie", "flip", "delay"]


class _Fault:
    """One order: what happens at the nth matching call, counted from when it was given."""

    __slots__ = ("amount", "call", "effect", "error", "left", "path", "persistent")

    def __init__(
        self,
        call: Call,
        effect: Effect,
        path: str,
        nth: int,
        persistent: bool,
        *,
        error: int = 0,
        amount: float = 0,
    ) -> None:
        assert nth >= 1, "the next call is the first"
        self.call = call
        self.effect = effect
        self.path = path
        self.left = nth
        self.persistent = persistent
        self.error = error
        self.amount = amount


class FaultyFiles:
    """Passes everything on to `inner`, except for the faults that were ordered. Thread-safe.

    Faults count the calls from the order on: nth=1 is the next one. `path` limits a fault to paths that start
    with it. Once a sync of a handle has failed, every later one of that handle fails, as the protocol says.
    `calls` counts all calls by kind, so that a test can go through every one of them.
    """

    def __init__(self, inner: Files, clock: Clock | None = None) -> None:
        self._inner = inner
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()  # guards everything below
        self._faults: list[_Fault] = []
        self._free: tuple[int, int] | None = None
        self.calls: Counter[Call] = Counter()

    def fail(
        self, call: Call, nth: int = 1, error: int = codes.EIO, *, persistent: bool = False, path: str = ""
    ) -> None:
        """The nth call raises OSError(error) and does nothing; with `persistent` every later one too."""
        self._order(_Fault(call, "error", path, nth, persistent, error=error))

    def short_write(self, nth: int = 1, keep: int = 0, error: int = codes.ENOSPC, *, path: str = "") -> None:
        """The nth write leaves its first `keep` bytes and raises OSError(error)."""
        self._order(_Fault("write", "short", path, nth, False, error=error, amount=keep))

    def lie(self, nth: int = 1, *, persistent: bool = False, path: str = "") -> None:
        """The nth write succeeds and writes nothing."""
        self._order(_Fault("write", "lie", path, nth, persistent))

    def flip(self, nth: int = 1, bit: int = 0, *, persistent: bool = False, path: str = "") -> None:
        """The nth read answers with one bit flipped: number `bit`, modulo what was read."""
        self._order(_Fault("read", "flip", path, nth, persistent, amount=bit))

    def delay(self, call: Call, seconds: float, *, path: str = "") -> None:
        """Every such call takes so much longer, by the clock."""
        self._order(_Fault(call, "delay", path, 1, True, amount=seconds))

    def set_free(self, free: int, total: int) -> None:
        """What free_bytes answers from now on."""
        with self._lock:
            self._free = (free, total)

    def heal(self) -> None:
        """Take back every order. Handles whose sync failed stay poisoned."""
        with self._lock:
            self._faults.clear()
            self._free = None

    def _order(self, fault: _Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def enter(self, call: Call, *paths: str) -> _Fault | None:
        """Count a call; raise or wait as ordered; the fault that the call itself must carry out, if any."""
        hit: _Fault | None = None
        wait_s = 0.0
        with self._lock:
            self.calls[call] += 1
            for fault in tuple(self._faults):
                if fault.call != call or not any(path.startswith(fault.path) for path in paths):
                    continue
                fault.left -= 1
                if fault.left > 0:
                    continue
                if fault.left == 0 and not fault.persistent:
                    self._faults.remove(fault)
                if fault.effect == "delay":
                    wait_s += fault.amount
                elif hit is None:
                    hit = fault
        if wait_s:
            self._clock.wait(threading.Event(), wait_s)
        if hit is not None and hit.effect == "error":
            raise fault_error(hit.error, paths[0])
        return hit

    def open(self, path: str, mode: Literal["read", "create", "append"]) -> FaultyFile:
        self.enter("open", path)
        return FaultyFile(self, self._inner.open(path, mode), path)

    def rename(self, source: str, target: str) -> None:
        self.enter("rename", source, target)
        self._inner.rename(source, target)

    def unlink(self, path: str) -> None:
        self.enter("unlink", path)
        self._inner.unlink(path)

    def list(self, folder: str) -> list[FileInfo]:
        return self._inner.list(folder)

    def make_folder(self, folder: str) -> None:
        self._inner.make_folder(folder)

    def sync_folder(self, folder: str) -> None:
        self.enter("sync_folder", folder)
        self._inner.sync_folder(folder)

    def free_bytes(self) -> tuple[int, int]:
        with self._lock:
            free = self._free
        return free or self._inner.free_bytes()

    def lock(self, path: str, note: bytes) -> Lock:
        return self._inner.lock(path, note)


class FaultyFile:
    __slots__ = ("_files", "_inner", "_path", "_poison")

    def __init__(self, files: FaultyFiles, inner: File, path: str) -> None:
        self._files = files
        self._inner = inner
        self._path = path
        self._poison = 0

    def read_at(self, offset: int, length: int) -> bytes:
        fault = self._files.enter("read", self._path)
        data = self._inner.read_at(offset, length)
        if fault is None or not data:
            return data
        changed = bytearray(data)
        _flip(changed, fault)
        return bytes(changed)

    def read_into(self, offset: int, buffer: memoryview) -> int:
        fault = self._files.enter("read", self._path)
        got = self._inner.read_into(offset, buffer)
        if fault is not None and got:
            _flip(buffer[:got], fault)
        return got

    def write_at(self, offset: int, parts: Sequence[Buffer]) -> None:
        fault = self._files.enter("write", self._path)
        if fault is None:
            self._inner.write_at(offset, parts)
        elif fault.effect == "short":
            self._inner.write_at(offset, (b"".join(parts)[: int(fault.amount)],))
            raise fault_error(fault.error, self._path)

    def allocate(self, length: int) -> None:
        self._inner.allocate(length)

    def punch(self, offset: int, length: int) -> bool:
        return self._inner.punch(offset, length)

    def will_need(self, ranges: Sequence[tuple[int, int]]) -> None:
        self._inner.will_need(ranges)

    def start_writeback(self, offset: int, length: int) -> None:
        self._inner.start_writeback(offset, length)

    def truncate(self, length: int) -> None:
        self._files.enter("truncate", self._path)
        self._inner.truncate(length)

    def sync(self) -> None:
        if self._poison:
            raise fault_error(self._poison, self._path)
        try:
            self._files.enter("sync", self._path)
        except OSError as error:
            self._poison = error.errno or codes.EIO
            raise
        self._inner.sync()

    def size(self) -> int:
        return self._inner.size()

    def close(self) -> None:
        self._inner.close()


def _flip(data: bytearray | memoryview, fault: _Fault) -> None:
    byte, bit = divmod(int(fault.amount) % (8 * len(data)), 8)
    data[byte] ^= 1 << bit


def fault_error(code: int, path: str) -> OSError:
    """OSError picks the subclass by the code."""
    return OSError(code, f"{os.strerror(code)} (ordered by a test)", path)
