import numpy as np
import pytest

from lamina.codecs.values import ValueCodec, from_json, learn
from lamina.errors import Corrupt
from lamina.testing import data


@pytest.mark.parametrize(("shape", "mode"), [("voltage", "quant"), ("decimals", "mult"), ("counter", "mult")])
def test_the_origin_of_the_values_is_recognised(shape, mode):
    assert learn(data.values(shape, 10_000)).mode == mode


def test_few_values_teach_nothing_and_ask_for_more():
    codec = learn(data.values("voltage", 50))
    assert codec == ValueCodec()
    assert codec.degraded(data.values("voltage", 2000))
    assert not codec.degraded(data.values("voltage", 50))


def test_a_codec_is_kept_while_the_values_stay_what_they_were():
    values = data.values("voltage", 20_000)
    codec = learn(values[:5000])
    assert not codec.degraded(values[10_000:])
    assert codec.degraded(np.random.default_rng(0).normal(size=5000))
    constant = learn(np.zeros(5000))
    assert not constant.degraded(np.repeat([1.0, 2.0], 1000))


def test_a_long_sample_is_not_judged_by_its_start():
    values = np.concatenate([np.zeros(2048), data.values("voltage", 20_000)])
    assert learn(values).mode == "quant"


def test_json_keeps_the_codec():
    codec = learn(data.values("decimals", 3000))
    assert from_json(codec.to_json()) == codec


@pytest.mark.parametrize("fields", [{"mode": "later"}, {"what": 1}, {"mode": "quant", "parameter": "x"}, {"delta": []}])
def test_a_codec_that_cannot_be_is_corrupt(fields):
    with pytest.raises(Corrupt, match="value codec"):
        from_json(fields)
