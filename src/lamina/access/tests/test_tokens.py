"""Tokens: made once, stored as a hash, recognised, revoked. Against a database of three dicts."""

from __future__ import annotations

import hashlib
import logging
import threading
import traceback

import pytest

from lamina.access import Permissions, Provision, Tokens, bootstrap, recognition, tokens
from lamina.catalog.rows import to_json
from lamina.errors import (
    AlreadyExists,
    Conflict,
    InvalidArgument,
    LaminaError,
    NotFound,
    PermissionDenied,
    TooBig,
    Unauthenticated,
)

READ = Permissions(read=("$streams",))
FULL = Permissions(full_access=True)
CANARY = "canary-7c1f5be0-do-not-print"


def denied(tokens, header):
    with pytest.raises(PermissionDenied) as caught:
        tokens.authenticate(header)
    assert str(caught.value) == "invalid api key"
    assert type(caught.value) is PermissionDenied
    return True


def test_a_made_token_is_its_name_and_128_random_bits(db):
    value = Tokens(db).create("reader", {"read": ["$streams/plant/*"]})
    name, _, secret = value.rpartition("-")
    assert name == "reader"
    assert len(bytes.fromhex(secret)) == 16
    who = Tokens(db).authenticate(f"Bearer {value}")
    assert who.name == "reader"
    assert who.may_read_stream("plant/a")
    assert not who.may_read_stream("other")
    assert not who.may_write_stream("plant/a")


def test_the_scheme_is_bearer_in_any_case(db):
    tokens = Tokens(db)
    value = tokens.create("a", READ)
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert tokens.authenticate(f"{scheme} {value}").name == "a"
    for header in (None, "", value, f"Basic {value}", "Bearer", "Bearer ", f"Bearer{value}", f"Bearer x {value}"):
        assert denied(tokens, header)


def test_wrong_values_are_denied(db, stretched):
    tokens = Tokens(db)
    value = tokens.create("a", READ)
    other = tokens.create("b", READ)
    tokens.create("c", READ, value="chosen")
    wrong = (value[:-1], value + "0", value.upper(), "a-" + "0" * 32, "b" + value[1:], "a" + other[1:], "a", "-", "é-1")
    for header in (*wrong, "x" * 100_000, "\ud800"):
        assert denied(tokens, f"Bearer {header}")
    assert tokens.authenticate(f"Bearer {value}").name == "a"


def test_only_a_salted_hash_is_stored(db, stretched):
    tokens = Tokens(db)
    made = [tokens.create("a", READ), tokens.create("b", READ, value=CANARY)]
    tokens.create("c", READ, value=CANARY)
    for value in made:
        for form in (value, value.encode().hex(), value.rpartition("-")[2]):
            assert form not in "".join(to_json(row) for row in db.rows.values())
    assert [row.kind for row in db.rows.values()] == ["sha256", "scrypt", "scrypt"]
    assert db.rows["b"].hash != db.rows["c"].hash
    assert db.rows["a"].hash == hashlib.sha256(db.rows["a"].salt + made[0].encode()).digest()
    assert len(db.rows["a"].salt) == 16


def test_a_chosen_value_is_stretched_once_per_change_of_the_table(db, stretched):
    tokens = Tokens(db)
    tokens.create("a", READ, value="chosen")
    stretched.clear()
    for _ in range(3):
        assert tokens.authenticate("Bearer chosen").name == "a"
        assert denied(tokens, "Bearer wrong")
    assert stretched == [b"chosen", b"wrong"]
    tokens.create("b", READ)
    assert tokens.authenticate("Bearer chosen").name == "a"
    assert len(stretched) == 3


def test_wrong_values_push_out_no_right_one(db, stretched, monkeypatch):
    monkeypatch.setattr(recognition, "REFUSED_LIMIT", 10)
    mine = Tokens(db)
    mine.create("a", READ, value="chosen")
    mine.authenticate("Bearer chosen")
    for i in range(25):
        denied(mine, f"Bearer wrong-{i}")
    assert len(mine._recognition._known.refused) <= 10
    stretched.clear()
    mine.authenticate("Bearer chosen")
    assert stretched == []


