"""Parameters of links: what was sealed comes back, what was touched does not."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.errors import InvalidArgument
from lamina.faces.reduct.sealing import seal, unseal
from lamina.random import SystemRandom

KEY = b"k" * 32


def sealed(payload: bytes = b'{"a":1}', issuer: str = "tok en&é", key: bytes = KEY) -> dict[str, str]:
    return dict(parse_qsl(seal(key, payload, issuer, SystemRandom())))


@given(st.binary(max_size=200), st.text(st.characters(codec="utf-8"), min_size=1, max_size=20))
def test_what_was_sealed_comes_back(payload, issuer):
    assert unseal(KEY, sealed(payload, issuer)) == (payload, issuer)


@pytest.mark.parametrize("name", ["ct", "s", "i", "n"])
def test_a_missing_parameter_is_named(name):
    query = sealed()
    del query[name]
    with pytest.raises(InvalidArgument, match=f"^Missing '{name}' parameter$"):
        unseal(KEY, query)


@pytest.mark.parametrize("name", ["ct", "s", "i", "n"])
def test_a_changed_parameter_is_refused(name):
    query = sealed()
    query[name] = ("A" if query[name][0] != "A" else "B") + query[name][1:]
    with pytest.raises(InvalidArgument, match="damaged"):
        unseal(KEY, query)


def test_parts_cannot_be_shifted_from_one_parameter_to_the_next():
    query = sealed(issuer="ab")
    query["i"], query["n"] = "a", "b" + query["n"]
    with pytest.raises(InvalidArgument, match="damaged"):
        unseal(KEY, query)


def test_another_key_opens_nothing():
    with pytest.raises(InvalidArgument, match="damaged"):
        unseal(b"x" * 32, sealed())
