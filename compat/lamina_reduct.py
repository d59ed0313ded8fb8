"""Tests that were written for reduct-py, run through `lamina.reduct`: the same text with another import."""

from __future__ import annotations

import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


def with_own_classes(name: str) -> str:
    """The text of a file of this folder, its import replaced."""
    text = (HERE / name).read_text()
    assert "\nfrom reduct import" in text
    return text.replace("\nfrom reduct import", "\nfrom lamina.reduct import")


def retargeted(name: str, without: Iterable[str] = ()) -> dict[str, Any]:
    """The tests of a module that uses reduct-py, by name, as they are with our classes; those `without` left out."""
    onloop = types.ModuleType("onloop")
    exec(compile(with_own_classes("onloop.py"), "onloop.py", "exec"), vars(onloop))
    text = with_own_classes(f"{name}.py").replace("\nfrom compat.onloop import asynchronous", "")
    module = types.ModuleType(name)
    vars(module)["__file__"] = str(HERE / f"{name}.py")
    vars(module)["asynchronous"] = vars(onloop)["asynchronous"]
    exec(compile(text, str(HERE / f"{name}.py"), "exec"), vars(module))
    found = {test: value for test, value in vars(module).items() if test.startswith("test_")}
    for test in without:
        del found[test]
    return found


@pytest.fixture(params=["directory", "server"])
def reduct(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Where the clients of such a test go, as its `url`."""
    if request.param == "server":
        return request.getfixturevalue("reduct")
    return types.SimpleNamespace(url=str(tmp_path / "data"))
