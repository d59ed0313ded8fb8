"""The stub of `lamina.aio`, made of the native API's signatures:

python -m tests.native.aiostub        # writes src/lamina/aio/__init__.pyi; a test compares it
"""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
import textwrap
from pathlib import Path

from lamina import aio
from lamina.aio.twin import AT_ONCE, RENAMED, TWINS, gives, members

STUB = Path(aio.__file__).with_suffix(".pyi")

HEAD = '''"""Signatures of `lamina.aio`; made by `python -m tests.native.aiostub`, never by hand."""

import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn
from uuid import UUID

import pandas
import polars
import pyarrow

from lamina.catalog.rows import PinRow, StreamRow
from lamina.columns import Ranges, Samples, Summaries
from lamina.engine.points.incoming import Given
from lamina.engine.points.pointset import OrderBy, PointSet
from lamina.engine.records.arguments import NewRecord
from lamina.engine.records.recordbatch import RecordBatch
from lamina.engine.records.settings import BucketInfo, BucketSettings, EntryInfo
from lamina.errors import LaminaError
from lamina.points.batch import Grouped
from lamina.points.point import Point
from lamina.points.queries import Query
from lamina.points.windowtable import WindowTable
from lamina.records.labels import LabelSet
from lamina.settings import Durability, Settings
from lamina.storage.files import Buffer
from lamina.storage.log import Damage
from lamina.streams.policy import Policy
from lamina.time import TimeLike, WidthLike

async def open(
    path: str | os.PathLike[str],
    *,
    durability: Durability | None = None,
    settings: Settings | None = None,
    create: bool = True,
) -> Database: ...
async def connect(
    url: str, token: str | None = None, *, timeout_s: float = 120.0, verify: bool | str | ssl.SSLContext = True
) -> Database: ...
'''

ATTRIBUTES = {
    "Database": {
        "path": "str",
        "id": "bytes",
        "streams": "Streams",
        "buckets": "Buckets",
        "measurements": "Measurements",
    },
    "Stream": {"uuid": "UUID", "id": "int"},
    "StreamView": {"version": "int"},
    "Snapshot": {"seq": "int", "name": "str | None"},
    "Bucket": {"id": "int", "name": "str", "created_us": "int"},
    "Entry": {"bucket": "Bucket", "name": "str"},
    "Record": {"entry": "str", "time_us": "int", "size": "int", "labels": "LabelSet", "content_type": "str"},
    "Measurement": {"name": "str"},
    "MeasurementView": {"name": "str"},
    "BucketView": {"name": "str"},
    "EntryView": {"name": "str"},
}
"""What is there from the beginning."""

ELEMENTS = {"Measurements": "str"}

CONSTANTS = {"MIN_TIME": "-1152921504606846976", "LAST_TIME + 1": "3458764513820540927", "LATEST": "0",
             "BATCH_BYTES": "524288", "CONTENT_TYPE": "'application/octet-stream'"}  # fmt: skip


def stub() -> str:
    return HEAD + "".join(f"\n{_class(name)}" for name in TWINS)


def _class(name: str) -> str:
    lines = [f"class {name}:"]
    lines += [f"    {attribute}: {kind}" for attribute, kind in ATTRIBUTES.get(name, {}).items()]
    for member, found in members(TWINS[name].of).items():
        lines += _member(member, found)
    if "__enter__" in vars(TWINS[name].of):
        lines += [
            f"    async def __aenter__(self) -> {name}: ...",
            "    async def __aexit__(self, *_: object) -> None: ...",
        ]
    if name == "Subscription":
        lines += ["    def __aiter__(self) -> AsyncIterator[tuple[UUID, Samples]]: ..."]
    if name == "Selection":
        lines += ["    def __aiter__(self) -> AsyncIterator[Record]: ..."]
    if "__iter__" in vars(TWINS[name].of):
        lines += [f"    def __aiter__(self) -> AsyncIterator[{ELEMENTS.get(name, name.removesuffix('s'))}]: ..."]
    return "\n".join(lines) + "\n"


def _member(name: str, member: object) -> list[str]:
    if name.startswith("_") and name not in (*RENAMED, "__getitem__"):
        return []
    if isinstance(member, property):
        kind = gives(member.fget)
        return ["    @property", f"    def {name}(self) -> {kind if name in AT_ONCE else f'Awaitable[{kind}]'}: ..."]
    if not inspect.isfunction(member):
        return []
    kind = gives(member)
    parameters = _parameters(member)
    if name in AT_ONCE or kind == "Selection":
        return [f"    def {name}({parameters}) -> {kind}: ..."]
    if kind.startswith("Iterator["):
        return [f"    def {name}({parameters}) -> Async{kind}: ..."]
    return [f"    async def {RENAMED.get(name, name)}({parameters}) -> {kind}: ..."]


def _parameters(function: object) -> str:
    """As they are written, with the values of constants; contents may come from an asynchronous iterator, too."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body  # type: ignore[arg-type]
    text = ast.unparse(definition.args)  # type: ignore[attr-defined]
    for name, value in CONSTANTS.items():
        text = re.sub(rf"={re.escape(name)}(?=,|$)", f"={value}", text)
    return text.replace("data: Buffer | Iterable[Buffer]", "data: Buffer | Iterable[Buffer] | AsyncIterator[Buffer]")


if __name__ == "__main__":
    STUB.write_text(stub())
    subprocess.run([sys.executable, "-m", "ruff", "format", "-q", str(STUB)], check=True)
