"""What the log holds of records that no index segment has, seen from outside."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lamina.errors import Corrupt
from lamina.ops.directory import Directory
from lamina.records import ops
from lamina.records.row import Rows
from lamina.records.section import Cut
from lamina.storage.logfile import HEADER_BYTES, OPS, Framing, decode_header, decode_ops


class LogOp:
    """One op; the body is decoded when asked for."""

    __slots__ = ("body", "entry", "seq", "type")

    def __init__(self, seq: int, type: int, entry: int, body: memoryview) -> None:
        self.seq = seq
        self.type = type
        self.entry = entry  # or another object
        self.body = body


def record_ops(directory: Directory) -> Iterator[LogOp]:
    """Ops of records, see `ops_of_kind`."""
    return ops_of_kind(directory, ops.KIND)


def ops_of_kind(directory: Directory, kind: int) -> Iterator[LogOp]:
    """In seq order, as far as the frames of each file verify; what does not is the business of others."""
    for path in directory.log_files():
        try:
            data = path.read_bytes()
            header = decode_header(data[:HEADER_BYTES], path.name)
        except (FileNotFoundError, Corrupt):
            continue  # trimmed meanwhile, or damaged
        frames = [frame for frame in Framing(header.salt, header.base).walk(data) if frame.type == OPS]
        if not frames:
            continue
        table = decode_ops(data, frames)
        seqs = np.concatenate([np.arange(frame.first_seq, frame.first_seq + frame.seqs) for frame in frames])
        chosen = np.flatnonzero(table["kind"] == kind)
        view = memoryview(data)
        for i in chosen.tolist():
            begin, length = int(table["offset"][i]), int(table["length"][i])
            yield LogOp(int(seqs[i]), int(table["type"][i]), int(table["object"][i]), view[begin : begin + length - 16])


class Unsealed:
    """The log's part in what lives: evictions of sealed records, and records whose contents went past it.

    `applied`: entry -> seq up to which its sections have the ops; entries that are not in there have none."""

    def __init__(self, directory: Directory, applied: dict[int, int]) -> None:
        self.cuts: dict[int, list[Cut]] = {}  # entry -> evictions
        self.rows: dict[int, dict[int, Rows]] = {}  # entry -> time -> its row; only contents in payload files
        for op in record_ops(directory):
            if op.seq > applied.get(op.entry, 0):
                self._take(op)

    def _take(self, op: LogOp) -> None:
        if op.type == ops.APPEND:
            rows = ops.decode_append(op.body).rows
            for i in np.flatnonzero(rows["file"] > 0).tolist():
                self.rows.setdefault(op.entry, {})[int(rows["time"][i])] = rows[i : i + 1].copy()
        elif op.type == ops.REMOVE:
            mine = self.rows.get(op.entry, {})
            for time_us in ops.decode_remove(op.body).tolist():
                mine.pop(time_us, None)
        elif op.type == ops.EVICT:
            through = ops.decode_evict(op.body)
            self.cuts.setdefault(op.entry, []).append(Cut(through, op.seq))
            mine = self.rows.get(op.entry, {})
            for time_us in [time_us for time_us in mine if time_us <= through]:
                del mine[time_us]
