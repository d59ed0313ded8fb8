"""Tokens that the configuration gives."""

from __future__ import annotations

import pytest

from lamina.access import Permissions, Provision, Tokens, bootstrap
from lamina.errors import Conflict, InvalidArgument, Unauthenticated

CI = Provision("ci", "secret", Permissions(read=("b",)))


def who(db, value):
    return Tokens(db).identify(f"Bearer {value}", None).name


def test_provisioned_tokens_are_made_changed_and_let_go(db, stretched):
    bootstrap(db, None, provisioned=[CI])
    tokens = Tokens(db)
    assert who(db, "secret") == "ci"
    assert tokens.get("ci").provisioned
    for refused in (lambda: tokens.remove("ci"), lambda: tokens.rotate("ci")):
        with pytest.raises(Conflict):
            refused()
    row, commits = db.rows["ci"], db.commits
    bootstrap(db, None, provisioned=[CI])
    assert db.rows["ci"] is row
    assert db.commits == commits
    db.wall += 5
    changed = Provision("ci", "secret", Permissions(full_access=True), expires_us=db.wall + 9)
    bootstrap(db, None, provisioned=[changed])
    assert db.rows["ci"] == row._replace(
        permissions={"full_access": True, "read": [], "write": []}, expires_us=db.wall + 9
    )
    bootstrap(db, None, provisioned=[Provision("ci", "other", Permissions())])
    assert db.rows["ci"].created_us == db.wall
    assert who(db, "other") == "ci"
    with pytest.raises(Unauthenticated):
        who(db, "secret")
    bootstrap(db, None)
    assert not Tokens(db).get("ci").provisioned
    assert who(db, "other") == "ci"
    Tokens(db).remove("ci")


def test_a_token_that_is_there_becomes_provisioned(db, stretched):
    value = Tokens(db).create("ci", Permissions(read=("b",)), ttl_s=5, ip_allowlist=["::1"])
    bootstrap(db, None, provisioned=[Provision("ci", value, Permissions(read=("b",)))])
    db.wall += 6_000_000
    assert who(db, value) == "ci"
    assert Tokens(db).get("ci").provisioned


def test_all_kinds_stand_side_by_side(db, stretched):
    Tokens(db).create("mine", Permissions())
    bootstrap(db, "root", provisioned=[CI])
    assert {name: row.provisioned for name, row in db.rows.items()} == {"mine": False, "init-token": True, "ci": True}
    bootstrap(db, None, provisioned=[CI])
    assert not db.rows["init-token"].provisioned
    assert who(db, "root") == "init-token"


def test_a_name_given_twice_or_unusable_is_refused_and_nothing_is_written(db, stretched):
    for provisioned in (
        [CI, CI],
        [Provision("init-token", "x", Permissions())],
        [Provision("a b", "x", Permissions())],
        [Provision("c", "", Permissions())],
        [CI, Provision("c", "x", Permissions(read=("a b",)))],
    ):
        with pytest.raises(InvalidArgument):
            bootstrap(db, "root", provisioned=provisioned)
    assert db.rows == {}


def test_the_first_token_is_written_once_in_the_life_of_a_database(db, stretched):
    bootstrap(db, None, init_token="first")
    tokens = Tokens(db)
    assert who(db, "first") == "init-token"
    assert tokens.get("init-token").permissions.full_access
    assert not tokens.get("init-token").provisioned
    bootstrap(db, None, init_token="second")
    assert who(db, "first") == "init-token"
    tokens.create("root", Permissions(full_access=True))
    tokens.remove("init-token")
    bootstrap(db, None, init_token="first")
    assert list(db.rows) == ["root"]


def test_the_first_token_replaces_none(db, stretched):
    bootstrap(db, "configured")
    bootstrap(db, None, init_token="first")
    assert who(db, "configured") == "init-token"
    with pytest.raises(Unauthenticated):
        who(db, "first")
    bootstrap(db, "both", init_token="first")
    assert who(db, "both") == "init-token"
