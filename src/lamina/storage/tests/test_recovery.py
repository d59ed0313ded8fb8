"""What recovery makes of crashed, cut, flipped and incomplete logs (law 4 of the reliability note)."""

from __future__ import annotations

import random

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lamina.errors import Corrupt, UnknownFormat
from lamina.settings import Settings
from lamina.storage.commitlog import CommitLog
from lamina.storage.crc import crc32c
from lamina.storage.files import Files
from lamina.storage.log import Damage
from lamina.storage.logfile import HEADER_BYTES, MARK, OPS, Frame, Framing, decode_header, encode_ops
from lamina.storage.memory import MemoryFiles
from lamina.storage.recovery import judge
from lamina.testing.clock import ManualClock
from lamina.testing.crashstates import MODES, Mode
from lamina.testing.faulty import FaultyFiles
from lamina.testing.log_contract import ListSink, Stored, op, replayed
from lamina.testing.random import SeededRandom
from lamina.testing.simulated import SimulatedFiles

DATABASE = b"0123456789abcdef"
FIRST = f"log/{0:016x}.log"


def open_log(
    files: Files, sink: ListSink | None = None, *, epoch: int = 1, applied_seq: int = 0, **settings: object
) -> CommitLog:
    return CommitLog.open(
        files,
        database_id=DATABASE,
        epoch=epoch,
        applied_seq=applied_seq,
        sink=sink or ListSink(),
        settings=Settings(**{"min_free": 0, **settings}),  # type: ignore[arg-type]
        clock=ManualClock(),
        random=SeededRandom(epoch),
        inline=True,
    )


class Found:
    """What one recovery says."""

    def __init__(self, files: Files, applied_seq: int = 0, epoch: int = 50) -> None:
        log = open_log(files, applied_seq=applied_seq, epoch=epoch)
        self.ops = replayed(log)
        self.damage = list(log.damage)
        self.published_seq = log.published_seq
        log.close()

    @property
    def missing(self) -> set[int]:
        return {seq for d in self.damage for seq in range(d.first_missing, d.last_missing + 1)}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Found) and vars(self) == vars(other)


def names(files: Files) -> list[str]:
    return [info.name for info in files.list("log")]


def content(files: Files, path: str = FIRST) -> bytes:
    file = files.open(path, "read")
    data = file.read_at(0, file.size())
    file.close()
    return data


def with_content(files: MemoryFiles, data: bytes, path: str = FIRST) -> MemoryFiles:
    """A copy in which one file has other bytes."""
    copy = files.copy()
    file = copy.open(path, "append")
    file.truncate(0)
    file.write_at(0, [data])
    file.close()
    return copy


def small_log(groups: int = 5, close: bool = True, **settings: object) -> tuple[MemoryFiles, list[Stored]]:
    files = MemoryFiles()
    sink = ListSink()
    log = open_log(files, sink, **settings)
    for n in range(groups):
        log.submit([op(n, b"body%04d" % n), *([op(n, b"two-%04d" % n)] if n % 2 else [])]).wait()
    open_state = files.copy()
    log.close()
    return files if close else open_state, sink.list


def frames_of(files: Files, path: str = FIRST) -> list[Frame]:
    data = content(files, path)
    header = decode_header(data, path)
    return list(Framing(header.salt, header.base).walk(data))


# Every single fault in a small log


def test_a_log_cut_at_any_byte_keeps_every_whole_frame() -> None:
    files, ops = small_log()
    data = content(files)
    frames = frames_of(files)
    for length in range(len(data)):
        broken = with_content(files, data[:length])
        found = Found(broken)
        if length < HEADER_BYTES:
            assert found.ops == []
            assert names(broken) == []
            continue
        last = max((f.next_seq - 1 for f in frames if f.end <= length), default=0)
        assert found.ops == ops[:last], length
        assert not found.damage
        assert found.published_seq == last
        assert Found(broken, epoch=51) == found


def test_every_flipped_bit_is_harmless_or_reported() -> None:
    """Acknowledged ops survive or are reported missing; nothing else is ever replayed."""
    files, ops = small_log(3)
    data = content(files)
    reported = 0
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        broken = with_content(files, bytes(flipped))
        found = Found(broken)
        kept = [stored for stored in ops if stored.seq not in found.missing]
        assert found.ops == kept, f"bit {bit}"
        assert found.published_seq >= len(ops)
        reported += bool(found.damage)
        if found.damage:
            assert f"{FIRST.removeprefix('log/')}.damaged-1" in names(broken)
            assert Found(broken, epoch=51) == found, f"bit {bit}, second recovery"
    assert reported > 8 * 64


