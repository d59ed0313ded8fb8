"""A trace of system calls as a `Trace`: what an unmodified process did to a directory, SQLite's files included.

A recording that contains a call this does not understand is refused, not guessed at. SQLite's -shm file is a cache
that recovery makes anew; it is left out.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from lamina.storage.rules import folder_of
from lamina.testing.crashstates import (
    Create,
    Folder,
    FolderSync,
    Mark,
    Punch,
    Rename,
    Sync,
    Trace,
    Truncate,
    Unlink,
    Write,
)
from tests.reliability.report import ROOT

CALLS = (
    "open,openat,openat2,creat,close,dup,dup2,dup3,write,pwrite64,writev,pwritev,pwritev2,lseek,fsync,fdatasync,sync,syncfs,"
    "sync_file_range,rename,renameat,renameat2,unlink,unlinkat,ftruncate,truncate,fallocate,mkdir,mkdirat,rmdir,mmap,msync,"
    "link,linkat,symlink,symlinkat,sendfile,copy_file_range,splice,io_uring_setup,io_submit"
)
LONGEST = 1 << 26
"""Bytes of a string that strace prints: more than any write here."""

_LINE = re.compile(r"^(\d+) +(.*)$")
_UNFINISHED = re.compile(r"^(.*) <unfinished \.\.\.>$")
_RESUMED = re.compile(r"^<\.\.\. (\w+) resumed>(.*)$")
_CALL = re.compile(r"^(\w+)\((.*)\) += (-?\d+|0x[0-9a-f]+|\?)")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')


class Unhandled(Exception):
    """The recording holds something that the model of crash states does not know."""


class _Open:
    """An open file description."""

    __slots__ = ("inode", "path", "position")

    def __init__(self, path: str, inode: int) -> None:
        self.path = path
        self.inode = inode  # 0: a folder
        self.position = 0


class _Call(NamedTuple):
    name: str
    arguments: str
    result: int
    began: int  # events before it began


def record(command: list[str], output: Path) -> None:
    """Run a command under strace. Raises CalledProcessError."""
    watch = [
        "strace",
        "-f",
        "-qq",
        "-xx",
        "-s",
        str(LONGEST),
        "-o",
        str(output),
        "-e",
        f"trace={CALLS}",
        "-e",
        "signal=none",
    ]
    subprocess.run([*watch, *command], check=True, timeout=300, cwd=ROOT)


def parse(output: Path, root: Path, diary: Path) -> Trace:
    """Events under `root`; lines written to the file `diary` become marks. Raises Unhandled."""
    reader = _Reader(str(root), str(diary))
    for call in _calls(output, lambda: len(reader.trace.events)):
        reader.take(call)
    return reader.trace


def _calls(output: Path, events: Callable[[], int]) -> Iterator[_Call]:
    """Completed calls, in the order of their completion; both halves of an interrupted one are put together."""
    halves: dict[str, tuple[str, int]] = {}
    with output.open() as lines:
        for line in lines:
            match = _LINE.match(line.rstrip("\n"))
            if match is None:
                raise Unhandled(f"not a line of strace: {line[:100]!r}")
            thread, text = match.groups()
            began = events()
            unfinished = _UNFINISHED.match(text)
            if unfinished is not None:
                halves[thread] = (unfinished[1], began)
                continue
            resumed = _RESUMED.match(text)
            if resumed is not None:
                first, began = halves.pop(thread)
                text = first + resumed[2]
            if text.startswith(("+++", "---")):
                continue
            call = _CALL.match(text)
            if call is None:
                if " = ?" in text or text.startswith("exit"):
                    continue
                raise Unhandled(f"not a call: {text[:100]!r}")
            if call[3] != "?":
                yield _Call(call[1], call[2], int(call[3], 0), began)


class _Reader:
    def __init__(self, root: str, diary: str) -> None:
        self.trace = Trace()
        self._root = root.rstrip("/")
        self._diary = diary
        self._open: dict[int, _Open] = {}
        self._names: dict[str, int] = {}
        self._folders = {""}
        self._unsynced: set[str] = set()  # folders made since their parent was synced
        self._inodes = 0
        self._diary_fds: set[int] = set()
        self._rest = ""

    def take(self, call: _Call) -> None:
        handle = getattr(self, f"_{call.name}", None)
        if call.result < 0 and call.name not in ("fsync", "fdatasync"):
            return
        if handle is not None:
            handle(call)
        elif call.name in ("sync", "syncfs", "msync"):
            raise Unhandled(call.name)
        elif call.name not in ("sync_file_range",) and self._mine(call):
            raise Unhandled(f"{call.name}({call.arguments[:80]})")

    def _mine(self, call: _Call) -> bool:
        paths = [self._relative(text) for text in _strings(call.arguments, call)] if '"' in call.arguments else []
        first = call.arguments.split(",")[0]
        return any(path is not None for path in paths) or (first.isdigit() and int(first) in self._open)

    def _relative(self, path: bytes) -> str | None:
        text = path.decode("utf-8", "surrogateescape")
        if text == self._root:
            return ""
        if not text.startswith(self._root + "/") or text.endswith("-shm"):
            return None
        return text[len(self._root) + 1 :]

    def _path(self, call: _Call) -> str | None:
        return self._relative(_strings(call.arguments, call)[0])

    def _handle(self, call: _Call) -> _Open | None:
        return self._open.get(int(call.arguments.split(",")[0]))

    # -- descriptors

    def _openat(self, call: _Call) -> None:
        (raw, *_) = _strings(call.arguments, call)
        self._open.pop(call.result, None)
        self._diary_fds.discard(call.result)
        if raw.decode("utf-8", "surrogateescape") == self._diary:
            self._diary_fds.add(call.result)
            return
        path = self._relative(raw)
        if path is None:
            return
        if path in self._folders:
            self._open[call.result] = _Open(path, 0)
            return
        if path not in self._names:
            if "O_CREAT" not in call.arguments:
                raise Unhandled(f"{path} is opened but was never made")
            self._inodes += 1
            self._names[path] = self._inodes
            self.trace.events.append(Create(path, self._inodes))
        elif "O_TRUNC" in call.arguments:
            self.trace.events.append(Truncate(self._names[path], 0))
        self._open[call.result] = _Open(path, self._names[path])

    _creat = _openat

    def _close(self, call: _Call) -> None:
        number = int(call.arguments)
        self._open.pop(number, None)
        self._diary_fds.discard(number)

    def _dup(self, call: _Call) -> None:
        handle = self._handle(call)
        if handle is not None:
            self._open[call.result] = handle

    def _lseek(self, call: _Call) -> None:
        handle = self._handle(call)
        if handle is not None:
            handle.position = call.result

    def _mmap(self, call: _Call) -> None:
        parts = [part.strip() for part in call.arguments.split(",")]
        if "MAP_SHARED" in parts[3] and "PROT_WRITE" in parts[2] and parts[4].isdigit() and int(parts[4]) in self._open:
            raise Unhandled(f"a shared writable mapping of {self._open[int(parts[4])].path}")

    # -- contents

    def _write(self, call: _Call) -> None:
        number = int(call.arguments.split(",")[0])
        data = b"".join(_strings(call.arguments, call))[: call.result]
        if number in self._diary_fds:
            self._marks(data.decode())
            return
        handle = self._open.get(number)
        if handle is not None:
            self.trace.events.append(Write(handle.inode, handle.position, data))
            handle.position += len(data)

    _writev = _write

    def _pwrite64(self, call: _Call) -> None:
        handle = self._handle(call)
        if handle is not None:
            data = b"".join(_strings(call.arguments, call))[: call.result]
            offset = int(call.arguments.rsplit(",", 2)[-2 if call.name == "pwritev2" else -1])
            self.trace.events.append(Write(handle.inode, offset, data))

    _pwritev = _pwritev2 = _pwrite64

    def _ftruncate(self, call: _Call) -> None:
        handle = self._handle(call)
        if handle is not None:
            self.trace.events.append(Truncate(handle.inode, int(call.arguments.split(",")[1])))

    def _fallocate(self, call: _Call) -> None:
        handle = self._handle(call)
        if handle is None:
            return
        _, mode, offset, length = (part.strip() for part in call.arguments.split(","))
        if "PUNCH_HOLE" in mode:
            self.trace.events.append(Punch(handle.inode, int(offset), int(length)))
        elif "KEEP_SIZE" not in mode:
            raise Unhandled(f"fallocate that changes the size of {handle.path}")

    def _fdatasync(self, call: _Call) -> None:
        handle = self._handle(call)
        if handle is None:
            return
        if call.result < 0:
            raise Unhandled(f"a sync of {handle.path} failed")
        if handle.inode:
            self.trace.events.append(Sync(handle.inode, call.began))
            return
        if handle.path in self._unsynced:
            raise Unhandled(f"folder {handle.path} is synced, but its own name in its parent was not")
        self._unsynced = {folder for folder in self._unsynced if folder_of(folder) != handle.path}
        self.trace.events.append(FolderSync(handle.path, call.began))

    _fsync = _fdatasync

    # -- names

    def _rename(self, call: _Call) -> None:
        source, target = (self._relative(path) for path in _strings(call.arguments, call))
        if source is None and target is None:
            return
        if source is None or target is None:
            raise Unhandled(f"a rename across the border of the directory: {call.arguments[:100]}")
        inode = self._names[target] = self._names.pop(source)
        self.trace.events.append(Rename(source, target, inode))

    _renameat = _renameat2 = _rename

    def _unlink(self, call: _Call) -> None:
        path = self._path(call)
        if path is not None:
            self._names.pop(path, None)
            self.trace.events.append(Unlink(path))

    _unlinkat = _unlink

    def _mkdir(self, call: _Call) -> None:
        path = self._path(call)
        if path:
            self._folders.add(path)
            self._unsynced.add(path)
            self.trace.events.append(Folder(path))

    _mkdirat = _mkdir

    def _marks(self, text: str) -> None:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            word, number, *_ = line.split(" ")
            if word in "AB":
                self.trace.events.append(Mark(f"{'ack' if word == 'A' else 'begin'} {number}"))


def _strings(arguments: str, call: _Call) -> list[bytes]:
    found = []
    for text, cut in _STRING.findall(arguments):
        if cut:
            raise Unhandled(f"{call.name} with more bytes than were recorded")
        found.append(bytes.fromhex(text.replace("\\x", "")))
    return found
