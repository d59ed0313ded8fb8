"""The table of status codes: every kind of error has one, and nothing private gets out."""

import logging

import pytest

from lamina import errors as kinds
from lamina.faces.btrdb import errors
from lamina.faces.btrdb.generated import lamina_wire_v5_pb2 as pb
from lamina.faces.btrdb.service import codes


class Fixed:
    def token_bytes(self, n):
        return bytes(range(n))


def stat(error):
    return pb.StatusResponse.FromString(errors.answer(error, Fixed())).stat


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (kinds.StreamNotFound("a b c"), 404, "stream does not exist"),
        (kinds.VersionNotAvailable("version 99"), 450, "version 99"),
        (kinds.StreamExists("a stream already exists with uuid U"), 417, "a stream already exists with uuid U"),
        (kinds.UuidBurnt("u"), 429, "u"),
        (
            kinds.AmbiguousStream("x"),
            418,
            "a stream already exists in that collection with identical tags",
        ),
        (kinds.InvalidTimeRange("t"), 413, "t"),
        (kinds.InvalidWidth("w"), 415, "w"),
        (kinds.InvalidValue("v"), 425, "v"),
        (kinds.InvalidVersions("v"), 427, "v"),
        (kinds.InvalidCollection("c"), 407, "c"),
        (kinds.InvalidTagKey("k"), 408, "k"),
        (kinds.InvalidTagValue("v"), 409, "v"),
        (kinds.AnnotationTooBig("a"), 422, "a"),
        (kinds.TooBig("b"), 414, "b"),
        (kinds.InvalidArgument("i"), 421, "i"),
        (kinds.PropertyVersionMismatch("p"), 423, "stream annotation version does not match"),
        (kinds.Conflict("c"), 430, "c"),
        (
            kinds.NoSpace("log/00.log: no space"),
            426,
            "the disk of the server is full: reading and deleting go on, writing after space was freed",
        ),
        (kinds.Closed("/secret/path"), 402, "the server is stopping"),
        (codes.Refused(438, "r"), 438, "r"),
    ],
)
def test_kind_of_error_has_its_code_and_text(error, code, text):
    assert (stat(error).code, stat(error).msg) == (code, text)


@pytest.mark.parametrize("error", [kinds.Corrupt("/data/x.seg at 5"), KeyError("/home/me"), MemoryError()])
def test_what_the_caller_cannot_help_is_told_by_a_number_that_the_log_explains(error, caplog):
    with caplog.at_level(logging.ERROR):
        status = stat(error)
    assert status.code == 500
    assert "000102030405" in status.msg
    assert "/" not in status.msg
    assert "000102030405" in caplog.text
    assert str(error) in caplog.text


def test_what_is_unavailable_names_no_path_but_the_log_does(caplog):
    with caplog.at_level(logging.WARNING):
        status = stat(kinds.Unavailable("log/00.log: 512 bytes at offset 0: I/O error"))
    assert status.code == 426
    assert status.msg == "not possible at present (error 000102030405): retry later"
    assert "000102030405: log/00.log: 512 bytes at offset 0" in caplog.text


def test_texts_are_short_and_valid_utf8():
    assert len(stat(kinds.InvalidArgument("x" * 10_000_000)).msg) <= 4000
    assert stat(kinds.InvalidArgument("\ud800")).msg == "?"


def test_codes_that_clients_retry_without_end_are_never_sent():
    assert not {405, 419} & {code for code, _ in codes.TABLE.values()}
