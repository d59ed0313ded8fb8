"""Every block of docs/tinyflux.md runs, in a folder of its own."""

import os
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import lamina.tinyflux as package

PAGE = Path(__file__).parents[4] / "docs" / "tinyflux.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
T0 = datetime(2024, 3, 30, 22, tzinfo=UTC)


def filled(path: str = "filled.csv", **kwargs: Any) -> package.TinyFlux:
    db = package.TinyFlux(**kwargs) if "storage" in kwargs else package.TinyFlux(path, **kwargs)
    for i, tag in enumerate("xyz"):
        db.insert(package.Point(time=T0 + timedelta(hours=i), tags={"k": tag}, fields={"a": i + 1}))
    return db


def test_the_page_shows_every_defect() -> None:
    shown = set(re.findall(r"\*\*D(\d+)\*\*", PAGE.read_text()))
    assert shown == {str(n) for n in range(1, 39)}


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.strip().splitlines()[-1][:60])
def test_block(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {name: getattr(package, name) for name in package.__all__}
    names.update(T0=T0, datetime=datetime, filled=filled, os=os, pytest=pytest, timedelta=timedelta, timezone=timezone)
    names["TornRowWarning"] = __import__("lamina.tinyflux.rows", fromlist=["TornRowWarning"]).TornRowWarning
    exec(compile(block, str(PAGE), "exec"), names)