def test_a_flip_in_the_final_frame_without_its_mark_is_a_torn_tail() -> None:
    files, ops = small_log(4, close=False)
    data = bytearray(content(files))
    data[-20] ^= 1
    found = Found(with_content(files, bytes(data)))
    assert found.ops == ops[:4]
    assert not found.damage
    found = Found(with_content(files, bytes(data)), applied_seq=6)
    assert [(d.first_missing, d.last_missing) for d in found.damage] == [(5, 6)], "the catalog knows better"


def test_new_ops_after_damage_survive_with_the_salvaged_ones() -> None:
    files, ops = small_log(5)
    frame = frames_of(files)[1]
    data = bytearray(content(files))
    data[frame.offset + 50] ^= 0x40
    broken = with_content(files, bytes(data))
    log = open_log(broken, epoch=2)
    assert replayed(log) == [stored for stored in ops if stored.seq not in (2, 3)]
    assert log.damage == (Damage(FIRST, 2, 3),)
    log.submit([op(99, b"new body")]).wait()
    log.close()
    again = Found(broken)
    assert [stored.seq for stored in again.ops] == [1, 4, 5, 6, 7, 8]
    assert again.damage == [Damage(FIRST, 2, 3)]
    assert content(broken, f"{FIRST}.damaged-1") == bytes(data)


def test_positions_of_salvaged_ops_read_their_bodies() -> None:
    files, _ = small_log(5)
    data = bytearray(content(files))
    data[frames_of(files)[1].offset + 50] ^= 0x40
    log = open_log(with_content(files, bytes(data)), epoch=2)
    for frame in log.replay(0):
        for row in frame.ops.tolist():
            body = frame.body[row[5] : row[5] + row[0] - 16]
            assert log.read(frame.position + row[5], len(body)) == body
    log.close()


def test_damage_in_an_older_file_is_found_by_replay() -> None:
    files, ops = small_log(12, log_file_bytes=300)
    paths = [f"log/{name}" for name in names(files)]
    assert len(paths) > 3
    for path in paths[:-1]:
        frames = frames_of(files, path)
        for frame in frames:
            if frame.type != OPS:
                continue
            data = bytearray(content(files, path))
            data[frame.offset + 41] ^= 1
            broken = with_content(files, bytes(data), path)
            found = Found(broken)
            assert found.damage == [Damage(path, frame.first_seq, frame.next_seq - 1)]
            assert found.ops == [stored for stored in ops if stored.seq not in found.missing]
            assert Found(broken, epoch=51) == found


def test_an_older_file_cut_short_or_gone_is_reported() -> None:
    files, ops = small_log(12, log_file_bytes=300)
    path = f"log/{names(files)[1]}"
    frames = frames_of(files, path)
    first = frames[0].first_seq
    following = frames_of(files, f"log/{names(files)[2]}")[0].first_seq
    for length in (0, 10, HEADER_BYTES, HEADER_BYTES + 5):
        broken = with_content(files, content(files, path)[:length], path)
        found = Found(broken)
        assert found.missing == set(range(first, following)), length
        assert found.ops == [stored for stored in ops if stored.seq not in found.missing]
        assert Found(broken, epoch=51) == found
    gone = files.copy()
    gone.unlink(path)
    found = Found(gone)
    assert found.missing == set(range(first, following))
    assert Found(gone, epoch=51) == found


def test_a_missing_first_file_is_reported_unless_it_was_applied() -> None:
    files, ops = small_log(12, log_file_bytes=300)
    files.unlink(f"log/{names(files)[0]}")
    first = frames_of(files, f"log/{names(files)[0]}")[0].first_seq
    found = Found(files, applied_seq=0)
    assert found.missing == set(range(1, first))
    assert found.ops == ops[first - 1 :]
    assert not Found(files, applied_seq=first - 1).damage


