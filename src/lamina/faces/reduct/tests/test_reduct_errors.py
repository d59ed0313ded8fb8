"""Which status each kind of error gets."""

from __future__ import annotations

import errno

import pytest

from lamina import errors
from lamina.faces.reduct.errors import MESSAGE_LIMIT, Refused, item_value, message_value, verdict
from lamina.random import SystemRandom


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.NotFound("x"), 404),
        (errors.AlreadyExists("x"), 409),
        (errors.Conflict("x"), 409),
        (errors.InvalidArgument("x"), 422),
        (errors.TooBig("x"), 422),
        (errors.QuotaExceeded("x"), 400),
        (errors.PermissionDenied("x"), 403),
        (errors.Unauthenticated("x"), 401),
        (Refused(425, "x"), 425),
    ],
)
def test_what_the_caller_can_mend_is_told(error, status):
    assert verdict(error, SystemRandom()) == (status, "x")


@pytest.mark.parametrize("error", [errors.NoSpace("x"), OSError(errno.ENOSPC, "No space left on device", "/data/x")])
def test_full_disk_is_507(error):
    status, message = verdict(error, SystemRandom())
    assert status == 507
    assert message.startswith("Not enough free disk space in the data folder")
    assert "/data" not in message


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.Corrupt("segments/x: offset 7"), 500),
        (errors.Unavailable("/data/x"), 503),
        (errors.Closed("/data/x"), 503),
        (OSError(errno.EIO, "I/O error", "/data/x"), 500),
        (RuntimeError("/data/x"), 500),
        (errors.Locked("/data/x"), 500),
    ],
)
def test_what_the_caller_cannot_mend_is_not_told(error, status):
    found, message = verdict(error, SystemRandom())
    assert found == status
    assert "/" not in message


def test_long_messages_are_cut():
    assert len(verdict(errors.NotFound("x" * 100_000), SystemRandom())[1]) == MESSAGE_LIMIT


@pytest.mark.parametrize("message", ["é", "a\nb", "a\tb", "\x7f"])
def test_message_that_is_no_header_value_is_replaced(message):
    assert message_value(message) == b"Unparsable message"
    assert item_value(errors.NotFound(message), SystemRandom()) == b"404,Unparsable message"
