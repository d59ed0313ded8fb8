"""Who calls over HTTP: the messages of contract reductstore 1.4 and their order."""

from __future__ import annotations

import pytest

from lamina.access import Permissions, Tokens
from lamina.errors import PermissionDenied, Unauthenticated

READ = Permissions(read=("b",))
MISSING = "No bearer token in request header"


@pytest.fixture
def tokens(db, stretched):
    return Tokens(db)


def refusal(tokens, header, ip=None):
    """The message of a refusal, the same in all ways of asking."""
    with pytest.raises(Unauthenticated) as caught:
        tokens.identify(header, ip)
    with pytest.raises(Unauthenticated) as again:
        tokens.try_identify(header, ip)  # by now it is remembered
    assert str(again.value) == str(caught.value)
    with pytest.raises(PermissionDenied) as other:
        tokens.authenticate(header, ip)
    assert str(other.value) == "invalid api key"
    return str(caught.value)


def test_a_header_must_carry_a_known_value(tokens):
    value = tokens.create("a", READ)
    assert tokens.identify(f"Bearer {value}", None).name == "a"
    for header in (None, "", "Bearer", "Basic x", f"Bearer{value}", value):
        assert refusal(tokens, header) == MISSING
    for header in ("Bearer ", "Bearer None", "Bearer undefined", f"Bearer {value}x", f"Bearer  {value}"):
        with pytest.raises(Unauthenticated, match=r"^Invalid token$"):
            tokens.identify(header, None)
    assert refusal(tokens, f"Bearer {value}0") == "Invalid token"
    with pytest.raises(Unauthenticated, match=MISSING):
        tokens.identify(f"bearer {value}", None)  # HTTP is as strict as the contract


def test_a_token_past_its_date_has_expired(tokens, db):
    value = tokens.create("a", READ, expires=(db.wall + 5) * 1000)
    db.wall += 4
    tokens.identify(f"Bearer {value}", None)
    assert not tokens.get("a").is_expired
    db.wall += 1
    assert refusal(tokens, f"Bearer {value}") == "Token has expired"
    assert tokens.get("a").is_expired


def test_a_token_that_idled_for_longer_than_its_ttl_has_expired(tokens, db):
    value = tokens.create("a", READ, ttl_s=10)
    db.wall += 10_000_000
    assert tokens.identify(f"Bearer {value}", None).name == "a"
    db.wall += 10_000_000
    assert tokens.authenticate(f"Bearer {value}").name == "a"
    assert tokens.get("a").last_access_us == db.wall
    db.wall += 10_000_000
    assert not tokens.get("a").is_expired  # to look at it is no use
    db.wall += 1
    assert refusal(tokens, f"Bearer {value}") == "Token has expired"
    assert refusal(tokens, f"Bearer {value}") == "Token has expired"  # nor is a refusal
    assert tokens.get("a").is_expired


def test_a_token_never_used_idles_from_its_creation(tokens, db):
    value = tokens.create("a", READ, ttl_s=10)
    db.wall += 10_000_001
    assert refusal(tokens, f"Bearer {value}") == "Token has expired"


def test_a_list_of_addresses_is_asked_last(tokens, db):
    value = tokens.create("a", READ, ip_allowlist=["10.0.0.0/8", "nonsense"], ttl_s=10)
    header = f"Bearer {value}"
    assert tokens.identify(header, "10.1.1.1").name == "a"
    assert tokens.authenticate(header, "10.1.1.1").name == "a"
    for ip in (None, ""):
        assert refusal(tokens, header, ip) == "Client IP is required for this token"
    assert refusal(tokens, header, "11.1.1.1") == "Token is not allowed for client IP 11.1.1.1"
    used = tokens.get("a").last_access_us
    db.wall += 5
    refusal(tokens, header, "11.1.1.1")
    assert tokens.get("a").last_access_us == used
    db.wall += 11_000_000
    assert refusal(tokens, header, "11.1.1.1") == "Token has expired"
    assert refusal(tokens, header + "0", "11.1.1.1") == "Invalid token"


def test_a_list_of_malformed_addresses_admits_nobody(tokens):
    value = tokens.create("a", READ, ip_allowlist=["nonsense"])
    assert refusal(tokens, f"Bearer {value}", "10.0.0.1") == "Token is not allowed for client IP 10.0.0.1"
    assert tokens.get("a").ip_allowlist == ("nonsense",)


def test_what_would_block_is_left_to_a_thread(tokens, db, stretched):
    value = tokens.create("a", READ, value="chosen")
    header = f"Bearer {value}"
    stretched.clear()
    assert tokens.try_identify(header, None) is None
    assert tokens.try_identify("Bearer wrong", None) is None
    assert stretched == []
    tokens.identify(header, None)
    reads = db.reads
    assert tokens.try_identify(header, None).name == "a"
    assert db.reads == reads
    db.now += 500_000_000  # the table is to be read again
    assert tokens.try_identify(header, None) is None
    assert db.reads == reads
    with pytest.raises(Unauthenticated, match="Invalid token"):
        tokens.identify("Bearer wrong", None)
    with pytest.raises(Unauthenticated, match="Invalid token"):
        tokens.try_identify("Bearer wrong", None)
    with pytest.raises(Unauthenticated, match=MISSING):
        tokens.try_identify(None, None)


def test_a_value_seen_before_costs_neither_hash_nor_read(tokens, db, stretched, monkeypatch):
    import hashlib

    value = tokens.create("a", READ)
    tokens.identify(f"Bearer {value}", None)
    monkeypatch.setattr(hashlib, "sha256", None)
    reads = db.reads
    for _ in range(100):
        assert tokens.identify(f"Bearer {value}", None).permissions == READ
    assert db.reads == reads
