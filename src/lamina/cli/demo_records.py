"""Records of the demo: what a camera over a filling line sees, and what the inspection beside it says.

Made up like the streams, and as repeatable: every frame follows from its number, so a demo that was killed half way
goes on where it stopped.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lamina.cli.demo_data import END

if TYPE_CHECKING:
    from lamina.engine.database import Database
    from lamina.engine.records.arguments import NewRecord

BUCKET = "demo"
CAMERA = "line-1/camera"
INSPECTION = "line-1/inspection"

QUOTA = 2_000_000_000
"""FIFO: as on a machine that keeps what fits. The demo takes a thousandth."""

FRAMES = 240
EVERY_US = 500_000
WIDTH, HEIGHT = 96, 64

FAULTS = 17
"""One bottle in so many is filled too little."""


def time_us(number: int) -> int:
    """The last one just before all streams end."""
    return END // 1000 - (FRAMES - number) * EVERY_US


def is_good(number: int) -> bool:
    return number % FAULTS != 5


def level(number: int) -> float:
    """How far a bottle is filled."""
    noise = float(np.random.default_rng(number).normal(0, 0.006))
    return (0.91 if is_good(number) else 0.72) + noise


def frame(number: int) -> bytes:
    """A bottle on a belt, grey, as PNG."""
    rng = np.random.default_rng(number)
    image = np.full((HEIGHT, WIDTH), 40.0) + 12 * np.sin(np.arange(WIDTH) / 9)
    image[-10:] = 90 + 40 * (((np.arange(WIDTH) + 7 * number) // 8) % 2)  # the belt
    left, top, bottom = 36 + int(rng.integers(-2, 3)), 8, HEIGHT - 10
    image[top:bottom, left : left + 24] = 150
    image[top : top + 10, left : left + 6] = image[top : top + 10, left + 18 : left + 24] = 40  # its neck
    surface = bottom - int(level(number) * (bottom - top - 10))
    image[surface:bottom, left + 2 : left + 22] = 205
    image += rng.normal(0, 3, image.shape)
    return png(np.clip(image, 0, 255).astype(np.uint8))


def png(grey: NDArray[np.uint8]) -> bytes:
    """An image of 8-bit grey values."""
    height, width = grey.shape

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    lines = np.zeros((height, width + 1), np.uint8)  # each begins with its filter: none
    lines[:, 1:] = grey
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", head),
            chunk(b"IDAT", zlib.compress(lines.tobytes(), 6)),
            chunk(b"IEND", b""),
        ]
    )


def _frames(first: int) -> Iterator[NewRecord]:
    from lamina.engine.records.arguments import NewRecord

    for number in range(first, FRAMES):
        labels = {"part": 4711 + number, "ok": is_good(number), "exposure_ms": 4 + number % 3}
        yield NewRecord(time_us(number), frame(number), labels, "image/png")


def _reports(first: int) -> Iterator[NewRecord]:
    from lamina.engine.records.arguments import NewRecord

    for number in range(first, FRAMES):
        report = {"part": 4711 + number, "level": round(level(number), 3), "limit": 0.85, "seconds": 0.021}
        labels = {"part": 4711 + number, "ok": is_good(number), "level": round(level(number), 2)}
        yield NewRecord(time_us(number) + 40_000, json.dumps(report).encode(), labels, "application/json")


def store(db: Database) -> tuple[int, int]:
    """Write what is not there yet; how many records, and bytes of their contents."""
    bucket = db.buckets.create(BUCKET, quota_type="FIFO", quota_size=QUOTA, exist_ok=True)
    count = size = 0
    for name, make in ((CAMERA, _frames), (INSPECTION, _reports)):
        entry = bucket.find_entry(name)
        records = list(make(entry.info().record_count if entry is not None else 0))
        if records:
            bucket.entry(name).write_many(records)
        count += len(records)
        size += sum(len(record.data) for record in records)
    return count, size


def bad_parts(db: Database) -> list[str]:
    """What the inspection refused, found by labels alone."""
    found = db.buckets[BUCKET].entry(INSPECTION).query(when={"&ok": {"$eq": False}, "&level": {"$lt": 0.8}})
    return [dict(record.labels)["part"] for record in found]
