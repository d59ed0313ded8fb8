"""Reading payload files: descriptors kept, neighbours read at once, damage told by file and offset."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from lamina.errors import Corrupt, NotFound
from lamina.storage.descriptors import Descriptor, Descriptors
from lamina.storage.files import File, Files
from lamina.storage.payloadfile import HEAD_BYTES, check_format, payload_path
from lamina.storage.rules import ends_early

SPAN = 1 << 20
"""Bytes of neighbouring contents that are read by one call."""

GAP = 512
"""Bytes between two contents (padding, a checksum array) that cost less to read along than a call."""


class PayloadReader:
    """Stored bytes by (file, where, length). Thread-safe. At most `open_limit` idle descriptors are kept."""

    def __init__(self, files: Files, database_id: bytes, open_limit: int) -> None:
        self._files = files
        self._database_id = database_id
        self._descriptors = Descriptors(self._open, open_limit)

    def read(self, file: int, where: int, length: int) -> bytes:
        """Stored bytes, not verified. Raises NotFound (no such file), Corrupt (it ends before, or the device cannot
        read it), UnknownFormat. Costs 2 us from the page cache."""
        descriptor = self._descriptors.acquire(file)
        try:
            return _read(descriptor, file, where, length)
        finally:
            self._descriptors.release(descriptor)

    def read_into(self, file: int, where: int, buffer: memoryview) -> None:
        """Fill the buffer as `read` gives bytes; raises as it does, and what is in the buffer then says nothing."""
        descriptor = self._descriptors.acquire(file)
        try:
            _read_into(descriptor, file, where, buffer)
        finally:
            self._descriptors.release(descriptor)

    def read_many(self, places: Sequence[tuple[int, int, int]]) -> list[memoryview]:
        """Stored bytes of (file, where, length) places in any order, not verified, in the order asked for.

        Neighbours are read by one call; each view keeps the range that was read alive, up to 1 MiB. Raises as `read`,
        for all if one cannot be read. Costs 0.4 us a neighbour, 4 us a place on its own.
        """
        order = sorted(range(len(places)), key=places.__getitem__)
        spans = _spans(places, order)
        if len(spans) > 1:
            self._announce(spans)
        found: list[memoryview] = [memoryview(b"")] * len(places)
        at = 0
        for file, first, end, count in spans:
            data = memoryview(self.read(file, first, end - first))
            for i in order[at : at + count]:
                _, where, length = places[i]
                where -= first
                found[i] = data[where : where + length]
            at += count
        return found

    def _announce(self, spans: list[tuple[int, int, int, int]]) -> None:
        """Let the disk fetch all ranges at once."""
        ranges: dict[int, list[tuple[int, int]]] = {}
        for file, first, end, _ in spans:
            ranges.setdefault(file, []).append((first, end - first))
        for file, wanted in ranges.items():
            descriptor = self._descriptors.acquire(file)
            try:
                descriptor.file.will_need(wanted)
            finally:
                self._descriptors.release(descriptor)

    def _open(self, id: int) -> File:
        path = payload_path(id)
        try:
            file = self._files.open(path, "read")
        except FileNotFoundError:
            raise NotFound(f"{path} does not exist") from None
        try:
            check_format(path, file.read_at(0, HEAD_BYTES))
        except BaseException:
            file.close()
            raise
        return file

    def size(self, file: int) -> int:
        """Bytes of the file on disk. Raises NotFound."""
        descriptor = self._descriptors.acquire(file)
        try:
            return descriptor.file.size()
        finally:
            self._descriptors.release(descriptor)

    def forget(self, file: int) -> None:
        """It was deleted: no descriptor of it is kept. Reads that have begun end well."""
        self._descriptors.forget(file)

    def close(self) -> None:
        """Give descriptors back; later reads raise Closed. Idempotent."""
        self._descriptors.close()


def _read(descriptor: Descriptor, file: int, where: int, length: int) -> bytes:
    _check_place(descriptor, file, where, length)
    try:
        data = descriptor.file.read_at(where, length)
    except OSError as error:
        _tell_damage(error, file, where, length)
        raise
    if len(data) != length:
        raise ends_early(payload_path(file), where, length, where + len(data))
    return data


def _read_into(descriptor: Descriptor, file: int, where: int, buffer: memoryview) -> None:
    length = len(buffer)
    _check_place(descriptor, file, where, length)
    try:
        got = descriptor.file.read_into(where, buffer)
    except OSError as error:
        _tell_damage(error, file, where, length)
        raise
    if got != length:
        raise ends_early(payload_path(file), where, length, where + got)


def _check_place(descriptor: Descriptor, file: int, where: int, length: int) -> None:
    """Before reading: a damaged row must not ask for gigabytes. Raises Corrupt."""
    end = where + length
    if end > descriptor.size:
        descriptor.size = descriptor.file.size()  # it may have grown
    if where < 0 or length < 0 or end > descriptor.size:
        raise ends_early(payload_path(file), where, length, descriptor.size)


def _tell_damage(error: OSError, file: int, where: int, length: int) -> None:
    """Raises Corrupt where the device cannot read its sectors."""
    if error.errno == errno.EIO:
        path = payload_path(file)
        raise Corrupt(f"{path}: the device cannot read {length} bytes at offset {where}: {error}") from error


def _spans(places: Sequence[tuple[int, int, int]], order: Sequence[int]) -> list[tuple[int, int, int, int]]:
    """(file, first, end, how many places of the order): what to read at once."""
    spans = []
    file = first = end = reach = limit = count = 0
    for i in order:
        this_file, where, length = places[i]
        stop = where + length
        if count and this_file == file and where <= reach and stop <= limit:
            count += 1
        else:
            if count:
                spans.append((file, first, end, count))
            file, first, count = this_file, where, 1
            end = reach = 0
            limit = where + SPAN
        if stop > end:
            end = stop
            reach = end + GAP
    if count:
        spans.append((file, first, end, count))
    return spans