def test_a_removed_token_is_refused_at_once(db, stretched):
    tokens = Tokens(db)
    values = [tokens.create("a", READ), tokens.create("b", READ, value="chosen")]
    for name, value in zip("ab", values, strict=True):
        assert tokens.authenticate(f"Bearer {value}").name == name
        tokens.remove(name)
        assert denied(tokens, f"Bearer {value}")
    with pytest.raises(NotFound):
        tokens.remove("a")


def test_a_change_made_elsewhere_is_effective_within_a_second(db):
    mine, theirs = Tokens(db), Tokens(db)
    value = mine.create("a", READ)
    theirs.create("b", READ)
    db.now += 1_000_000_000
    assert mine.authenticate(f"Bearer {value}").may_read_stream("x")
    db.rows["a"] = db.rows["a"]._replace(permissions={"full_access": False, "write": ["$streams"]})
    db.now += 999_000_000
    who = mine.authenticate(f"Bearer {value}")
    assert (who.may_read_stream("x"), who.may_write_stream("x")) == (False, True)
    theirs.remove("a")
    db.now += 999_000_000
    assert denied(mine, f"Bearer {value}")


def test_the_table_is_read_at_most_twice_a_second(db):
    tokens = Tokens(db)
    value = tokens.create("a", READ)
    before = db.reads
    for _ in range(1000):
        db.now += 2_000_000
        tokens.authenticate(f"Bearer {value}")
    assert db.reads - before == 4


def test_a_token_expires_on_time(db):
    tokens = Tokens(db)
    value = tokens.create("a", READ, expires=(db.wall + 5) * 1000)
    db.wall += 4
    assert tokens.authenticate(f"Bearer {value}").name == "a"
    db.wall += 1
    assert denied(tokens, f"Bearer {value}")
    assert tokens.list()[0].expires_us == db.wall
    with pytest.raises(InvalidArgument, match="past"):
        tokens.create("b", READ, expires=db.wall * 1000)
    tokens.create("c", READ, expires="2030-01-01T00:00:00Z")


def test_names_values_and_permissions_are_checked(db):
    tokens = Tokens(db)
    tokens.create("a", READ)
    with pytest.raises(AlreadyExists):
        tokens.create("a", FULL)
    for name in ("", "x" * 256, "a b", "a\n", "é"):
        with pytest.raises(InvalidArgument):
            tokens.create(name, READ)
    for value in ("", "x" * 513, "a b", "a\r\nb", "é"):
        with pytest.raises(InvalidArgument):
            tokens.create("b", READ, value=value)
    with pytest.raises(InvalidArgument):
        tokens.create("b", {"read": ["a b"]})
    assert [info.name for info in tokens.list()] == ["a"]
    tokens.create("x" * 255, READ)


def test_there_are_at_most_ten_thousand(db, monkeypatch):
    monkeypatch.setattr(tokens, "TOKEN_LIMIT", 2)
    mine = Tokens(db)
    mine.create("a", READ)
    mine.create("b", READ)
    with pytest.raises(TooBig, match="at most 2"):
        mine.create("c", READ)


def test_the_last_full_access_and_a_provisioned_token_stay(db, stretched):
    bootstrap(db, "config")
    tokens = Tokens(db)
    with pytest.raises(Conflict, match="provisioned"):
        tokens.remove("init-token")
    del db.rows["init-token"]
    tokens.create("root", FULL)
    tokens.create("reader", READ)
    with pytest.raises(Conflict, match="at least one full-access"):
        tokens.remove("root")
    tokens.create("root2", FULL)
    tokens.remove("root")


def test_bootstrap_gives_the_configured_value_full_access(db, stretched):
    bootstrap(db, "config")
    who = Tokens(db).authenticate("Bearer config")
    assert (who.name, who.full_access) == ("init-token", True)
    assert Tokens(db).list()[0].provisioned
    row = db.rows["init-token"]
    bootstrap(db, "config")
    assert db.rows["init-token"] is row
    bootstrap(db, "changed")
    tokens = Tokens(db)
    assert denied(tokens, "Bearer config")
    assert tokens.authenticate("Bearer changed").full_access
    with pytest.raises(InvalidArgument):
        bootstrap(db, "")


def test_a_call_that_waited_for_the_same_value_does_not_stretch_it_again(db, stretched):
    mine = Tokens(db)
    mine.create("a", READ, value="chosen")
    stretched.clear()
    waiting = [mine.authenticate]

    class LockWithOneWaiter:
        def __enter__(self):
            pass

        def __exit__(self, *_):
            if waiting:
                assert waiting.pop()("Bearer chosen").name == "a"

    mine._recognition._stretching = LockWithOneWaiter()
    assert mine.authenticate("Bearer chosen").name == "a"
    assert stretched == [b"chosen"]


