import numpy as np
import pytest

from lamina.columns import Samples
from lamina.errors import TooBig
from lamina.faces.btrdb import listing
from lamina.faces.btrdb.batches import NO_POINTS, batches
from lamina.faces.btrdb.calls import MESSAGE_LIMIT
from lamina.faces.btrdb.generated import lamina_wire_v5_pb2 as pb


def samples(*times):
    return Samples(np.array(times, np.int64), np.array(times, np.float64))


@pytest.mark.parametrize("sizes", [[0], [1, 2, 3], [10], [4, 4], [3, 0, 1, 9], [25]])
def test_batches_are_full_but_the_last_and_keep_order(sizes):
    ends = np.cumsum(sizes)
    chunks = [samples(*range(end - size, end)) for size, end in zip(sizes, ends, strict=True)]
    parts = list(batches(chunks, 4, NO_POINTS))
    assert [t for part in parts for t in part.time.tolist()] == list(range(sum(sizes)))
    assert all(len(part) == 4 for part in parts[:-1])
    assert len(parts[-1]) <= 4


def test_no_chunks_are_one_empty_batch():
    assert list(batches((), 4, NO_POINTS)) == [NO_POINTS]


def test_a_batch_is_given_out_before_the_next_chunk_is_made():
    made = []

    def chunks():
        for i in range(100):
            made.append(i)
            yield samples(i)

    next(batches(chunks(), 4, NO_POINTS))
    assert made == [0, 1, 2, 3]


def test_listings_are_cut_by_count_and_by_bytes():
    few = [pb.LookupStreamsResponse.FromString(m) for m in listing.packed(b"\x12\x01a" for _ in range(2500))]
    assert [len(m.results) for m in few] == [1000, 1000, 500]
    wide = list(listing.packed(b"x" * 1_000_000 for _ in range(9)))
    assert max(map(len, wide)) < MESSAGE_LIMIT
    assert sum(len(pb.SQLQueryResponse.FromString(m).SQLQueryRow) for m in wide) == 9
    assert list(listing.packed(())) == [b""]
    with pytest.raises(TooBig):
        list(listing.packed([b"x" * MESSAGE_LIMIT]))
