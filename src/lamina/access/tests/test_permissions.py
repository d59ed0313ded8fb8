"""What entries of permissions cover."""

from __future__ import annotations

import pytest

from lamina.access import ANONYMOUS_FULL, Permissions, Principal
from lamina.errors import InvalidArgument


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
