"""What goes wrong inside of the server is told by a number that leads to the log, and by nothing else."""

from __future__ import annotations

import logging
import re

import pytest

from lamina import errors
from tests.security.grounds import Grounds

SECRET = "/var/lib/lamina/segments/0001.lam offset 4096"

DEFECTS = [
    RuntimeError(SECRET),
    OSError(5, SECRET),
    errors.Corrupt(SECRET),
    errors.UnknownFormat(SECRET),
    errors.Locked(SECRET),
    KeyError(SECRET),
    AssertionError(SECRET),
    MemoryError(SECRET),
    RecursionError(SECRET),
]


@pytest.mark.parametrize("error", DEFECTS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("place", ["get", "find"])
def test_a_defect_is_500_with_an_id_that_is_in_the_log(monkeypatch, caplog, error, place):
    grounds = Grounds(tokens=False)
    grounds.bucket("b")
    grounds.write("b/e", 1, b"x")
    try:

        def fail(*_, **__):
            raise error

        monkeypatch.setattr(type(grounds.db.buckets), place, fail)
        caplog.set_level(logging.DEBUG)
        path, method = ("/b/b/e?ts=1", "GET") if place == "get" else ("/b/b/e/batch", "POST")
        headers = {"x-reduct-time-9": "0,"} if method == "POST" else {}
        answer = grounds.request(method, path, b"", headers)
        assert answer.status == 500
        number = re.search(r"[0-9a-f]{12}", answer.error)
        assert number, answer
        assert number[0] in caplog.text
        assert SECRET in caplog.text, "who reads the log hears what it was"
        text = str(answer)
        assert "/var" not in text
        assert "Error" not in text.replace("x-reduct-error", "")
        assert "Traceback" not in text
    finally:
        monkeypatch.undo()
        grounds.close()


def test_a_full_disk_and_a_poisoned_writer_tell_no_path(monkeypatch):
    grounds = Grounds(tokens=False)
    grounds.bucket("b")
    try:
        bucket = type(grounds.db.buckets.get("b"))
        for error, status in ((errors.Unavailable(SECRET), 503), (errors.Closed(SECRET), 503)):

            def fail(*_, error=error, **__):
                raise error

            monkeypatch.setattr(bucket, "try_open_write", fail)
            answer = grounds.write("b/e", 1, b"x")
            assert answer.status == status
            assert "/var" not in str(answer)
    finally:
        monkeypatch.undo()
        grounds.close()


def test_a_path_does_not_write_lines_into_the_log(caplog):
    """Of a client that goes away in the middle of a body."""
    grounds = Grounds(tokens=False)
    grounds.bucket("b")
    try:
        caplog.set_level(logging.DEBUG)
        request = grounds.prepare("POST", "/b/b/e?ts=1", [b"x"], {"content-length": "5", "host": "localhost"})
        request.scope["path"] = "/b/b/e\n2026-01-01T00:00:00.000Z INFO    lamina.server: closed"
        request.gone = True
        grounds.run(grounds.app(request.scope, request.receive, request.send))
        assert "went away" in caplog.text
        assert not [record for record in caplog.records if "\n" in record.getMessage()]
    finally:
        grounds.close()
