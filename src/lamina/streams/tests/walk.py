"""Trees read by brute force, and the rules every tree keeps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lamina.codecs import leaf
from lamina.streams.node import INNER, LEAF, ROOT_PW, TOMBSTONE, Rows
from lamina.testing.blocks import MemoryBlocks


class Content(NamedTuple):
    times: np.ndarray
    values: np.ndarray
    versions: np.ndarray  # recorded in the blocks; 0 = none


def leaf_content(row: np.void, read: MemoryBlocks) -> Content:
    small = int(row["delta_count"])
    sizes = [int(row["count"]) - small, small] if small else [int(row["count"])]
    parts = []
    for name, n in zip(("base", "delta"), sizes, strict=False):
        block = read.block(*(int(row[name][f]) for f in ("segment", "offset", "length", "crc")))
        assert leaf.count(block) == n
        times, values = np.empty(n, np.int64), np.empty(n)
        leaf.decode_into(block, times, values)
        versions = leaf.versions(block, n)
        parts.append((times, values, np.zeros(n, np.uint64) if versions is None else versions))
        assert (np.diff(times) >= 0).all()
    times, values, versions = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.argsort(times, kind="stable")
    return Content(times[order], values[order], versions[order])


def walk(root: Rows, read: MemoryBlocks) -> tuple[list[np.void], list[np.void]]:
    """(rows that are not inner, in time order; all rows)."""
    found, everything = [], []

    def visit(row: np.void) -> None:
        everything.append(row)
        if row["kind"] == INNER:
            for child in read.nodes(np.array([row["base"]], row["base"].dtype)):
                visit(child)
        else:
            found.append(row)

    for row in root:
        visit(row)
    return found, everything


def content(root: Rows, read: MemoryBlocks) -> Content:
    leaves = [row for row in walk(root, read)[0] if row["kind"] == LEAF]
    parts = [leaf_content(row, read) for row in leaves]
    if not parts:
        return Content(np.empty(0, np.int64), np.empty(0), np.empty(0, np.uint64))
    return Content(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def changed_ranges(root: Rows, read: MemoryBlocks, since: int) -> list[tuple[int, int]]:
    rows = [r for r in walk(root, read)[0] if r["version"] > since]
    return [(int(r["t0"]), int(r["t0"]) + (1 << int(r["pw"]))) for r in rows]


def check(root: Rows, read: MemoryBlocks, leaf_points: int, node_rows: int) -> None:
    """Assert the rules 1 to 3 and 5 of `tree`."""
    if not len(root):
        return
    assert (int(root["t0"][0]), int(root["pw"][0])) == (0, ROOT_PW)
    depths: set[int] = set()

    def visit(row: np.void, depth: int, top: bool) -> Content:
        t0, end = int(row["t0"]), int(row["t0"]) + (1 << int(row["pw"]))
        assert t0 % (1 << int(row["pw"])) == 0
        kind = int(row["kind"])
        if kind == TOMBSTONE:
            assert row["version"] > 0
            assert all(row[name] == 0 for name in ("count", "min", "max", "mean", "m2", "below", "delta_count"))
            assert row["base"]["length"] == 0 == row["delta"]["length"]
            return Content(np.empty(0, np.int64), np.empty(0), np.empty(0, np.uint64))
        if kind == LEAF:
            depths.add(depth)
            found = leaf_content(row, read)
            assert row["count"] <= leaf_points + leaf_points // 4 or row["pw"] == 0
            assert row["below"] in (0, 1)
            assert row["version"] >= found.versions.max()
        else:
            rows = read.nodes(np.array([row["base"]], row["base"].dtype))
            assert len(rows) == row["below"] <= node_rows
            assert row["base"]["offset"] % 8 == 0
            assert row["version"] == rows["version"].max()
            assert top or (rows["kind"] != TOMBSTONE).any()
            at = t0
            for child in rows:
                assert int(child["t0"]) >= at
                at = int(child["t0"]) + (1 << int(child["pw"]))
            assert at <= end
            parts = [visit(child, depth + 1, False) for child in rows]
            found = Content(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
        assert row["count"] == len(found.times)
        if len(found.times):
            assert t0 <= found.times[0]
            assert found.times[-1] < end
            assert row["min"] == found.values.min()
            assert row["max"] == found.values.max()
            assert np.isclose(row["mean"], found.values.mean(), rtol=1e-12, atol=1e-9)
            assert np.isclose(row["m2"], ((found.values - found.values.mean()) ** 2).sum(), rtol=1e-9, atol=1e-9)
        return found

    visit(root[0], 0, True)
    assert len(depths) <= 1
