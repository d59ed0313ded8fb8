import numpy as np
import pytest

from lamina.streams import compaction, history
from lamina.streams.history import Entry
from lamina.streams.node import ADDRESS, INNER, NO_ROWS
from lamina.streams.tests.test_tree import Model
from lamina.streams.tests.walk import check, content, walk


class Stream(Model):
    """A tree whose older roots are in a history, as flushes leave it."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.history = b""

    def entry(self, i: int) -> Entry:
        kept = self.kept[i]
        if not i:
            return Entry(10, 0, 0, 0, NO_ROWS, np.zeros(1, ADDRESS))
        out = self.read.segment()
        block = history.encode_runs(np.array([kept.version], np.uint64), np.array([7], np.uint64))
        offset, length, crc = out.append(block)
        out.finish()
        runs = np.array([(out.id, length, offset, crc)], ADDRESS)
        return Entry(kept.version, 100 * i, 5, len(kept.times), kept.root, runs)

    def record(self) -> None:
        out = self.read.segment()
        self.history = history.append(self.history, self.entry(len(self.kept) - 2), out, self.read)
        out.finish()


def grown(seed, *shape):
    random = np.random.default_rng(seed)
    stream = Stream(*shape)
    for i in range(12):
        times = np.sort(random.integers(0, 50_000, int(random.integers(1, 600)))) + 3000 * i
        removals = [(3000 * i, 3000 * i + 900)] if i % 4 == 3 else []
        stream.merge(times, np.round(random.normal(0, 5, len(times)), 2), removals, np.arange(len(times)) % 3)
        stream.record()
    return stream


def addresses(rows):
    return [tuple(row[name].tolist()) for row in rows for name in ("base", "delta") if row[name]["length"]]


@pytest.mark.parametrize("shape", [(16, 4), (100, 8), (2048, 64)])
def test_reachable_counts_every_shared_block_once(shape):
    stream = grown(1, *shape)
    roots = np.concatenate([k.root for k in stream.kept[1:]])
    expected: dict[int, int] = {}
    every = {a for kept in stream.kept for a in addresses(walk(kept.root, stream.read)[1])}
    for node, address in history.nodes(stream.history, stream.read):
        every.add(tuple(address.tolist()))
        if node.dtype == history.ENTRY:
            every |= {tuple(a) for a in node["runs"].tolist() if a[1]}
    extra = stream.entry(12).runs
    every.add(tuple(extra[0].tolist()))
    for segment, length, _, _ in every:
        expected[segment] = expected.get(segment, 0) + length
    before = stream.read.blocks_read
    assert compaction.reachable(roots, [stream.history], stream.read, extra) == expected
    assert stream.read.blocks_read == before
    inner = {tuple(r["base"].tolist()) for k in stream.kept for r in walk(k.root, stream.read)[1] if r["kind"] == INNER}
    stream.read.nodes_read = 0
    compaction.reachable(roots, [], stream.read)
    assert stream.read.nodes_read == len(inner)


def test_what_only_dropped_versions_need_is_not_reachable():
    stream = Stream(16, 4)
    stream.merge(np.arange(1000))
    stream.merge(np.arange(1000), removals=[(0, 2000)])
    live = compaction.reachable(stream.root, [], stream.read)
    assert set(live) == {2}


@pytest.mark.parametrize("shape", [(16, 4), (100, 8), (2048, 64)])
@pytest.mark.parametrize("seed", range(3))
def test_every_kept_version_reads_the_same_without_the_victims(shape, seed):
    stream = grown(seed, *shape)
    random = np.random.default_rng(seed)
    keep = sorted(random.choice(np.arange(0, 12), 6, replace=False).tolist())
    victims = set(random.choice(list(stream.read.segments), len(stream.read.segments) // 2, replace=False).tolist())
    entries, latest = [stream.entry(i) for i in keep], stream.entry(12)
    runs = [stream.read.block(*(int(e.runs[f][0]) for f in ("segment", "offset", "length", "crc"))) for e in entries]
    out = stream.read.segment()
    found = compaction.rewrite(entries, latest, victims, out=out, read=stream.read)
    out.finish()
    for victim in victims:
        del stream.read.segments[victim]
    rewritten = [*history.entries(found.history, stream.read), found.latest]
    assert [e[:4] for e in rewritten] == [e[:4] for e in [*entries, latest]]
    for i, new in zip([*keep, 12], rewritten, strict=True):
        kept = stream.kept[i]
        check(new.root, stream.read, *stream.shape[:2])
        now = content(new.root, stream.read)
        np.testing.assert_array_equal(now.times, kept.times)
        np.testing.assert_array_equal(now.values, kept.values)
        np.testing.assert_array_equal(now.versions[kept.added > 0], kept.added[kept.added > 0])
        if i:
            np.testing.assert_array_equal(new.root["version"], kept.root["version"])
    for new, block in zip(rewritten, runs, strict=False):
        place = (int(new.runs[f][0]) for f in ("segment", "offset", "length", "crc"))
        assert stream.read.block(*place) == block


def test_shared_subtrees_stay_shared_and_the_rest_stays_in_place():
    stream = Stream(16, 4)
    stream.merge(np.arange(4000))
    stream.merge(np.arange(4000, 4100))
    entries, latest = [stream.entry(1)], stream.entry(2)
    before = {a for kept in stream.kept for a in addresses(walk(kept.root, stream.read)[1])}
    out = stream.read.segment()
    first = min(stream.read.segments)
    found = compaction.rewrite(entries, latest, {first}, out=out, read=stream.read)
    out.finish()
    [old] = history.entries(found.history, stream.read)
    after = {a for root in (old.root, found.latest.root) for a in addresses(walk(root, stream.read)[1])}
    assert len(after) == len(before)
    assert sum(a[1] for a in after) == sum(a[1] for a in before)
    leaves = {a for a in before if a[0] == 2 and a not in after}
    rewritten_leaves = [r for r in walk(stream.root, stream.read)[0] if tuple(r["base"].tolist()) in leaves]
    assert not rewritten_leaves


def test_nothing_moves_when_the_victims_are_not_used():
    stream = grown(2, 16, 4)
    out = stream.read.segment()
    found = compaction.rewrite([], stream.entry(12), {999}, out=out, read=stream.read)
    assert out.offset == 64
    assert found.history == b""
    np.testing.assert_array_equal(found.latest.root, stream.root)