@pytest.mark.parametrize("index", [0, 1, -1])
def test_a_damaged_header_costs_nothing_while_its_salt_is_sound(index: int) -> None:
    files, ops = small_log(12, log_file_bytes=300)
    path = f"log/{names(files)[index]}"
    for offset in (0, 9, 13, 17, 25, 57, 61):
        data = bytearray(content(files, path))
        data[offset] ^= 0x20
        broken = with_content(files, bytes(data), path)
        found = Found(broken)
        assert found.ops == ops, offset
        assert not found.damage
        assert any(name.endswith(".damaged-1") for name in names(broken))
        assert Found(broken, epoch=51) == found


@pytest.mark.parametrize("index", [0, 1, -1])
def test_a_lost_salt_loses_the_file_and_says_so(index: int) -> None:
    files, ops = small_log(12, log_file_bytes=300)
    path = f"log/{names(files)[index]}"
    inside = {seq for f in frames_of(files, path) for seq in range(f.first_seq, f.next_seq)}
    for offset in (33, 50):
        data = bytearray(content(files, path))
        data[offset] ^= 0x20
        broken = with_content(files, bytes(data), path)
        found = Found(broken)
        assert found.missing >= inside
        if index >= 0:
            assert found.missing == inside
        assert found.ops == [stored for stored in ops if stored.seq not in inside]
        assert found.published_seq >= len(ops), "no seq that may have been given is given again"
        assert Found(broken, epoch=51) == found


def test_a_torn_mark_between_frames_is_nothing() -> None:
    files, _ = small_log(2)
    log = open_log(files, epoch=2)
    log.submit([op()]).wait()
    log.close()
    (mark, *_) = [frame for frame in frames_of(files) if frame.type == MARK]
    data = bytearray(content(files))
    data[mark.offset + 20] ^= 1
    found = Found(with_content(files, bytes(data)))
    assert len(found.ops) == 4
    assert not found.damage


# Judging


def frame(first_seq: int, seqs: int = 1, durable_seq: int = 0, type: int = OPS) -> Frame:
    return Frame(64 * first_seq, type, 16 * seqs, first_seq, durable_seq, 1, seqs)


def test_a_gap_after_w_is_a_torn_tail_and_its_seqs_are_not_given_again() -> None:
    verdict = judge([frame(1), frame(2, durable_seq=1), frame(4, durable_seq=1)], 1, 0)
    assert [f.first_seq for f in verdict.kept] == [1, 2]
    assert verdict.lost == []
    assert verdict.cut == (3, 4)
    assert verdict.next_seq == 5


def test_a_gap_up_to_w_is_damage_and_what_follows_is_kept() -> None:
    verdict = judge([frame(1), frame(4, durable_seq=3), frame(5, durable_seq=3)], 1, 0)
    assert [f.first_seq for f in verdict.kept] == [1, 4, 5]
    assert verdict.lost == [(2, 3)]
    assert verdict.cut is None
    assert verdict.next_seq == 6


def test_a_gap_across_w_is_damage_up_to_w_and_torn_behind() -> None:
    verdict = judge([frame(1), frame(4, durable_seq=2)], 1, 0)
    assert [f.first_seq for f in verdict.kept] == [1]
    assert verdict.lost == [(2, 2)]
    assert verdict.cut == (3, 4)


def test_frames_from_before_are_ignored() -> None:
    verdict = judge([frame(5), frame(3), frame(6)], 5, 0)
    assert [f.first_seq for f in verdict.kept] == [5, 6]
    assert (verdict.lost, verdict.cut, verdict.next_seq) == ([], None, 7)


def test_seqs_that_the_catalog_applied_are_not_given_again() -> None:
    verdict = judge([frame(1)], 1, 9)
    assert verdict.lost == [(2, 9)]
    assert verdict.next_seq == 10
    files = MemoryFiles()
    log = open_log(files, applied_seq=9)
    log.submit([op()]).wait()
    assert log.published_seq == 10
    log.close()


