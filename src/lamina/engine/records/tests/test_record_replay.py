"""Recovery by columns is recovery op by op."""

from __future__ import annotations

import random

import numpy as np
import pytest

from lamina import errors
from lamina.engine.records import replay, singles
from lamina.engine.records.arguments import NewRecord
from lamina.records import ops
from lamina.records.row import ROW


def told(db):
    found = {}
    for bucket in db.buckets:
        for name in bucket.names():
            entry = bucket.entry(name)
            records = [(r.time_us, r.size, r.labels, r.content_type, r.read()) for r in entry.query()]
            state = entry.slot.state
            rows = state.tail.rows[: state.n][["time", "size", "where", "stored", "seq", "crc", "file", "meta"]]
            # Of attachments that were replaced before a seal nothing tells any more how far into a block they reached.
            exact = () if entry.slot.meta else (entry.info(), rows.tolist())
            found[bucket.name, name] = records, *exact, state.needed, state.seq, state.ordered
    return found


@pytest.mark.parametrize("seed", range(4))
def test_single_writes_among_others(machine, seed, monkeypatch):
    rng = random.Random(seed)
    bucket = machine.db.buckets.create("b", {"max_block_records": 5})
    entries = [bucket.entry(name) for name in ("a", "b", "c/$meta")]
    written = 0
    for step in range(160):
        entry = rng.choices(entries, (6, 3, 1))[0]
        kind = rng.random()
        if kind < 0.85 or not written:
            time = 1000 * step + rng.randrange(3) * -1500 if step > 5 else 1000 * step
            labels = {"n": step % 3, "k" * rng.randrange(1, 12): "v"}
            if entry.name.endswith("$meta"):
                labels["key"] = str(step % 2)
            try:
                entry.write(bytes(rng.randrange(50)), max(time, step), labels=labels, content_type=f"t/{step % 2}")
            except errors.AlreadyExists:
                continue
            written += 1
        elif kind < 0.9:
            entries[0].write_many([NewRecord(10**6 + 10 * step + i, b"many") for i in range(3)])
        elif kind < 0.94:
            bucket.update({"max_block_records": rng.randrange(1, 9), "max_block_size": 100 + step})
        elif kind < 0.97 and entries[0].info().record_count:
            entries[0].update(entries[0].info().latest_record, {"new": step})
        elif step % 3 == 0:
            machine.db.flush()
    before = told(machine.db)
    for least in (1, 1 << 30, 3):
        monkeypatch.setattr(singles, "LEAST", least)
        monkeypatch.setattr(replay, "RUN_ROWS", rng.choice([2, 7, 65_536]))
        machine.kill()
        after = told(machine.db)
        assert after == before


@pytest.mark.parametrize("least", [1, 1 << 30])
def test_rows_that_name_what_is_not_in_the_op_are_corrupt(machine, entry, least, monkeypatch):
    monkeypatch.setattr(singles, "LEAST", least)
    entry.write(b"x", 1)
    append = ops.append_parts
    wrong = "set" if least == 1 else "type"

    def damaged(rows, *rest):
        changed = np.frombuffer(rows, ROW).copy()
        changed[wrong] = 5
        return append(changed.tobytes(), *rest)

    with monkeypatch.context() as patched:
        patched.setattr(ops, "append_parts", damaged)
        entry.write(b"x", 9)
    with pytest.raises(errors.Corrupt, match="not in it"):
        machine.kill()
