"""The short run of tests.fuzz.conformance."""

from __future__ import annotations

import importlib.util
import re

import pytest

from lamina.faces.reduct.links import LinkRequest
from lamina.faces.reduct.openapi import document
from lamina.faces.reduct.queries import QueryEntry
from tests.fuzz import conformance

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("schemathesis") is None, reason="schemathesis is not installed"
)


def test_the_api_answers_as_its_description_says():
    with conformance.serving() as (url, token):
        found = conformance.run(
            "--max-examples", "3", "--seed", "1", "--phases", "coverage,fuzzing", token=token, url=url
        )  # fmt: skip
    assert found.returncode == 0, found.stdout[-8000:]
    passed = re.search(r"generated, (\d+) passed", found.stdout)
    assert passed
    assert int(passed[1]) > 1000


def test_an_answer_that_is_not_described_is_found(monkeypatch):
    monkeypatch.setattr("lamina.faces.reduct.server.VERSION", 121)
    with conformance.serving() as (url, token):
        found = conformance.run("--max-examples", "1", "--include-path", "/info", token=token, url=url)
    assert found.returncode == 1
    assert "Response violates schema" in found.stdout


@pytest.mark.parametrize("kind", [QueryEntry, LinkRequest])
def test_bodies_are_described_member_by_member(kind):
    described = document()["components"]["schemas"][kind.__name__]["properties"]
    assert described.keys() == set(kind.__struct_fields__)
