"""Commit groups, one at a time: numbered, written as one frame, synced, published. No queue and no waiting here.

A group is an object whose steps can each be repeated: what a step did is noted in it when the step is
through, and nothing else is written to the log before it is complete. So whoever goes on after an interrupt
(Ctrl-C), on whichever thread, finishes the very group that was left (invariant 3 of the commit log).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from lamina.errors import LaminaError, NoSpace
from lamina.storage.files import Buffer
from lamina.storage.log import Op, Sink
from lamina.storage.logfile import (
    FRAME_HEADER,
    FRAME_OVERHEAD,
    HEADER_BYTES,
    MARK,
    OPS,
    encode_ops,
)
from lamina.storage.logfolder import LogFile, LogFolder


class Submission:
    """Ops that get consecutive seqs, in one frame, all or none."""

    __slots__ = ("failure", "first_seq", "ops", "result", "size")

    def __init__(self, ops: Sequence[Op], size: int) -> None:
        self.ops = ops
        self.size = size  # encoded
        self.first_seq = 0  # given, maybe not yet published
        self.result: object = None
        self.failure: BaseException | None = None


class Group:
    """The submissions of one frame and how far they have come."""

    __slots__ = ("file", "frame", "last_seq", "offset", "ops", "published", "size", "submissions", "written")

    def __init__(self, submissions: Sequence[Submission], size: int) -> None:
        self.submissions = submissions
        self.size = size  # of the body, if none is refused
        self.file: LogFile | None = None
        self.ops: list[Op] | None = None  # set once all are numbered
        self.last_seq = 0
        self.offset = 0
        self.frame: list[Buffer] | None = None
        self.written = False
        self.published = False


class GroupWriter:
    """Appends to the log. All but `sync` and the properties belong to the holder of the commit role."""

    def __init__(
        self,
        folder: LogFolder,
        sink: Sink,
        *,
        next_seq: int,
        proven_seq: int,
        sync_each: bool,
        before_sync: Callable[[], None] | None = None,
    ) -> None:
        self.folder = folder
        self.next_seq = next_seq
        self.written_seq = self.published_seq = self.durable_seq = next_seq - 1
        self.written_end = self.published_end = self.synced_end = folder.end
        self.marked_seq = proven_seq  # largest durable_seq that stands in a frame
        self.groups = 0  # written so far
        self._sink = sink
        self._sync_each = sync_each
        self._before_sync = before_sync  # of ops that were written unsynced: makes durable what they refer to
        self._syncing = threading.Lock()  # held while the active file is synced by `sync`, or replaced

    def run(self, group: Group) -> None:
        """Carry the group through, from wherever it is, until it is published or refused.

        A submission that fails has its `failure` set: by the sink's LaminaError, or NoSpace if a new file was
        needed and there is no room for one; the others are not touched by that. Any other error leaves the
        log unusable: after a failed write or sync nobody knows what is on the disk, and versions that were
        given cannot be taken back.
        """
        if group.ops is None:
            if group.file is None:
                try:
                    group.file = self._file_for(group.size)
                except NoSpace as error:  # nothing was numbered or written
                    for submission in group.submissions:
                        submission.failure = NoSpace(*error.args)
                    return
            self._number(group)
        if group.ops:
            if not group.written:
                self._write(group.file, group, group.ops)
            if not group.published:
                self._publish(group.file, group, group.ops)

    def has_room(self, size: int) -> bool:
        """Whether a body of this size goes into the file there is."""
        file = self.folder.active
        if self.folder.unfinished is not None:
            return False
        return file is not None and file.size + FRAME_OVERHEAD + size <= self.folder.file_bytes

    def _file_for(self, size: int) -> LogFile:
        folder = self.folder
        if folder.unfinished is not None:
            folder.discard_unfinished()
        file = folder.active
        if file is None or (not self.has_room(size) and file.size > HEADER_BYTES):
            file = self._start_file()
        return file

    def _start_file(self) -> LogFile:
        with self._syncing:
            self._sync_active()
            file = self.folder.start(self.next_seq)
            self.written_end = self.synced_end = file.end
        return file

    def _number(self, group: Group) -> None:
        """Ask the sink for each submission. Those that got their seq before an interrupt keep it; the one whose
        call was interrupted is asked again with the same seq."""
        seq = self.next_seq
        ops: list[Op] = []
        for submission in group.submissions:
            if submission.failure is not None:
                continue
            if not submission.first_seq:
                try:
                    submission.result = self._sink.number(seq, submission.ops)
                except LaminaError as error:
                    submission.failure = error
                    continue
                submission.first_seq = seq
            ops += submission.ops
            seq += len(submission.ops)
        group.last_seq = seq - 1
        group.ops = ops

    def _write(self, file: LogFile | None, group: Group, ops: list[Op]) -> None:
        assert file is not None, "ops are numbered only once there is a file"
        if group.frame is None:
            group.offset = file.size
            body = encode_ops(ops, file.header.base + group.offset + FRAME_HEADER)
            group.frame = file.framing.encode(
                group.offset, OPS, self.next_seq, self.durable_seq, self.folder.epoch, len(ops), body
            )
        self.folder.append(file, group.offset, group.frame)
        file.size = group.offset + sum(map(len, group.frame))
        self.written_end = file.end
        self.written_seq = group.last_seq
        if self._sync_each:
            file.writable(0).sync()
            self.durable_seq = group.last_seq
        group.written = True

    def _publish(self, file: LogFile | None, group: Group, ops: list[Op]) -> None:
        assert file is not None, "ops are numbered only once there is a file"
        self.published_end = file.end  # first: whoever is woken by publishing reads contents from here
        self._sink.publish(group.last_seq - len(ops) + 1, ops)
        self.published_seq = group.last_seq
        self.next_seq = group.last_seq + 1
        self.groups += 1
        group.published = True

    @property
    def unsynced_bytes(self) -> int:
        return self.written_end - self.synced_end

    def sync(self) -> None:
        """Make everything written so far durable; on any thread. Raises OSError."""
        with self._syncing:
            self._sync_active()

    def _sync_active(self) -> None:
        """Holds `_syncing`, so the active file stays the one that was written."""
        seq, end = self.written_seq, self.written_end
        file = self.folder.active
        if file is not None and self.durable_seq < seq:
            if self._before_sync is not None:  # after `seq` was read: what those ops refer to is finished by now
                self._before_sync()
            file.writable(0).sync()
            self.durable_seq = max(self.durable_seq, seq)
        self.synced_end = max(self.synced_end, end)

    def mark(self) -> None:
        """Append a frame that proves the last sync; not synced itself. It may exceed the file's size: without it, a
        damaged last frame would pass for a torn one until the next file begins. Raises OSError."""
        file = self.folder.active
        seq = self.durable_seq
        if seq == self.marked_seq:
            return
        if file is not None and self.folder.unfinished is None:
            frame = file.framing.encode(file.size, MARK, self.next_seq, seq, self.folder.epoch, 0)
            self.folder.append(file, file.size, frame)
            file.size += FRAME_OVERHEAD
        self.marked_seq = seq

    def rotate(self) -> None:
        """Start a new file, unless the present one holds no ops. Raises NoSpace, OSError."""
        file = self.folder.active
        if file is not None and file.header.first_seq < self.next_seq:
            self._start_file()

    def finish(self) -> None:
        """Leave the log as a clean shutdown does: synced, marked, nothing allocated. Raises OSError."""
        self.sync()
        self.mark()
        if self.folder.active is not None:
            self.folder.active.release_space()
