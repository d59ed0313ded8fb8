"""What a log holds after a crash or damage, and making it whole again (law 4).

W is the last seq known to have been durable. What is missing up to W is damage: the file is kept aside as
`<name>.damaged-N`, every valid frame goes into a new file of the old name, and a LOST frame says what is
missing. What is not contiguous after W is a torn tail and goes; a CUT frame says which seqs must not be
given again.

Repairs first, results second: each repair is one atomic rename or truncation, and what is reported is read
from the repaired files. So a second recovery, also after a crash inside the first, reports the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from lamina.errors import Corrupt, UnknownFormat
from lamina.storage.files import Buffer, Files
from lamina.storage.log import Damage, ReplayFrame
from lamina.storage.logfile import (
    CUT,
    FRAME_HEADER,
    FRAME_OVERHEAD,
    HEADER_BYTES,
    LOST,
    OP_BYTES,
    OPS,
    FileHeader,
    Frame,
    Framing,
    decode_header,
    decode_ops,
    surviving_salt,
)
from lamina.storage.logfolder import FOLDER, SUFFIX, LogFile, LogFolder

REWRITE = ".rewrite"  # a repaired file before it takes the old name
_PART = 8 << 20  # bytes gathered before a write while rewriting
_MAX_COUNT = (1 << 32) - 1  # seqs one LOST or CUT frame can carry


class Recovered(NamedTuple):
    next_seq: int
    proven_seq: int  # W: a later recovery knows that much without another frame
    last: Scan | None  # of the last file, None if there is none
    missing: Damage | None  # seqs between what was applied and the first file: a file is gone


class Scan(NamedTuple):
    """The whole content of a file and its valid frames in order."""

    data: memoryview
    frames: list[Frame]


class Verdict(NamedTuple):
    """What to make of the frames of one file."""

    kept: list[Frame]
    lost: list[tuple[int, int]]  # first and last seq of each range up to W that no frame covers
    cut: tuple[int, int] | None  # seqs after W that were given but cannot stay
    durable: int  # W
    next_seq: int  # what follows all of these


def judge(frames: Sequence[Frame], first_seq: int, durable: int) -> Verdict:
    """Apply law 4 to the valid frames of a file that starts at `first_seq`; `durable` is what else is known
    of W."""
    durable = max([durable, first_seq - 1, *(frame.durable_seq for frame in frames)])
    highest = durable
    expected = first_seq
    kept: list[Frame] = []
    lost: list[tuple[int, int]] = []
    for frame in frames:
        highest = max(highest, frame.next_seq - 1)
        if expected < frame.first_seq <= durable + 1:  # all that is missing before it was durable
            lost.append((expected, frame.first_seq - 1))
            expected = frame.first_seq
        if frame.first_seq == expected:
            kept.append(frame)
            expected = frame.next_seq
    if expected <= durable:
        lost.append((expected, durable))
        expected = durable + 1
    cut = (expected, highest) if highest >= expected else None
    return Verdict(kept, lost, cut, durable, max(expected, highest + 1))


def recover(folder: LogFolder, applied_seq: int) -> Recovered:
    """Fill `folder` with the files found, the last one repaired and durable.

    Reads every header but only the last file, since no other can have a torn tail (invariant 1 of the
    folder); `replay` looks at the rest. Raises Corrupt for files of another database or a later epoch.
    """
    medium = folder.medium
    medium.make_folder(FOLDER)
    _finish_rewrites(medium)
    bases = _bases(medium)
    found: list[LogFile] = []
    for index, base in enumerate(bases):
        path = folder.path(base)
        header, size = _header(folder, path, base)
        if header is None:
            if size <= HEADER_BYTES and index == len(bases) - 1:
                medium.unlink(path)  # a crash while it was made: it was never used
                medium.sync_folder(FOLDER)
                continue
            header, size = _mend_header(folder, found, bases[index + 1 :], base, applied_seq)
        found.append(LogFile(medium, path, header, size))
    folder.files = tuple(found)
    if not found:
        return Recovered(applied_seq + 1, applied_seq, None, None)
    last = found[-1]
    scan = _scan(folder, last)
    verdict = judge(scan.frames, last.header.first_seq, applied_seq)
    if verdict.lost or verdict.cut is not None:
        _rewrite(folder, last, scan.data, verdict)
        scan = _scan(folder, last)
        verdict = judge(scan.frames, last.header.first_seq, applied_seq)
    else:
        last.size = verdict.kept[-1].end if verdict.kept else HEADER_BYTES
        _settle(folder, last, len(scan.data), verdict)
        folder.active = last
    first = found[0]
    missing = None
    if first.header.first_seq > applied_seq + 1:
        missing = Damage(first.path, applied_seq + 1, first.header.first_seq - 1)
    return Recovered(verdict.next_seq, verdict.durable, Scan(scan.data, verdict.kept), missing)


def replay(folder: LogFolder, after: int, last: Scan | None, damage: list[Damage]) -> Iterator[ReplayFrame]:
    """One ReplayFrame for each run of consecutive seqs of a file: `body` is the file up to there (a
    multiple of 8 bytes, not copied as a rule), `position` its base.

    Files without a seq above `after` are not read. Repairs damaged files on the way and appends to `damage`.
    """
    files = folder.files
    for index, file in enumerate(files):
        if index + 1 < len(files):
            durable = files[index + 1].header.first_seq - 1
            if durable <= after:
                continue
            scan = _scan(folder, file)
            verdict = judge(scan.frames, file.header.first_seq, durable)
            if verdict.lost:
                _rewrite(folder, file, scan.data, verdict)
                scan = _scan(folder, file)
                verdict = judge(scan.frames, file.header.first_seq, durable)
            scan = Scan(scan.data, verdict.kept)
        else:
            scan = last or _scan(folder, file)
        yield from _runs(file, scan, damage)


def _runs(file: LogFile, scan: Scan, damage: list[Damage]) -> Iterator[ReplayFrame]:
    run: list[Frame] = []
    for frame in [*scan.frames, None]:
        if frame is not None and frame.type == OPS:
            run.append(frame)
        elif (frame is None or frame.seqs) and run:
            try:
                ops = decode_ops(scan.data, run)
            except Corrupt as error:
                raise Corrupt(f"{file.path}: {error}") from None
            yield ReplayFrame(run[0].first_seq, ops, scan.data[: run[-1].end], file.header.base)
            run = []
        if frame is not None and frame.type == LOST:
            damage.append(Damage(file.path, frame.first_seq, frame.next_seq - 1))


def _bases(medium: Files) -> list[int]:
    bases = []
    for info in medium.list(FOLDER):
        stem = info.name.removesuffix(SUFFIX)
        if stem != info.name and len(stem) == 16 and not stem.strip("0123456789abcdef"):
            bases.append(int(stem, 16))
    return bases


def _header(folder: LogFolder, path: str, base: int) -> tuple[FileHeader | None, int]:
    """The header, None if it is damaged, and the size of the file."""
    handle = folder.medium.open(path, "read")
    try:
        size = handle.size()
        header = decode_header(handle.read_at(0, HEADER_BYTES), path)
    except UnknownFormat:
        raise
    except Corrupt:
        return None, size
    finally:
        handle.close()
    if header.database_id != folder.database_id:
        raise Corrupt(f"{path}: expected database id {folder.database_id.hex()}, found {header.database_id.hex()}")
    if header.base != base:
        raise Corrupt(f"{path}: expected base {base:016x} as in its name, found {header.base:016x}")
    _check_epoch(folder, header.epoch, path)
    return header, size


def _check_epoch(folder: LogFolder, epoch: int, place: str) -> None:
    if epoch > folder.epoch:
        raise Corrupt(
            f"{place}: written in epoch {epoch}, this is epoch {folder.epoch}: the catalog is older than the "
            "log, or another process has opened the database since"
        )


def _scan(folder: LogFolder, file: LogFile) -> Scan:
    data = _content(folder.medium, file.path)
    frames = list(file.framing.walk(data))
    if frames:
        _check_epoch(folder, max(frame.epoch for frame in frames), file.path)
    return Scan(data, frames)


def _content(medium: Files, path: str) -> memoryview:
    """A whole file, read into memory for which NumPy asks for large pages: to touch small ones for the first time costs
    more than to read into them."""
    handle = medium.open(path, "read")
    try:
        content = np.empty(handle.size(), np.uint8).data
        return content[: handle.read_into(0, content)].toreadonly()
    finally:
        handle.close()


def _settle(folder: LogFolder, file: LogFile, size: int, verdict: Verdict) -> None:
    """Cut a torn tail off, and make durable what was found beyond W: once replayed it is visible."""
    if size == file.size and verdict.next_seq - 1 <= verdict.durable:
        return
    handle = folder.medium.open(file.path, "append")
    try:
        if size != file.size:
            handle.truncate(file.size)
        handle.sync()
    finally:
        handle.close()


def _mend_header(
    folder: LogFolder, before: Sequence[LogFile], later: Sequence[int], base: int, applied_seq: int
) -> tuple[FileHeader, int]:
    """Rewrite a file whose header is damaged: (its new header, its new size)."""
    path = folder.path(base)
    first_seq = applied_seq + 1
    if before:
        scan = _scan(folder, before[-1])
        first_seq = judge(scan.frames, before[-1].header.first_seq, 0).next_seq
    following = None
    for other in later:
        header, _ = _header(folder, folder.path(other), other)
        if header is not None:
            following = header.first_seq
            break
    data = _content(folder.medium, path)
    salt = surviving_salt(data, folder.database_id)
    frames = list(Framing(salt, base).walk(data)) if salt is not None else []
    if frames:
        _check_epoch(folder, max(frame.epoch for frame in frames), path)
        first_seq = min(first_seq, frames[0].first_seq) if not before else first_seq
    if following is not None:
        durable = following - 1
    elif frames:
        durable = applied_seq
    else:  # nobody knows how many there were; no file of this size can hold more
        most = max(1, (len(data) - HEADER_BYTES - FRAME_OVERHEAD) // OP_BYTES)
        durable = max(applied_seq, first_seq + most - 1)
    file = LogFile(folder.medium, path, folder.header(base, first_seq), len(data))
    _rewrite(folder, file, data, judge(frames, first_seq, durable), keep=True)
    return file.header, file.size


def _rewrite(folder: LogFolder, file: LogFile, data: memoryview, verdict: Verdict, keep: bool = False) -> None:
    """Replace a file by one with the kept frames, LOST and CUT; the old one stays as `.damaged-N` if
    anything was lost, or with `keep`. Atomic: until the last rename a further recovery finds the old file
    or finishes this."""
    medium = folder.medium
    path = file.path
    header = folder.header(file.header.base, file.header.first_seq)
    size = _write_copy(folder, path + REWRITE, header, data, verdict)
    medium.sync_folder(FOLDER)
    if verdict.lost or keep:
        names = {info.name for info in medium.list(FOLDER)}
        name = path.removeprefix(f"{FOLDER}/")
        number = 1
        while f"{name}.damaged-{number}" in names:
            number += 1
        medium.rename(path, f"{path}.damaged-{number}")
        medium.sync_folder(FOLDER)
    medium.rename(path + REWRITE, path)
    medium.sync_folder(FOLDER)
    file.header = header
    file.framing = Framing(header.salt, header.base)
    file.size = size


def _write_copy(folder: LogFolder, path: str, header: FileHeader, data: memoryview, verdict: Verdict) -> int:
    framing = Framing(header.salt, header.base)
    pieces: list[tuple[int, int, int, Frame | None]] = []  # first seq, type, count, the frame it is copied from
    pieces += [(frame.first_seq, frame.type, frame.seqs, frame) for frame in verdict.kept]
    for type, first, last in [(LOST, *gap) for gap in verdict.lost] + [(CUT, *gap) for gap in [verdict.cut] if gap]:
        while first <= last:
            count = min(last - first + 1, _MAX_COUNT)
            pieces.append((first, type, count, None))
            first += count
    pieces.sort(key=lambda piece: piece[0])
    parts: list[Buffer] = [header.encode()]
    written = 0
    offset = HEADER_BYTES
    handle = folder.medium.open(path, "create")
    try:
        for first_seq, type, count, frame in pieces:
            if frame is None:
                known = first_seq + count - 1 if type == LOST else verdict.durable
                parts += framing.encode(offset, type, first_seq, known, folder.epoch, count)
                offset += FRAME_OVERHEAD
            else:
                start = frame.offset + FRAME_HEADER
                body = [data[start : start + frame.length]]
                parts += framing.encode(offset, type, first_seq, frame.durable_seq, frame.epoch, count, body)
                offset += FRAME_OVERHEAD + frame.length
            if offset - written >= _PART:
                handle.write_at(written, parts)
                written, parts = offset, []
        if parts:
            handle.write_at(written, parts)
        handle.sync()
    finally:
        handle.close()
    return offset


def _finish_rewrites(medium: Files) -> None:
    """A crash inside `_rewrite`: the copy is whole once the old file has gone; before that it is made
    anew."""
    names = {info.name for info in medium.list(FOLDER)}
    for name in sorted(names):
        target = name.removesuffix(REWRITE)
        if target == name:
            continue
        if target in names:
            medium.unlink(f"{FOLDER}/{name}")
        else:
            medium.rename(f"{FOLDER}/{name}", f"{FOLDER}/{target}")
        medium.sync_folder(FOLDER)
