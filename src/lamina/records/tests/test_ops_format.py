"""The worked ops of FORMAT.md are what the code writes, and it reads them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from lamina.records import ops
from lamina.records.blocks import BlockLimits
from lamina.records.size import base_length
from lamina.storage.crc import crc32c

TEXT = (Path(ops.__file__).parent / "FORMAT.md").read_text()
LABELS, TYPE = (("cam", "7"),), "text/plain"
LIMITS = BlockLimits(64_000_000, 1024)
TIMES = np.array([1_000_000], np.uint64)


def shown(name: str) -> bytes:
    [dump] = re.findall(rf"<!-- {name} -->\n```\n(.*?)```", TEXT, re.DOTALL)
    return b"".join(bytes.fromhex(line.split("  ")[1]) for line in dump.splitlines())


def test_append():
    base = base_length(1_000_000, LABELS, TYPE)
    row = ops.ONE.pack(1_000_000, 5, 0, 5, 0, crc32c(b"hello"), 0, base, 0, 0, 0)
    parts = ops.append_parts(row, 1, 1, 1, ops.encode_tables([LABELS], [TYPE]), LIMITS, [b"hello"])
    assert b"".join(bytes(part) for part in parts) == shown("append")
    found = ops.decode_append(shown("append"))
    assert found.rows["time"].tolist() == [1_000_000]
    assert (found.sets, found.types, found.limits) == ([LABELS], [TYPE], LIMITS)
    assert shown("append")[found.contents :] == b"hello"


def test_labels():
    after = (("cam", "8"),)
    assert ops.labels_body(TIMES, [after]) == shown("labels")
    times, sets, gone = ops.decode_labels(shown("labels"))
    assert (times.tolist(), sets, gone) == ([1_000_000], [after], [()])


def test_remove_and_evict():
    assert ops.remove_body(TIMES) == shown("remove")
    assert ops.decode_remove(shown("remove")).tolist() == [1_000_000]
    assert ops.evict_body(1_000_000) == shown("evict")
    assert ops.decode_evict(shown("evict")) == 1_000_000
