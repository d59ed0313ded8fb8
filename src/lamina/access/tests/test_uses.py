"""Last uses: at once in memory, at most once a minute on disk."""

from __future__ import annotations

import pytest

from lamina.access import Permissions, Tokens
from lamina.errors import Unauthenticated, Unavailable

MINUTE = 60_000_000


@pytest.fixture
def tokens(db, stretched):
    return Tokens(db)


def use(tokens, value):
    return tokens.identify(f"Bearer {value}", None)


def test_a_use_is_shown_at_once_and_written_when_saved(tokens, db):
    value = tokens.create("a", Permissions())
    assert tokens.get("a").last_access_us == 0
    commits = db.commits
    use(tokens, value)
    assert tokens.get("a").last_access_us == tokens.list()[0].last_access_us == db.wall
    assert db.commits == commits
    assert db.rows["a"].last_access_us == 0
    tokens.save_uses()
    assert db.rows["a"].last_access_us == db.wall
    assert db.commits == commits + 1


def test_a_use_is_written_at_most_once_a_minute_and_all_at_the_end(tokens, db):
    value = tokens.create("a", Permissions())
    other = tokens.create("b", Permissions())
    use(tokens, value)
    tokens.save_uses()
    commits, reads, first = db.commits, db.reads, db.wall
    for _ in range(59):
        db.wall += MINUTE // 60
        use(tokens, value)
        tokens.save_uses()
    assert (db.commits, db.reads) == (commits, reads)  # nothing due: not even looked at
    assert db.rows["a"].last_access_us == first
    db.wall += MINUTE // 60
    use(tokens, value)
    use(tokens, other)
    tokens.save_uses()
    assert db.commits == commits + 1
    assert db.rows["a"].last_access_us == db.rows["b"].last_access_us == db.wall
    db.wall += 1
    use(tokens, value)
    tokens.close()
    assert db.rows["a"].last_access_us == db.wall
    commits = db.commits
    tokens.close()
    assert db.commits == commits


def test_a_restart_writes_no_more_often(tokens, db):
    value = tokens.create("a", Permissions())
    use(tokens, value)
    tokens.close()
    again, commits, written = Tokens(db), db.commits, db.wall
    db.wall += MINUTE - 1
    use(again, value)
    again.save_uses()
    assert (db.commits, db.rows["a"].last_access_us) == (commits, written)
    db.wall += 1
    use(again, value)
    again.save_uses()
    assert db.rows["a"].last_access_us == db.wall


def test_idling_counts_across_a_restart(tokens, db):
    value = tokens.create("a", Permissions(), ttl_s=100)
    db.wall += 90_000_000
    use(tokens, value)
    tokens.close()
    db.wall += 90_000_000
    use(Tokens(db), value)
    db.wall += 90_000_000  # this use was never written: the process died
    with pytest.raises(Unauthenticated, match="Token has expired"):
        use(Tokens(db), value)


def test_a_written_use_forgets_no_verified_value(tokens, db, stretched):
    tokens.create("a", Permissions(), value="chosen")
    use(tokens, "chosen")
    stretched.clear()
    for _ in range(3):
        db.wall += MINUTE
        use(tokens, "chosen")
        tokens.save_uses()
        db.now += 1_000_000_000
        use(tokens, "chosen")
    assert stretched == []


def test_a_use_written_elsewhere_keeps_a_token_alive(tokens, db):
    value = tokens.create("a", Permissions(), ttl_s=100)
    other = Tokens(db)
    use(tokens, value)
    db.wall += 90_000_000
    use(other, value)
    other.save_uses()
    db.wall += 90_000_000
    db.now += 1_000_000_000
    use(tokens, value)


def test_saving_brings_back_no_removed_token_and_undoes_no_change(tokens, db):
    value = tokens.create("a", Permissions())
    use(tokens, value)
    use(tokens, tokens.create("b", Permissions(read=("x",))))
    other = Tokens(db)
    other.remove("a")
    other.rename_bucket("x", "y")
    tokens.save_uses()
    assert list(db.rows) == ["b"]
    assert db.rows["b"].permissions["read"] == ["y"]
    assert db.rows["b"].last_access_us == db.wall


def test_a_new_token_of_an_old_name_was_never_used(tokens, db):
    use(tokens, tokens.create("a", Permissions()))
    tokens.remove("a")
    tokens.create("a", Permissions())
    assert tokens.get("a").last_access_us == 0
    tokens.close()
    assert db.rows["a"].last_access_us == 0


def test_what_could_not_be_written_is_tried_again(tokens, db):
    use(tokens, tokens.create("a", Permissions()))
    db.broken = Unavailable("stopped")
    with pytest.raises(Unavailable):
        tokens.save_uses()
    db.broken = None
    tokens.save_uses()
    assert db.rows["a"].last_access_us == db.wall