def test_threads_authenticate_at_once(db, stretched):
    mine = Tokens(db)
    values = [mine.create("a", READ, value="chosen"), mine.create("b", READ)]
    seen = []
    start = threading.Barrier(4)

    def call(value):
        start.wait()
        seen.append(mine.authenticate(f"Bearer {value}").name)

    threads = [threading.Thread(target=call, args=(value,)) for value in values * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == ["a", "a", "b", "b"]


def test_no_secret_is_printed(db, stretched, caplog):
    caplog.set_level(logging.DEBUG)
    mine = Tokens(db)
    made = mine.create("made", READ)
    mine.create("chosen", READ, value=CANARY)
    who = mine.authenticate(f"Bearer {CANARY}")
    texts = [
        repr(who),
        repr(mine),
        repr(vars(mine)),
        repr(vars(mine._recognition)),
        repr(mine._recognition._known),
        repr(mine.issue("issued", READ, value=CANARY)),
        repr(mine.rotate("chosen")),
        repr(Provision("p", CANARY, READ)),
        repr(mine.list()),
        repr(list(db.rows.values())),
    ]
    bad = [
        lambda: mine.authenticate(f"Basic {CANARY}"),
        lambda: mine.authenticate(f"Bearer {CANARY}x"),
        lambda: mine.identify(f"Bearer {CANARY}x", None),
        lambda: mine.identify(f"Basic {CANARY}", None),
        lambda: mine.identify(f"Bearer  {CANARY}", None),
        lambda: mine.create("chosen", READ, value=CANARY),
        lambda: mine.create("x", READ, value=CANARY + " "),
        lambda: mine.create("x y", READ, value=CANARY),
        lambda: bootstrap(db, CANARY + "\n"),
    ]
    for call in bad:
        with pytest.raises(Exception) as caught:
            call()
        texts += [repr(caught.value), "".join(traceback.format_exception_only(caught.value))]
    texts.append(caplog.text)
    secret = made.rpartition("-")[2]
    assert not any(CANARY in text or secret in text for text in texts)


def refusal(call):
    with pytest.raises(LaminaError) as caught:
        call()
    return type(caught.value), str(caught.value)


def test_a_creation_is_checked_in_the_order_of_the_contract(db):
    mine = Tokens(db)
    mine.create("a", READ)
    past, wrong = (db.wall - 1) * 1000, {"read": ["a b"]}
    assert refusal(lambda: mine.create("", wrong, past, ttl_s=0))[0] is InvalidArgument
    assert refusal(lambda: mine.create("a", wrong, past, ttl_s=0)) == (AlreadyExists, "Token 'a' already exists")
    message = "Permission can contain only bucket names or wildcard '*', got 'a b'"
    assert refusal(lambda: mine.create("b", wrong, past, ttl_s=0)) == (InvalidArgument, message)
    message = "Token TTL must be greater than zero"
    assert refusal(lambda: mine.create("b", READ, past, ttl_s=0)) == (InvalidArgument, message)
    message = "Token expiration date must not be in the past"
    assert refusal(lambda: mine.create("b", READ, past, ttl_s=1)) == (InvalidArgument, message)
    assert refusal(lambda: mine.create("b", READ, ttl_s=1 << 63))[0] is InvalidArgument
    for addresses in ("::1", ["::1"] * 1025, ["x" * 1025], ["\ud800"], [7]):
        assert refusal(lambda a=addresses: mine.create("b", READ, ip_allowlist=a))[0] is InvalidArgument
    assert list(db.rows) == ["a"]
    mine.create("b", {"read": ["there-is-none", "$system"]}, ttl_s=(1 << 63) - 1, ip_allowlist=["malformed"])


def test_a_name_taken_meanwhile_is_taken(db):
    mine, theirs = Tokens(db), Tokens(db)
    real = db.change

    def change(decide):
        db.change = real
        theirs.create("a", FULL)
        real(decide)

    db.change = change
    assert refusal(lambda: mine.create("a", READ)) == (AlreadyExists, "Token 'a' already exists")
    assert mine.get("a").permissions == FULL


def test_a_rotated_token_keeps_everything_but_its_value(db, stretched):
    mine = Tokens(db)
    old = mine.create("a", READ, (db.wall + 99) * 1000, "chosen", ttl_s=50, ip_allowlist=["::1"])
    mine.identify(f"Bearer {old}", "::1")
    before = mine.get("a")
    db.wall += 3
    issued = mine.rotate("a")
    assert issued.created_us == db.wall
    assert issued.value.startswith("a-")
    assert len(issued.value) == 34
    assert mine.get("a") == before._replace(created_us=db.wall)
    with pytest.raises(Unauthenticated, match="Invalid token"):
        mine.identify(f"Bearer {old}", "::1")
    assert mine.identify(f"Bearer {issued.value}", "::1").name == "a"
    again = mine.rotate("a").value
    assert again != issued.value
    with pytest.raises(Unauthenticated, match="Invalid token"):
        mine.identify(f"Bearer {issued.value}", "::1")


def test_a_rotation_is_refused(db, stretched):
    bootstrap(db, "config")
    mine = Tokens(db)
    mine.create("dated", READ, (db.wall + 5) * 1000)
    mine.create("idle", READ, ttl_s=1)
    db.wall += 1_000_001
    assert refusal(lambda: mine.rotate("none")) == (NotFound, "Token 'none' doesn't exist")
    assert refusal(lambda: mine.get("none")) == (NotFound, "Token 'none' doesn't exist")
    assert refusal(lambda: mine.rotate("init-token")) == (Conflict, "Can't rotate provisioned token 'init-token'")
    for name in ("dated", "idle"):
        assert refusal(lambda n=name: mine.rotate(n)) == (InvalidArgument, f"Can't rotate expired token '{name}'")


def test_removals_say_why_not(db, stretched):
    bootstrap(db, "config")
    mine = Tokens(db)
    assert refusal(lambda: mine.remove("none")) == (NotFound, "Token 'none' doesn't exist")
    assert refusal(lambda: mine.remove("init-token")) == (Conflict, "Can't remove provisioned token 'init-token'")
    bootstrap(db, None)
    message = "Can't remove token 'init-token': at least one full-access token must remain"
    assert refusal(lambda: mine.remove("init-token")) == (Conflict, message)


def test_tokens_follow_their_buckets(db, stretched):
    bootstrap(db, None, provisioned=[Provision("p", "x", Permissions(write=("b",)))])
    mine = Tokens(db)
    value = mine.create("a", Permissions(read=("b", "b*", "c")))
    mine.create("other", READ)
    commits = db.commits
    mine.rename_bucket("b", "d")
    assert db.commits == commits + 1
    who = mine.identify(f"Bearer {value}", None)
    assert who.permissions == Permissions(read=("d", "b*", "c"))
    assert mine.identify("Bearer x", None).may_write_bucket("d")
    mine.forget_bucket("d")
    assert mine.get("a").permissions == Permissions(read=("b*", "c"))
    assert mine.get("p").permissions == Permissions()
    commits = db.commits
    mine.forget_bucket("d")
    mine.rename_bucket("x", "y")
    assert db.commits == commits


def test_a_table_read_before_a_change_does_not_replace_the_one_read_behind_it(db):
    mine, theirs = Tokens(db), Tokens(db)
    value = mine.create("a", READ)
    theirs.create("b", READ)  # so that the read below finds a difference
    db.now += 1_000_000_000
    real = mine._recognition._read

    def read():
        mine._recognition._read = real
        before = real()
        mine.remove("a")
        return before

    mine._recognition._read = read
    denied(mine, "Bearer wrong")
    assert denied(mine, f"Bearer {value}")


def test_in_a_real_database_everything_survives_reopening(tmp_path):
    import lamina

    with lamina.open(tmp_path / "d") as db:
        mine = Tokens(db)
        value = mine.create("a", READ, ttl_s=1000, ip_allowlist=["10.0.0.0/8"])
        used = mine.identify(f"Bearer {value}", "10.0.0.1")
        info = mine.get("a")
        mine.close()
    with lamina.open(tmp_path / "d") as db:
        mine = Tokens(db)
        assert mine.get("a") == info
        assert info.last_access_us > 0
        assert mine.identify(f"Bearer {value}", "10.0.0.1") == used
        mine.rename_bucket("x", "y")
        mine.rotate("a")
        mine.create("root", FULL)
        mine.remove("a")
