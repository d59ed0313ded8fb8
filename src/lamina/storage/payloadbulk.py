"""Many contents on their way into payload files, behind one another, as sealing lays them down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamina.storage.files import Buffer
from lamina.storage.payloadfile import ALIGNMENT, FIRST, OPEN_FILES, PARTS, WRITEBACK, PayloadFile, aligned

if TYPE_CHECKING:
    from lamina.storage.payloads import PayloadFiles

SPAN = 1 << 20
"""Bytes that are written by one call."""

_PADDING = [bytes(n) for n in range(ALIGNMENT)]


class Laid(NamedTuple):
    """Contents as they will lie in a file: behind one another, each at a multiple of ALIGNMENT."""

    data: Buffer  # a multiple of ALIGNMENT long
    lengths: NDArray[np.uint64]  # of the contents, at most CHUNK each


class Bulk:
    """Contents on their way into files taken out of the bucket's for the time being, so that nothing comes between."""

    def __init__(self, owner: PayloadFiles, bucket: int, file_bytes: int, held: set[int]) -> None:
        self.files: list[int] = []
        self.wheres: list[int] = []
        self._owner = owner
        self._bucket = bucket
        self._file_bytes = file_bytes
        self._file: PayloadFile | None = None
        self._held = held  # ids
        self._newly: list[PayloadFile] = []  # held by this call
        self._numbers: list[tuple[PayloadFile, int]] = []  # of finished extents
        self._parts: list[Buffer] = []
        self._pending = 0  # their bytes
        self._started = 0  # written back up to here

    def add_laid(self, laid: Laid) -> None:
        """`add` of each of them, at the cost of one."""
        data, lengths = laid
        size = len(data)
        if FIRST + size > self._file_bytes:  # no file holds them all
            view, at = memoryview(data), 0
            for length in lengths.tolist():
                self.add([view[at : at + length]])
                at += aligned(length)
            return
        file = self._ready(size)
        spaces = (lengths + np.uint64(ALIGNMENT - 1)) & ~np.uint64(ALIGNMENT - 1)
        starts = np.cumsum(spaces) - spaces + np.uint64(file.end + self._pending)
        self.files += [file.id] * len(lengths)
        self.wheres += starts.tolist()
        self._append([data], size)

    def add(self, parts: Sequence[Buffer]) -> None:
        length = sum(part.nbytes if isinstance(part, memoryview) else len(part) for part in parts)
        file = self._ready(length)
        self.files.append(file.id)
        self.wheres.append(file.end + self._pending)
        space = aligned(length)
        if space != length:
            parts = [*parts, _PADDING[space - length]]
        self._append(parts, space)

    def _ready(self, length: int) -> PayloadFile:
        """The file that so many bytes go into."""
        file = self._file
        if file is None or self._over(file, length):
            self.flush()
            self.give_back()
            file = self._take(length)
        return file

    def _append(self, parts: Sequence[Buffer], size: int) -> None:
        self._parts += parts
        self._pending += size
        if self._pending >= SPAN or len(self._parts) >= PARTS:
            self.flush()

    def _over(self, file: PayloadFile, length: int) -> bool:
        end = file.end + self._pending
        return end + length > self._file_bytes and end > FIRST

    def _take(self, length: int) -> PayloadFile:
        owner = self._owner
        with owner.stripe(self._bucket):
            shared = owner.shared.get(self._bucket, [])
            fitting = [file for file in shared if file.end + length <= self._file_bytes]
            if fitting:
                file = max(fitting, key=lambda file: file.end)
                shared.remove(file)
            else:
                file = owner.create(self._bucket)
            if file.id not in self._held:
                file.hold()
                self._held.add(file.id)
                self._newly.append(file)
        self._file = file
        self._started = file.end
        owner.let_rest(file)
        return file

    def flush(self) -> None:
        file, length = self._file, self._pending
        if not length or file is None:
            return
        where = file.reserve(length, self._file_bytes)
        try:
            file.write(where, self._parts)
            if file.end - self._started >= WRITEBACK:
                file.start_writeback(self._started, file.end - self._started)
                self._started = file.end
        except BaseException:
            file.give_up(length)
            raise
        self._numbers.append((file, file.finish(where, length)))
        self._parts = []
        self._pending = 0

    def give_back(self) -> None:
        """The file goes back to the bucket's, if anything fits into it and they are not too many."""
        file, self._file = self._file, None
        if file is None:
            return
        owner = self._owner
        with owner.stripe(self._bucket):
            if file.appendable:
                shared = owner.shared.setdefault(self._bucket, [])
                shared.append(file)
                owner.close_if_full(file, self._file_bytes)
                if len(shared) > OPEN_FILES:
                    owner.close_for_good(max(shared, key=lambda file: file.end))
            else:
                owner.settle(file)

    def abort(self) -> None:
        """What was laid down is dead."""
        for file, number in self._numbers:
            file.forsake(number)
        for file in self._newly:
            self._held.discard(file.id)
            file.let_go()
            if not file.appendable:
                self._owner.settle(file)
