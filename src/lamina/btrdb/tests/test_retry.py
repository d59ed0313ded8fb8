"""Calling again: what may pass, how often, after which waits."""

import pytest

from lamina.btrdb import exceptions
from lamina.btrdb.exceptions import BTrDBError, BTRDBServerError, ConnectionError, InvalidTimeRange, retry


class Waits:
    def __init__(self):
        self.waited = []

    def wait(self, event, timeout_s):
        self.waited.append(timeout_s)
        return False


@pytest.fixture
def waits(monkeypatch):
    clock = Waits()
    monkeypatch.setattr(exceptions, "_clock", clock)
    return clock.waited


def failing(*errors):
    """A call that fails with these, one after the other, then answers 7."""
    left = list(errors)

    @retry
    def call(auto_retry=False, retries=5, retry_delay=3, retry_backoff=4):
        if left:
            raise left.pop(0)
        return 7

    return call


def busy():
    return exceptions.refused(426, "later")


def test_without_auto_retry_the_first_failure_counts(waits):
    with pytest.raises(ConnectionError):
        failing(ConnectionError("gone"))()
    assert waits == []


def test_what_may_pass_is_tried_again_with_growing_waits(waits):
    assert failing(ConnectionError("gone"), busy(), ConnectionError("gone"))(auto_retry=True) == 7
    assert waits == [3, 12, 48]


def test_the_callers_numbers_count(waits):
    errors = [ConnectionError(str(i)) for i in range(9)]
    with pytest.raises(ConnectionError, match="2"):
        failing(*errors)(auto_retry=True, retries=3, retry_delay=1, retry_backoff=2)
    assert waits == [1, 2]


def test_what_would_fail_again_is_not_tried_again(waits):
    for error in (InvalidTimeRange("x"), BTrDBError("x"), exceptions.refused(404, "x"), exceptions.refused(500, "x")):
        with pytest.raises(type(error)):
            failing(error)(auto_retry=True)
    with pytest.raises(ZeroDivisionError):
        failing(ZeroDivisionError())(auto_retry=True)
    assert waits == []


@pytest.mark.parametrize("code", sorted({*exceptions.BTRDB_ERRORS, *exceptions.BTRDB_SERVER_ERRORS, 406, 437, 999}))
def test_every_code_has_its_class_and_text(code):
    error = exceptions.refused(code, "text")
    assert error.stat == code
    if code in exceptions.BTRDB_ERRORS:
        assert (type(error), str(error)) == (exceptions.BTRDB_ERRORS[code], "text")
    elif code in exceptions.BTRDB_SERVER_ERRORS:
        assert (type(error), str(error)) == (BTRDBServerError, f"{code}: text")
    else:
        assert (type(error), str(error)) == (BTrDBError, "text")


class Failure(Exception):
    def __init__(self, name, details):
        self._name, self._details = name, details

    def code(self):
        return type("Code", (), {"name": self._name})

    def details(self):
        return self._details


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("UNAVAILABLE", ConnectionError),
        ("CANCELLED", ConnectionError),
        ("UNAUTHENTICATED", exceptions.PermissionDenied),
        ("PERMISSION_DENIED", exceptions.PermissionDenied),
        ("INTERNAL", BTRDBServerError),
    ],
)
def test_grpc_failures_are_translated_by_the_handlers(status, kind):
    @exceptions.error_handler
    def call():
        raise Failure(status, "details")

    @exceptions.error_handler
    def pages():
        yield 1
        raise Failure(status, "details")

    with pytest.raises(kind, match="details"):
        call()
    given = pages()
    assert next(given) == 1
    with pytest.raises(kind, match="details"):
        next(given)
    with pytest.raises(kind):
        exceptions.handle_grpc_error(kind("as it is"))


def test_other_failures_pass_the_handlers_as_they_are():
    @exceptions.error_handler
    def call():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        call()


def test_stat_of_an_answer():
    stat = type("Stat", (), {"code": 0, "msg": ""})
    exceptions.check_proto_stat(stat)
    stat.code, stat.msg = 413, "times"
    with pytest.raises(InvalidTimeRange, match="times"):
        exceptions.check_proto_stat(stat)