def test_a_cut_leaves_no_old_frame_behind() -> None:
    """Frames 1, 2, a torn one, and 4, none of them proven: 3 and 4 go, and the log goes on with 5."""
    files, _ = small_log(1)
    data = content(files)
    framing = Framing(decode_header(data, FIRST).salt, 0)
    offset = HEADER_BYTES
    parts = [data[:HEADER_BYTES]]
    for seq in range(1, 5):
        encoded = b"".join(framing.encode(offset, OPS, seq, 0, 1, 1, encode_ops([op(seq)], 0)))
        parts.append(encoded if seq != 3 else bytes(len(encoded)))
        offset += len(encoded)
    broken = with_content(files, b"".join(parts))
    log = open_log(broken, epoch=2)
    assert [stored.seq for stored in replayed(log)] == [1, 2]
    assert not log.damage
    log.submit([op(5)]).wait()
    assert log.published_seq == 5
    log.close()
    assert not any("damaged" in name for name in names(broken))
    found = Found(broken)
    assert [stored.seq for stored in found.ops] == [1, 2, 5]
    assert not found.damage


# Who may open it


def test_another_database_a_later_epoch_and_a_wrong_name_are_refused_untouched() -> None:
    files, _ = small_log(2, close=False)
    log = open_log(files, epoch=7)
    log.submit([op()]).wait()
    log.close()
    before = content(files) + b"torn"
    files = with_content(files, before)
    with pytest.raises(Corrupt, match="epoch 7, this is epoch 6"):
        open_log(files, epoch=6)
    assert content(files) == before
    with pytest.raises(Corrupt, match="database id"):
        CommitLog.open(
            files,
            database_id=b"another database",
            epoch=9,
            applied_seq=0,
            sink=ListSink(),
            settings=Settings(),
            clock=ManualClock(),
            random=SeededRandom(1),
            inline=True,
        )
    assert content(files) == before
    files.rename(FIRST, f"log/{8:016x}.log")
    with pytest.raises(Corrupt, match="base"):
        open_log(files, epoch=9)


def test_a_log_of_a_later_format_is_refused_untouched() -> None:
    files, _ = small_log(2)
    data = bytearray(content(files))
    data[8] = 2
    data[60:64] = crc32c(bytes(data[:60])).to_bytes(4, "little")
    files = with_content(files, bytes(data))
    with pytest.raises(UnknownFormat):
        open_log(files)
    assert content(files) == bytes(data)


def test_other_files_in_the_folder_are_left_alone() -> None:
    files, ops = small_log(2)
    for name in ("notes.txt", "00.log", "000000000000000G.log"):
        files.open(f"log/{name}", "create").close()
    assert Found(files).ops == ops
    assert {"notes.txt", "00.log", "000000000000000G.log"} <= set(names(files))


# Crashes inside recovery


def damaged_state() -> tuple[SimulatedFiles, list[Stored]]:
    """A log of several files with damage in an old and in the last one, all durable."""
    files, ops = small_log(14, log_file_bytes=400)
    paths = [f"log/{name}" for name in names(files)]
    for path in (paths[1], paths[-1]):
        data = bytearray(content(files, path))
        data[frames_of(files, path)[0].offset + 44] ^= 1
        files = with_content(files, bytes(data), path)
    simulated = SimulatedFiles()
    simulated.make_folder("log")
    for path in paths:
        file = simulated.open(path, "create")
        file.write_at(0, [content(files, path)])
        file.sync()
        file.close()
    simulated.sync_folder("log")
    return simulated, ops


class Crash(Exception):
    """Power is lost."""


@pytest.mark.parametrize("mode", MODES)
def test_a_crash_anywhere_in_recovery_changes_nothing_of_its_result(mode: Mode) -> None:
    base, ops = damaged_state()
    expected = Found(base.kill())
    assert len(expected.damage) == 2
    assert expected.ops == [stored for stored in ops if stored.seq not in expected.missing]
    calls = ("open", "write", "truncate", "sync", "rename", "unlink", "sync_folder")
    places = 0
    for call in calls:
        nth = 0
        while True:
            nth += 1
            files = base.kill()
            faulty = FaultyFiles(files)
            faulty.fail(call, nth)  # type: ignore[arg-type]
            try:
                replayed(open_log(faulty, epoch=60))
            except OSError:
                places += 1
            else:
                break
            assert Found(files.crash(random.Random(nth), mode), epoch=61) == expected, f"{call} {nth}"
    assert places > 15


# Model


