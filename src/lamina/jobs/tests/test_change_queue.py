"""The queue of a replication on its own: order, limits, files, crashes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.jobs import queue as module
from lamina.jobs.queue import Change, ChangeQueue, delete_others
from lamina.storage.memory import MemoryFiles
from lamina.testing import MODES, FaultyFiles, SimulatedFiles

ENDLESS = 1 << 60


def opened(files, limit=1000, taken=0, published=ENDLESS, id="q"):
    return ChangeQueue(files, id, limit, taken, published)


def change(seq, entry=1, gone=()):
    return Change(seq, 10 * seq, entry, 1, gone)


def seqs(queue, count=10_000):
    return [queued.change.seq for queued in queue.peek(count)]


@pytest.fixture
def small_files(monkeypatch):
    monkeypatch.setattr(module, "FILE_BYTES", 200)


def test_changes_come_out_as_they_went_in_until_they_are_done():
    queue = opened(MemoryFiles())
    given_in = [change(1), change(1, 2, ("a", "ü")), change(3)]
    queue.add(given_in[:2], 2)
    queue.add(given_in[2:], 3)
    assert [queued.change for queued in queue.peek(10)] == given_in
    queue.done(queue.peek(2))
    assert [queued.change for queued in queue.peek(10)] == given_in[2:]
    assert queue.pending == 1
    assert queue.taken == 3


def test_a_reopened_queue_goes_on_where_it_was():
    files = MemoryFiles()
    queue = opened(files)
    queue.add([change(i) for i in range(1, 6)], 7)
    queue.done(queue.peek(2))
    queue.sync()
    queue.close()
    again = opened(files, taken=3)
    assert seqs(again) == [3, 4, 5]
    assert (again.taken, again.durable_taken, again.pending) == (7, 7, 3)


def test_what_was_sent_but_not_noted_is_sent_again():
    files = MemoryFiles()
    queue = opened(files)
    queue.add([change(1), change(2)], 2)
    queue.sync()
    queue.done(queue.peek(1))
    assert seqs(opened(files)) == [1, 2]


def test_files_that_were_sent_are_deleted_and_the_last_one_stays(small_files):
    files = MemoryFiles()
    queue = opened(files)
    for i in range(1, 30):
        queue.add([change(i)], i)
    assert len(files.list("queues")) > 5
    assert seqs(queue) == list(range(1, 30))
    queue.done(queue.peek(100))
    queue.sync()
    assert len(files.list("queues")) == 1
    again = opened(files)
    assert seqs(again) == []
    assert again.taken == 29
    again.add([change(30)], 30)
    assert seqs(again) == [30]


def test_marks_without_changes_do_not_pile_up(small_files):
    files = MemoryFiles()
    queue = opened(files)
    for i in range(100):
        queue.add((), i)
        assert queue.peek(1) == []
        queue.sync()
    assert len(files.list("queues")) <= 2
    queue.add([change(200)], 200)
    assert seqs(queue) == [200]
    assert seqs(opened(files)) == [200]


def test_above_the_limit_the_oldest_of_an_entry_go():
    files = MemoryFiles()
    queue = opened(files, limit=2)
    queue.add([change(1, 7), change(2, 8)], 2)
    assert seqs(queue) == [1, 2]  # read already
    queue.add([change(3, 7), change(4, 7), change(5, 7)], 5)
    assert seqs(queue) == [2, 4, 5]
    assert (queue.dropped, queue.pending) == (2, 3)
    assert seqs(opened(files, limit=2)) == [2, 4, 5]


def test_a_change_that_is_left_out_while_it_is_sent_does_no_harm():
    queue = opened(MemoryFiles(), limit=1)
    queue.add([change(1)], 1)
    under_way = queue.peek(1)
    queue.add([change(2)], 2)
    queue.done(under_way)
    assert seqs(queue) == [2]
    assert queue.pending == 1


def test_a_torn_frame_goes_and_is_to_be_taken_in_again():
    files = MemoryFiles()
    queue = opened(files)
    queue.add([change(1)], 1)
    queue.add([change(2), change(3)], 3)
    name = files.list("queues")[0].name
    file = files.open(f"queues/{name}", "append")
    file.truncate(file.size() - 1)
    again = opened(files)
    assert again.taken == 1
    again.add([change(2), change(3)], 3)
    assert seqs(again) == [1, 2, 3]
    assert again.damage == []


def test_damage_is_told_and_the_rest_is_kept(small_files):
    files = MemoryFiles()
    queue = opened(files)
    for i in range(1, 12):
        queue.add([change(i)], i)
    first = files.list("queues")[0].name
    file = files.open(f"queues/{first}", "append")
    (byte,) = file.read_at(50, 1)
    file.write_at(50, [bytes([byte ^ 1])])
    again = opened(files)
    assert f"queues/{first}: offset 0" in again.damage[0]
    assert seqs(again) == list(range(4, 12))


def test_a_frame_of_another_queue_does_not_count():
    files = MemoryFiles()
    queue = opened(files)
    queue.add([change(1)], 1)
    name = files.list("queues")[0].name
    files.rename(f"queues/{name}", f"queues/{name.replace('q.', 'other.', 1)}")
    assert seqs(opened(files, id="other")) == []


def test_a_queue_that_knows_more_than_the_log_forgets_it_for_good():
    files = MemoryFiles()
    queue = opened(files)
    queue.add([change(1), change(9)], 9)
    queue.close()
    assert opened(files, published=5).taken == 5
    assert opened(files, published=20).taken == 5


def test_only_foreign_queues_are_deleted():
    files = MemoryFiles()
    for id in ("q", "r"):
        opened(files, id=id).add([change(1)], 1)
    delete_others(files, {"q"})
    assert [info.name for info in files.list("queues")] == ["q.0000000000000000.q"]
    opened(files).delete()
    assert files.list("queues") == []


def test_a_failed_write_is_tried_again_and_a_failed_sync_is_not():
    files = FaultyFiles(MemoryFiles())
    queue = opened(files)
    files.short_write(keep=20)
    with pytest.raises(OSError):
        queue.add([change(1)], 1)
    queue.add([change(1)], 1)
    assert seqs(queue) == [1]
    files.fail("sync")
    with pytest.raises(OSError):
        queue.sync()
    files.heal()
    for call in (queue.sync, lambda: queue.add([change(2)], 2)):
        with pytest.raises(OSError):
            call()
    assert queue.failed is not None
    assert queue.durable_taken == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=25), st.integers(0, 1 << 30), st.sampled_from(MODES), st.booleans())
def test_power_loss_leaves_a_beginning_that_reaches_as_far_as_was_synced(steps, seed, mode, tiny):
    size = module.FILE_BYTES
    module.FILE_BYTES = 120 if tiny else size
    try:
        rng = random.Random(seed)
        files = SimulatedFiles()
        queue = opened(files)
        added: list[int] = []
        sent = 0
        for step in steps:
            if step < 4:
                new = [change(len(added) + i + 1, rng.randint(1, 3)) for i in range(step)]
                added += [each.seq for each in new]
                queue.add(new, len(added))
            elif step == 4:
                queue.sync()
            else:
                batch = queue.peek(2)
                assert [each.change.seq for each in batch] == added[sent : sent + 2]
                queue.done(batch)
                sent += len(batch)
        durable = queue.durable_taken
        again = opened(files.crash(rng, mode))
        assert durable <= again.taken <= len(added)
        left = seqs(again)
        assert left == added[: again.taken][again.taken - len(left) :], "a run that ends with what was taken"
        assert len(left) >= again.taken - sent, "nothing that was not sent is missing"
        assert again.damage == []
        again.add([change(99)], 99)
        assert seqs(again) == [*left, 99]
    finally:
        module.FILE_BYTES = size
