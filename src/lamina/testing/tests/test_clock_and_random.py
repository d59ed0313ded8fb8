"""The manual clock moves only when told; the seeded randomness repeats."""

from __future__ import annotations

import threading

from lamina.testing import ManualClock, SeededRandom

LONG_S = 3600.0


def waiting(clock, event, timeout_s, answers):
    thread = threading.Thread(target=lambda: answers.append(clock.wait(event, timeout_s)), daemon=True)
    thread.start()
    while not clock.waiters:
        threading.Event().wait(0.0005)
    return thread


def test_time_stands_still_until_advanced():
    clock = ManualClock(wall_us=5_000_000)
    assert (clock.wall_us(), clock.monotonic_ns()) == (5_000_000, 0)
    clock.advance(1.5)
    assert (clock.wall_us(), clock.monotonic_ns()) == (6_500_000, 1_500_000_000)
    clock.jump_wall(-3)
    assert (clock.wall_us(), clock.monotonic_ns()) == (3_500_000, 1_500_000_000)


def test_wait_ends_when_the_clock_passes_its_deadline_and_not_before():
    clock, event, answers = ManualClock(), threading.Event(), []
    thread = waiting(clock, event, LONG_S, answers)
    clock.advance(LONG_S - 1)
    thread.join(0.01)
    assert thread.is_alive()
    clock.advance(1)
    thread.join(5)
    assert answers == [False]
    assert clock.waiters == 0


def test_wait_ends_when_the_event_is_set():
    clock, event, answers = ManualClock(), threading.Event(), []
    thread = waiting(clock, event, LONG_S, answers)
    event.set()
    thread.join(5)
    assert answers == [True]
    assert clock.wait(event, LONG_S) is True
    assert clock.monotonic_ns() == 0


def test_wait_of_nothing_ends_at_once():
    assert ManualClock().wait(threading.Event(), 0) is False


def test_autojump_moves_to_the_deadline():
    clock = ManualClock(autojump=True)
    assert clock.wait(threading.Event(), 2) is False
    assert clock.monotonic_ns() == 2_000_000_000


def test_seed_repeats_the_draws():
    one, two, other = SeededRandom(1), SeededRandom(1), SeededRandom(2)
    draws = [(one.token_bytes(5), one.uuid4()) for _ in range(5)]
    assert draws == [(two.token_bytes(5), two.uuid4()) for _ in range(5)]
    assert draws[0] != (other.token_bytes(5), other.uuid4())
    assert len({uuid for _, uuid in draws}) == 5
    assert all(uuid.version == 4 for _, uuid in draws)