class LogMachine(RuleBasedStateMachine):
    """Against a list: what was acknowledged is replayed after any crash, in order, and nothing invented is."""

    durability = "group"

    @initialize()
    def start(self) -> None:
        self.files = SimulatedFiles()
        self.rng = random.Random(0)
        self.epoch = 0
        self.acked: dict[int, Stored] = {}
        self.trimmed = 0
        self.log: CommitLog | None = None
        self.pending: list[tuple[object, int]] = []
        self.open()

    def open(self) -> None:
        self.epoch += 1
        self.sink = ListSink()
        self.log = open_log(
            self.files,
            self.sink,
            epoch=self.epoch,
            applied_seq=self.trimmed,
            log_file_bytes=600,
            durability=self.durability,
        )
        found = {stored.seq: stored for stored in replayed(self.log, self.trimmed)}
        assert not self.log.damage
        self.check(found)
        self.acked = {seq: stored for seq, stored in found.items() if seq > self.trimmed}
        self.before = self.log.published_seq
        assert self.before >= max(found, default=0)

    def check(self, found: dict[int, Stored]) -> None:
        for seq, stored in self.acked.items():
            if seq > self.trimmed:
                assert found.get(seq) == stored, f"acknowledged op {seq}"
        for seq, stored in found.items():
            assert self.written.get(seq, stored) == stored, f"op {seq} was never submitted like this"

    @property
    def written(self) -> dict[int, Stored]:
        return getattr(self, "_written", {})

    @precondition(lambda self: self.log is not None)
    @rule(
        sizes=st.lists(st.integers(0, 300), min_size=1, max_size=4),
        refuse=st.booleans(),
        wait=st.booleans(),
    )
    def submit(self, sizes: list[int], refuse: bool, wait: bool) -> None:
        assert self.log is not None
        ops = [op(size, bytes([size % 256]) * (size // 8 * 8)) for size in sizes]
        ops[0].note = "refuse" if refuse and len(sizes) > 2 else None
        ticket = self.log.submit(ops)
        if wait and ops[0].note is None:
            ticket.wait()
            self.note()

    def note(self) -> None:
        """What is published is acknowledged; in a mode that waits for the sync it survives everything."""
        self._written = {**self.written, **self.sink.published}
        if self.durability == "group":
            self.acked.update(self.sink.published)

    @rule()
    def barrier(self) -> None:
        assert self.log is not None
        self.log.barrier()
        self.note()

    @rule()
    def sync(self) -> None:
        assert self.log is not None
        self.log.barrier()
        assert self.log.sync() == self.log.published_seq
        self.note()
        self.acked.update(self.sink.published)

    @rule()
    def rotate(self) -> None:
        assert self.log is not None
        self.log.rotate()
        self.note()

    @rule(share=st.floats(0, 1))
    def trim(self, share: float) -> None:
        """As the engine does: only up to what a catalog has durably, and that is known at the next opening."""
        assert self.log is not None
        seq = int(self.trimmed + share * (self.log.sync() - self.trimmed))
        self.trimmed = max(self.trimmed, seq)
        self.log.trim(self.trimmed)

    @rule()
    def close(self) -> None:
        assert self.log is not None
        self.log.close()
        self.note()
        self.acked.update(self.sink.published)
        self.files = self.files.kill()
        self.open()

    @rule()
    def kill(self) -> None:
        assert self.log is not None
        old, self.files = self.log, self.files.kill()
        self.acked.update({seq: s for seq, s in self.sink.published.items() if seq <= old.published_seq})
        self.note()
        old.close()
        self.open()

    @rule(mode=st.sampled_from(MODES), seed=st.integers(0, 1000))
    def crash(self, mode: Mode, seed: int) -> None:
        assert self.log is not None
        old, self.files = self.log, self.files.crash(random.Random(seed), mode)
        self.note()
        old.close()
        self.open()

    @invariant()
    def published_is_dense(self) -> None:
        if getattr(self, "log", None) is not None:
            seqs = list(self.sink.published)
            assert seqs == list(range(self.before + 1, self.before + 1 + len(seqs)))

    def teardown(self) -> None:
        if getattr(self, "log", None) is not None:
            self.log.close()


class RelaxedLogMachine(LogMachine):
    durability = "os"


MACHINE = hypothesis_settings(max_examples=60, stateful_step_count=30, deadline=None)
TestGroupModel = LogMachine.TestCase
TestGroupModel.settings = MACHINE
TestOsModel = RelaxedLogMachine.TestCase
TestOsModel.settings = MACHINE
