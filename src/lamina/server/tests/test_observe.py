"""Counters and timers under threads and at bucket bounds."""

import sys
import threading

import pytest

from lamina.observe import BOUNDS_NS, Registry


@pytest.fixture
def eager_threads():
    """Threads that take turns in the middle of a statement, not every 5 ms."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_no_count_is_lost_between_threads(eager_threads):
    counter = Registry().counter("n", "")
    threads = [threading.Thread(target=lambda: [counter.add(2) for _ in range(2000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert counter.value == 16000


def test_a_duration_falls_into_the_first_bucket_whose_bound_it_does_not_exceed():
    for place, bound in enumerate(BOUNDS_NS):
        timer = Registry().timer("t", "")
        timer.add(bound)
        timer.add(bound + 1)
        expected = [0] * (len(BOUNDS_NS) + 1)
        expected[place] = expected[place + 1] = 1
        assert timer.read() == (expected, 2 * bound + 1)


def test_asking_again_gives_the_same_metric_and_labels_tell_them_apart():
    registry = Registry()
    first = registry.counter("n", "", a="1", b="2")
    assert registry.counter("n", "", b="2", a="1") is first
    assert registry.counter("n", "", a="2", b="2") is not first
    assert [metric.labels for metric in registry] == [(("a", "1"), ("b", "2")), (("a", "2"), ("b", "2"))]
