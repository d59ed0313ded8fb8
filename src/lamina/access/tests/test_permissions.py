"""What entries of permissions cover."""

from __future__ import annotations

import pytest

from lamina.access import ANONYMOUS_FULL, Permissions, Principal
from lamina.errors import InvalidArgument, PermissionDenied, Unauthenticated


@pytest.mark.parametrize(
    ("entry", "collection", "covered"),
    [
        ("$streams", "plant/pump", True),
        ("$streams", "", True),
        ("$streams/plant*", "plant", True),
        ("$streams/plant*", "plantation", True),
        ("$streams/plant/*", "plant", False),
        ("$streams/plant/*", "plant/pump/1", True),
        ("$streams/plant/*", "other/plant/pump", False),
        ("$streams/plant", "plant", True),
        ("$streams/plant", "plant/pump", False),
        ("$streams/*", "anything", True),
        ("$streams/a*b*", "a*bc", True),
        ("$streams/a*b*", "axbc", False),
        ("$streams/Plant*", "plant", False),
        ("$streams/", "plant", False),
        ("$streams*", "plant", False),
        ("*", "plant", False),
        ("plant", "plant", False),
        ("plant*", "plant", False),
        ("$points", "plant", False),
        ("$points/plant*", "plant", False),
        ("$streamsx", "plant", False),
    ],
)
def test_entries_cover_collections(entry, collection, covered):
    reader = Principal("r", Permissions(read=(entry,)))
    writer = Principal("w", Permissions(write=("nothing", entry)))
    assert reader.may_read_stream(collection) is covered
    assert writer.may_write_stream(collection) is covered


@pytest.mark.parametrize(
    ("entry", "measurement", "covered"),
    [
        ("$points", "plant", True),
        ("$points/plant*", "plant-3", True),
        ("$points/plant", "plant-3", False),
        ("$points/plant", "plant", True),
        ("$points*", "plant", False),
        ("$streams", "plant", False),
        ("*", "plant", False),
        ("plant", "plant", False),
    ],
)
def test_entries_cover_measurements(entry, measurement, covered):
    assert Principal("r", Permissions(read=(entry,))).may_read_points(measurement) is covered
    assert Principal("w", Permissions(write=(entry,))).may_write_points(measurement) is covered
    assert not Principal("w", Permissions(write=(entry,))).may_read_points(measurement)


def test_writing_does_not_include_reading_nor_the_reverse():
    assert not Principal("w", Permissions(write=("$streams",))).may_read_stream("a")
    assert not Principal("r", Permissions(read=("$streams",))).may_write_stream("a")
    assert not Principal("r", Permissions(read=("$streams",))).full_access


def test_full_access_covers_everything():
    for who in (ANONYMOUS_FULL, Principal("root", Permissions(full_access=True))):
        assert who.full_access
        assert who.may_read_stream("a")
        assert who.may_write_stream("a")


def test_permissions_are_read_from_json():
    assert Permissions.of({}) == Permissions(False, (), ())
    members = {"full_access": False, "read": ["*", "$streams/ä b*"], "write": ["b-1_x"]}
    assert Permissions.of(members).to_json() == members
    assert Permissions.of({"read": None}) == Permissions()


@pytest.mark.parametrize(
    "members",
    [
        {"full_access": 1},
        {"full_acess": True},
        {"read": "$streams"},
        {"read": [7]},
        {"read": [""]},
        {"read": ["a b"]},
        {"write": ["a/b"]},
        {"write": ["$streams/" + "x" * 1024]},
        {"write": ["a"] * 1025},
    ],
)
def test_malformed_permissions_are_refused(members):
    with pytest.raises(InvalidArgument):
        Permissions.of(members)
    assert Permissions.of({"write": ["a"] * 1024, "read": ["$streams/" + "x" * 1015]})


@pytest.mark.parametrize(
    ("entry", "bucket", "covered"),
    [
        ("b", "b", True),
        ("b", "bb", False),
        ("b", "B", False),
        ("*", "b", True),
        ("*", "", True),
        ("cam*", "cam", True),
        ("cam*", "camera-1", True),
        ("cam*", "ca", False),
        ("cam*", "xcam", False),
        ("a*b*", "a*bc", True),
        ("a*b*", "axbc", False),
        ("*a", "ba", False),
        ("*", "$system", False),
        ("$*", "$system", False),
        ("$sys*", "$system", False),
        ("$system", "$system", True),
        ("$systemx", "$system", False),
        ("$streams", "streams", False),
        ("$streams/b", "b", False),
    ],
)
def test_entries_cover_buckets(entry, bucket, covered):
    reader = Principal("r", Permissions(read=(entry,)))
    writer = Principal("w", Permissions(write=("nothing", entry)))
    assert (reader.may_read_bucket(bucket), reader.may_write_bucket(bucket)) == (covered, False)
    assert (writer.may_read_bucket(bucket), writer.may_write_bucket(bucket)) == (False, covered)
    root = Principal("root", Permissions(full_access=True))
    assert root.may_read_bucket(bucket)
    assert root.may_write_bucket(bucket)


def test_what_is_missing_is_said():
    who = Principal("ci", Permissions(read=("r",), write=("w",)))
    who.require_read_bucket("r")
    who.require_write_bucket("w")
    for call, message in (
        (who.require_full_access, "Token 'ci' doesn't have full access"),
        (lambda: who.require_read_bucket("w"), "Token 'ci' doesn't have read access to bucket 'w'"),
        (lambda: who.require_write_bucket("r"), "Token 'ci' doesn't have write access to bucket 'r'"),
    ):
        with pytest.raises(PermissionDenied) as caught:
            call()
        assert str(caught.value) == message
        assert not isinstance(caught.value, Unauthenticated)  # 403, not 401
    ANONYMOUS_FULL.require_full_access()
    ANONYMOUS_FULL.require_read_bucket("$system")
    ANONYMOUS_FULL.require_write_bucket("w")


def test_a_bucket_changes_its_name_or_goes_and_patterns_stay():
    held = Permissions(False, ("a", "a*", "b", "$a"), ("a",))
    assert held.renamed("a", "c") == Permissions(False, ("c", "a*", "b", "$a"), ("c",))
    assert held.renamed("a", "b") == Permissions(False, ("b", "a*", "$a"), ("b",))
    assert held.without("a") == Permissions(False, ("a*", "b", "$a"), ())
    assert held.without("x") == held.renamed("x", "y") == held


def test_an_entry_without_utf8_form_is_refused():
    for entry in ("\ud800", "$streams/\udfff"):
        with pytest.raises(InvalidArgument, match="Permission can contain only bucket names"):
            Permissions.of({"read": [entry]})
