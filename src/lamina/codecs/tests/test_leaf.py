"""Blocks come back to the bit, whatever is in them, and blocks of earlier releases are still read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lamina.codecs import leaf, pco, registry
from lamina.codecs.values import ValueCodec, learn
from lamina.errors import Corrupt, LaminaError, UnknownFormat
from lamina.testing import data

GOLDEN = Path(__file__).parent / "golden"
CODECS = [
    ValueCodec(mode, parameter, delta)
    for mode, parameter in (("classic", 0), ("quant", 29), ("mult", 2), ("mult", 0))
    for delta in (0, 1)
]
TIME_SHAPES = ["regular", "alternating", "jittered", "poisson"]
VALUE_SHAPES = ["voltage", "decimals", "counter", "angle", "constant", "special"]


def decoded(block):
    n = leaf.count(block)
    times, values = np.empty(n, np.int64), np.empty(n)
    leaf.decode_into(block, times, values)
    return times, values


def assert_exact(times, values, codec):
    found_times, found_values = decoded(leaf.encode(times, values, codec))
    np.testing.assert_array_equal(found_times, times)
    np.testing.assert_array_equal(found_values.view(np.uint64), values.view(np.uint64))


@pytest.mark.parametrize("codec", CODECS, ids=str)
@pytest.mark.parametrize("shape", VALUE_SHAPES)
@pytest.mark.parametrize("n", [1, 2, 95, 96, 1400])
def test_every_codec_is_exact_on_every_shape_of_values(codec, shape, n):
    assert_exact(data.times("jittered", n), data.values(shape, n), codec)


@pytest.mark.parametrize("shape", TIME_SHAPES)
@pytest.mark.parametrize("n", [1, 2, 3, 5, 95, 96, 1400])
def test_every_shape_of_times_is_exact(shape, n):
    assert_exact(data.times(shape, n), np.zeros(n), ValueCodec())


@given(
    hnp.arrays(np.uint64, st.integers(1, 300), elements=st.integers(0, 2**64 - 1)),
    st.sampled_from(CODECS),
    st.data(),
)
def test_every_bit_pattern_of_a_value_comes_back(bits, codec, draw):
    times = np.sort(draw.draw(hnp.arrays(np.int64, len(bits), elements=st.integers(0, 2**62 - 1))))
    assert_exact(times, bits.view(np.float64), codec)


@given(st.lists(st.integers(0, 2**62 - 1), min_size=1, max_size=200), st.booleans())
def test_any_sorted_times_come_back(numbers, crowded):
    times = np.sort(np.array([n % 5 if crowded else n for n in numbers], np.int64))
    assert_exact(times, np.zeros(len(times)), ValueCodec())


def test_a_column_pcodec_refuses_is_written_without_it(monkeypatch):
    monkeypatch.setattr(pco, "encode", lambda numbers, how: None)
    times, values = data.times("jittered", 500), data.values("voltage", 500)
    block = leaf.encode(times, values, ValueCodec())
    assert {block[12], block[13]} <= {registry.RAW, registry.ZSTD}
    assert_exact(times, values, ValueCodec())


@pytest.mark.parametrize("pair", [(0x8000_0000_0000_0000, 0), (0x7FF8_0000_0000_0001, 0x7FF8_0000_0000_0002)])
def test_long_runs_of_values_that_compare_alike_stay_apart(pair):
    values = np.repeat(np.array(pair, np.uint64), 500).view(np.float64)
    assert_exact(np.arange(1000), values, ValueCodec())
    assert len(leaf.encode(np.arange(1000), values, ValueCodec())) == 16 + 32 + 24


def test_random_bits_take_no_more_than_raw():
    random = np.random.default_rng(0)
    values = random.integers(0, 2**64, 1000, dtype=np.uint64).view(np.float64)
    block = leaf.encode(data.times("regular", 1000), values, ValueCodec())
    assert len(block) <= 16 + 32 + 8000


def test_times_alone_can_be_decoded():
    times = data.times("jittered", 300)
    found = np.empty(300, np.int64)
    leaf.decode_into(leaf.encode(times, np.zeros(300), ValueCodec()), found, None)
    np.testing.assert_array_equal(found, times)


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(1, 5)), min_size=1, max_size=40))
def test_versions_come_back(runs):
    versions = np.repeat(np.array([v for v, _ in runs], np.uint64), [n for _, n in runs])
    n = len(versions)
    block = leaf.encode(np.arange(n), np.zeros(n), ValueCodec(), versions)
    np.testing.assert_array_equal(leaf.versions(block, n), versions)
    assert decoded(block)[0].tolist() == list(range(n))


def test_a_block_without_runs_has_no_versions():
    assert leaf.versions(leaf.encode(np.arange(9), np.zeros(9), ValueCodec()), 9) is None


def test_interleaved_versions_take_bits_per_point():
    random = np.random.default_rng(0)
    versions = 1000 + random.integers(0, 8, 1400).astype(np.uint64)
    args = (data.times("jittered", 1400), data.values("voltage", 1400), ValueCodec())
    assert len(leaf.encode(*args, versions)) - len(leaf.encode(*args)) < 1400
    ordered = np.sort(versions)
    assert len(leaf.encode(*args, ordered)) - len(leaf.encode(*args)) < 64


@pytest.mark.parametrize(("at", "name"), [(12, "codec 200"), (13, "codec 200"), (14, "flags 200"), (15, "200")])
def test_what_a_newer_release_wrote_is_named(at, name):
    block = bytearray(leaf.encode(data.times("jittered", 10), np.arange(10.0), ValueCodec()))
    block[at] = 200
    with pytest.raises(UnknownFormat, match=name):
        decoded(bytes(block))


def test_every_cut_of_a_block_is_corrupt():
    n = 120
    for codec_values in (data.values("voltage", n), np.zeros(n)):
        for times in (data.times("jittered", n), data.times("regular", n)):
            block = leaf.encode(times, codec_values, ValueCodec())
            for end in range(0, len(block), 7):
                with pytest.raises(Corrupt):
                    leaf.decode_into(block[:end], np.empty(n, np.int64), np.empty(n))


def test_a_wrong_count_is_corrupt():
    block = leaf.encode(np.arange(10), np.zeros(10), ValueCodec())
    with pytest.raises(Corrupt, match="expected 9 points, found 10"):
        leaf.decode_into(block, np.empty(9, np.int64), np.empty(9))


def golden_blocks():
    """name -> (times, values, codec, versions): one block of each codec, small enough to look at."""
    jittered, n = data.times("jittered", 150), 150
    bits = np.random.default_rng(5).integers(0, 2**64, n, dtype=np.uint64).view(np.float64)
    runs = np.repeat(np.array([0, 12, 11], np.uint64), [40, 60, 50])
    return {
        "raw": (jittered[:20], data.values("voltage", 20), ValueCodec(), None),
        "classic": (jittered, data.values("special", n), ValueCodec("classic"), None),
        "quant": (jittered, data.values("voltage", n), ValueCodec("quant", 29), None),
        "mult-delta": (jittered, data.values("decimals", n), ValueCodec("mult", 2, 1), None),
        "grid-repeats": (data.times("regular", n), np.full(n, -0.0), ValueCodec(), None),
        "alternating-incompressible": (data.times("alternating", n), bits, ValueCodec(), None),
        "runs": (jittered, data.values("counter", n), ValueCodec("mult", 0, 1), runs),
    }


@pytest.mark.parametrize("name", sorted(golden_blocks()))
def test_blocks_of_earlier_releases_are_read(name):
    times, values, _, versions = golden_blocks()[name]
    block = (GOLDEN / f"{name}.leaf").read_bytes()
    found_times, found_values = decoded(block)
    np.testing.assert_array_equal(found_times, times)
    np.testing.assert_array_equal(found_values.view(np.uint64), values.view(np.uint64))
    found = leaf.versions(block, len(times))
    assert (found is None) == (versions is None)
    if versions is not None:
        np.testing.assert_array_equal(found, versions)


@pytest.mark.parametrize("shape", [shape for shape in VALUE_SHAPES if shape != "special"])  # cannot be stored
def test_the_learnt_codec_is_the_smallest_candidate(shape):
    values = data.values(shape, 2000)
    learnt = learn(values)
    times = data.times("regular", 2000)
    best = min(len(leaf.encode(times, values, codec)) for codec in CODECS)
    assert len(leaf.encode(times, values, learnt)) <= best * 1.03


def test_many_blocks_decode_as_one_by_one():
    blocks, counts = [], []
    for times_shape in ("regular", "jittered", "poisson"):
        for values_shape in VALUE_SHAPES:
            for n in (1, 50, 700):
                values = data.values(values_shape, n)
                times = data.times(times_shape, n)
                blocks.append(leaf.encode(times, values, learn(values), np.full(n, 12, np.uint64) if n == 50 else None))
                counts.append(n)
    total = sum(counts)
    found_times, found_values = np.empty(total, np.int64), np.empty(total)
    assert leaf.decode_all(blocks, counts, found_times, found_values) == total
    expected = [decoded(block) for block in blocks]
    np.testing.assert_array_equal(found_times, np.concatenate([times for times, _ in expected]))
    values = np.concatenate([values for _, values in expected])
    np.testing.assert_array_equal(found_values.view(np.uint64), values.view(np.uint64))


@pytest.mark.parametrize("at", [0, 4, 8, 12, 13, 14, 15, 16, 40])
def test_many_blocks_refuse_what_one_refuses(at):
    times, values = data.times("jittered", 700), data.values("voltage", 700)
    block = bytearray(leaf.encode(times, values, learn(values)))
    block[at] ^= 0x55
    outcomes = []
    for decode in (
        lambda t, v: leaf.decode_into(bytes(block), t, v),
        lambda t, v: leaf.decode_all([bytes(block)], [700], t, v),
    ):
        try:
            decode(np.empty(700, np.int64), np.empty(700))
            outcomes.append("read")
        except LaminaError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]
