"""What a disk may hold after power was lost: the model that recordings and simulated disks share.

    durable(file)    what was written before its last completed sync began
    pending(file)    later writes, truncations and holes; each may be lost. A write is kept or lost in pieces
    of a
                     page, in mode "torn" in pieces of a sector. What is missing before a kept piece reads as
                     zeros
    durable(names)   folders, when make_folder returned; creates, renames and unlinks, when a sync of their
    folder
                     completed that began after them. A rename is atomic and belongs to the folder of its
                     target
    pending(names)   later ones; a prefix, in order, is kept

It is stricter than any one file system: syncing a file does not save its name, nor the other way round.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Literal, NamedTuple

from lamina.storage.files import Files
from lamina.storage.memory import MemoryFiles
from lamina.storage.rules import folder_of

PAGE = 4096
SECTOR = 512
"""What a drive writes atomically."""

Mode = Literal["min", "all", "page", "torn"]
"""min: nothing pending survives. all: everything does, as after a killed process. page, torn: chance
decides."""
MODES: tuple[Mode, ...] = ("min", "all", "page", "torn")


class Create(NamedTuple):
    path: str
    inode: int


class Write(NamedTuple):
    inode: int
    offset: int
    data: bytes


class Truncate(NamedTuple):
    inode: int
    length: int


class Punch(NamedTuple):
    inode: int
    offset: int
    length: int


class Sync(NamedTuple):
    inode: int
    began: int  # events recorded when it began: what came later is not covered


class Rename(NamedTuple):
    source: str
    target: str
    inode: int


class Unlink(NamedTuple):
    path: str


class Folder(NamedTuple):
    path: str


class FolderSync(NamedTuple):
    folder: str
    began: int


class Mark(NamedTuple):
    """Something a test must find again at this point, such as an acknowledgement."""

    text: str


Content = Write | Truncate | Punch
Naming = Create | Rename | Unlink
Event = Content | Naming | Sync | Folder | FolderSync | Mark


class Trace:
    """What happened, in order. Events before `start` set up what was there when recording began."""

    __slots__ = ("events", "start")

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.start = 0


class Volume:
    """A disk that was told a stretch of events. `applied`: how many."""

    def __init__(self) -> None:
        self.applied = 0
        self._folders: set[str] = set()
        self._names: dict[str, int] = {}  # durable: path -> inode
        self._contents: dict[int, bytearray] = {}  # durable
        self._pending: dict[int, list[tuple[int, Content]]] = {}  # with the index of the event
        self._pending_names: list[tuple[int, Naming]] = []

    def copy(self) -> Volume:
        copy = Volume()
        copy.applied = self.applied
        copy._folders = set(self._folders)
        copy._names = dict(self._names)
        copy._contents = {inode: bytearray(content) for inode, content in self._contents.items()}
        copy._pending = {inode: list(events) for inode, events in self._pending.items()}
        copy._pending_names = list(self._pending_names)
        return copy

    def apply(self, event: Event) -> None:
        if isinstance(event, Write | Truncate | Punch):
            self._pending.setdefault(event.inode, []).append((self.applied, event))
        elif isinstance(event, Sync):
            self._sync(event)
        elif isinstance(event, Create | Rename | Unlink):
            self._pending_names.append((self.applied, event))
        elif isinstance(event, FolderSync):
            self._sync_folder(event)
        elif isinstance(event, Folder):
            self._folders.add(event.path)
        self.applied += 1

    def _sync(self, sync: Sync) -> None:
        content = self._contents.setdefault(sync.inode, bytearray())
        later = []
        for index, event in self._pending.pop(sync.inode, ()):
            if index < sync.began:
                _change(content, event)
            else:
                later.append((index, event))
        if later:
            self._pending[sync.inode] = later

    def _sync_folder(self, sync: FolderSync) -> None:
        """Names of the folder become durable, with what happened to the same paths before: a rename into it
        says that its source is gone, so that source's creation is settled too."""
        settled: list[Naming] = []
        later: list[tuple[int, Naming]] = []
        paths: set[str] = set()
        for index, event in reversed(self._pending_names):
            home = event.target if isinstance(event, Rename) else event.path
            touched = {event.source, event.target} if isinstance(event, Rename) else {event.path}
            if (index < sync.began and folder_of(home) == sync.folder) or touched & paths:
                paths |= touched
                settled.append(event)
            else:
                later.append((index, event))
        self._pending_names = later[::-1]
        for event in reversed(settled):
            _name(self._names, event)
        self._forget_unnamed()

    def _forget_unnamed(self) -> None:
        """Content that no durable or pending name can reach again is not kept."""
        reachable = set(self._names.values())
        reachable.update(event.inode for _, event in self._pending_names if not isinstance(event, Unlink))
        for inode in self._contents.keys() - reachable:
            del self._contents[inode]
            self._pending.pop(inode, None)

    def after_crash(self, mode: Mode, rng: random.Random) -> dict[str, bytes]:
        """One of the states power loss may leave now: path -> content; a folder is its path and "/", with
        b""."""
        names = dict(self._names)
        count = len(self._pending_names)
        kept = {"min": 0, "all": count}.get(mode)
        for _, event in self._pending_names[: rng.randint(0, count) if kept is None else kept]:
            _name(names, event)
        state = {f"{folder}/": b"" for folder in self._folders}
        contents: dict[int, bytes] = {}
        for path, inode in sorted(names.items()):
            if inode not in contents:
                contents[inode] = self._survivor(inode, mode, rng)
            state[path] = contents[inode]
        return state

    def _survivor(self, inode: int, mode: Mode, rng: random.Random) -> bytes:
        content = self._contents.get(inode, b"")
        pending = self._pending.get(inode)
        if not pending or mode == "min":
            return bytes(content)
        survivor = bytearray(content)
        for _, event in pending:
            if mode == "all":
                _change(survivor, event)
            elif isinstance(event, Write):
                for piece in _pieces(event, mode == "torn", rng):
                    _change(survivor, piece)
            elif rng.random() < 0.5:
                _change(survivor, event)
        return bytes(survivor)


