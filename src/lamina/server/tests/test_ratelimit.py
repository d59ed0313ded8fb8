"""Fixed windows per client."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.errors import InvalidArgument
from lamina.server.ratelimit import Rate, RateLimiter, RateLimits, parse_byte_rate, parse_request_rate
from lamina.testing.clock import ManualClock


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("100req/s", Rate(100, 1)),
        ("100", Rate(100, 3600)),
        ("5 req / m", Rate(5, 60)),
        ("7/h", Rate(7, 3600)),
        ("7/day", Rate(7, 86_400)),
    ],
)
def test_rates_of_requests(text, expected):
    assert parse_request_rate("X", text) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("10MB/s", Rate(10_000_000, 1)), ("1GiB", Rate(1 << 30, 3600)), ("500/min", Rate(500, 60))]
)
def test_rates_of_bytes(text, expected):
    assert parse_byte_rate("X", text) == expected


@pytest.mark.parametrize("text", ["", "/s", "req", "0req/s", "10/", "10/w", "-1", "10MB/s"])
def test_what_is_no_rate_of_requests(text):
    with pytest.raises(InvalidArgument, match="RS_RATE"):
        parse_request_rate("RS_RATE", text)


@pytest.mark.parametrize("text", ["", "/s", "0", "10MB/", "10MB/week", "10req/s"])
def test_what_is_no_rate_of_bytes(text):
    with pytest.raises(InvalidArgument, match="RS_RATE"):
        parse_byte_rate("RS_RATE", text)


def limiter(clock=None, clients=100, **limits):
    return RateLimiter(RateLimits(**limits), clock or ManualClock(), clients=clients)


def test_the_message_of_requests():
    limited = limiter(api=Rate(2, 1))
    assert [limited.admit("10.0.0.1", 0) for _ in range(2)] == ["", ""]
    assert limited.admit("10.0.0.1", 0) == (
        "rate limit for api requests (client 10.0.0.1) exceeded: used=3 limit=2 retry_after=1s"
    )
    assert "used=4" in limited.admit("10.0.0.1", 0)


def test_the_message_of_bytes_and_that_refused_ones_do_not_count():
    limited = limiter(ingress=Rate(1000, 60))
    assert limited.admit("c", 999) == ""
    assert limited.admit("c", 2) == (
        "rate limit for ingress bytes (client c) exceeded: used=1.0 KB (1001) limit=1.0 KB (1000) retry_after=60s"
    )
    assert limited.admit("c", 1) == ""


def test_answers_count_when_they_are_sent():
    limited = limiter(egress=Rate(2_500_000, 60))
    limited.sent("c", 2_499_999)
    assert limited.admit("c", 0) == ""
    limited.sent("c", 1)
    assert limited.admit("c", 0) == (
        "rate limit for egress bytes (client c) exceeded: used=2.5 MB (2500000) limit=2.5 MB (2500000) retry_after=60s"
    )


def test_a_body_without_announced_length_counts_as_it_comes():
    limited = limiter(ingress=Rate(500, 60))
    limited.received("c", 500)
    assert limited.admit("c", 0) == ""
    assert "used=501 B (501) limit=500 B (500)" in limited.admit("c", 1)


def test_clients_do_not_share():
    limited = limiter(api=Rate(1, 1))
    assert [limited.admit(client, 0) for client in "ab"] == ["", ""]
    assert limited.admit("a", 0)


def test_a_window_ends_and_says_when():
    clock = ManualClock()
    limited = limiter(clock, api=Rate(1, 60))
    assert limited.admit("c", 0) == ""
    clock.advance(20.5)
    assert "retry_after=40s" in limited.admit("c", 0)
    clock.advance(39.4)
    assert "retry_after=1s" in limited.admit("c", 0)
    clock.advance(0.1)
    assert limited.admit("c", 0) == ""


def test_the_table_of_clients_is_bounded_and_forgets_the_oldest():
    clock = ManualClock()
    limited = limiter(clock, clients=3, api=Rate(1, 60))
    for client in "abc":
        assert limited.admit(client, 0) == ""
        clock.advance(1)
    assert limited.admit("d", 0) == ""
    assert all(limited.admit(client, 0) for client in "bcd")
    assert limited.admit("a", 0) == ""
    assert {len(windows) for windows in limited._windows.values()} == {3, 0}


def test_a_new_window_of_an_old_client_is_not_the_oldest():
    clock = ManualClock()
    limited = limiter(clock, clients=3, api=Rate(1, 60))
    limited.admit("a", 0)
    clock.advance(30)
    limited.admit("b", 0)
    clock.advance(30)
    for client in "acd":
        limited.admit(client, 0)
    assert limited.admit("a", 0)
    assert limited.admit("b", 0) == ""


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 40), st.floats(0, 3))))
def test_as_a_model_of_two_lines_counts(calls):
    clock = ManualClock()
    limited = limiter(clock, ingress=Rate(100, 5))
    windows = {}
    for client, n, wait in calls:
        clock.advance(wait)
        now = clock.monotonic_ns()
        ends, used = windows.get(client, (0, 0))
        if ends <= now:
            ends, used = now + 5 * 10**9, 0
        refused = used + n > 100
        windows[client] = (ends, used if refused else used + n)
        assert bool(limited.admit(client, n)) is refused