def _change(content: bytearray, event: Content) -> None:
    if isinstance(event, Write):
        if len(content) < event.offset:
            content.extend(bytes(event.offset - len(content)))
        content[event.offset : event.offset + len(event.data)] = event.data
    elif isinstance(event, Truncate):
        if event.length < len(content):
            del content[event.length :]
        else:
            content.extend(bytes(event.length - len(content)))
    else:
        end = min(event.offset + event.length, len(content))
        if end > event.offset:
            content[event.offset : end] = bytes(end - event.offset)


def _name(names: dict[str, int], event: Naming) -> None:
    if isinstance(event, Create):
        names[event.path] = event.inode
    elif isinstance(event, Rename):
        names.pop(event.source, None)
        names[event.target] = event.inode
    else:
        names.pop(event.path, None)


def _pieces(write: Write, torn: bool, rng: random.Random) -> Iterator[Write]:
    """What is left of a pending write. A third of the writes survive whole and a fifth not at all: of long
    writes decided page by page alone, hardly one would ever be complete."""
    fate = rng.random()
    if fate < 0.33:
        yield write
    elif fate < 0.8:
        inode, offset, data = write
        end = offset + len(data)
        while offset < end:
            stop = min(offset - offset % PAGE + PAGE, end)
            chance = rng.random()
            if chance < 0.5:
                yield Write(inode, offset, data[offset - write.offset : stop - write.offset])
            elif torn and chance < 0.75:
                start, cut = _tear(offset, stop, rng)
                if cut > start:
                    yield Write(inode, start, data[start - write.offset : cut - write.offset])
            offset = stop


def _tear(start: int, stop: int, rng: random.Random) -> tuple[int, int]:
    """The front or the back of a page, cut between two sectors; empty if it lies within one."""
    cuts = range(start - start % SECTOR + SECTOR, stop, SECTOR)
    if not cuts:
        return start, start
    cut = rng.choice(cuts)
    return (start, cut) if rng.random() < 0.5 else (cut, stop)


class CrashStates:
    """States that power loss at any point of a trace may leave. Points in ascending order are cheapest."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._volume = Volume()

    @property
    def points(self) -> range:
        """Every k for `state`: before the first recorded event up to after the last."""
        return range(self._trace.start, len(self._trace.events) + 1)

    def state(self, k: int, mode: Mode, rng: random.Random) -> dict[str, bytes]:
        """A state after the first k events: path -> content; a folder is its path and "/", with b""."""
        if k < self._volume.applied:
            self._volume = Volume()
        for event in self._trace.events[self._volume.applied : k]:
            self._volume.apply(event)
        return self._volume.after_crash(mode, rng)

    def marks(self, k: int) -> list[str]:
        """Texts of the marks among the first k events."""
        return [event.text for event in self._trace.events[:k] if isinstance(event, Mark)]


def write_state(state: dict[str, bytes], files: Files) -> None:
    """Put a state into an empty directory, memory or real. Nothing is synced."""
    for path in sorted(state):
        if path.endswith("/"):
            files.make_folder(path[:-1])
    for path, content in state.items():
        if not path.endswith("/"):
            file = files.open(path, "create")
            file.write_at(0, (content,))
            file.close()


def materialise(state: dict[str, bytes]) -> MemoryFiles:
    """A state as files in memory."""
    files = MemoryFiles()
    write_state(state, files)
    return files
