"""One input through one target, measured; and many of them."""

from __future__ import annotations

import base64
import hashlib
import re
import time
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.fuzz.mutation import mutated
from tests.fuzz.targets import TARGETS, Target

CORPUS = Path(__file__).parent / "corpus"

RUN_S = 1.0
MEMORY_FACTOR, MEMORY_BASE = 64, 64 << 20
"""What one input may take: processor time, and bytes at the peak."""

KEPT, KEPT_BYTES = 80, 600
"""Inputs of a corpus, and bytes of one: replayed in every run of the tests."""

POOL = 400
"""Inputs that answered in a new way and are changed further."""


class Failure(NamedTuple):
    target: str
    data: bytes
    what: str

    @property
    def name(self) -> str:
        return hashlib.sha256(self.data).hexdigest()[:16]


class Outcome(NamedTuple):
    failure: str | None
    shape: str  # what was answered, without the numbers in it


_VARYING = re.compile(r"'[^']*'|\"[^\"]*\"|\d+|\[.*\]")


def attempt(target: Target, data: bytes) -> Outcome:
    """Tracing of memory must be on."""
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    began = time.process_time()
    failure = None
    try:
        shape = f"taken: {_VARYING.sub('#', str(target.run(data)))[:200]}"
    except target.refusals as error:
        shape = f"{type(error).__name__} {_VARYING.sub('#', str(error))[:80]}"
    except Exception as error:
        shape = failure = f"{type(error).__name__}: {error}"[:300]
    took = time.process_time() - began
    grown = tracemalloc.get_traced_memory()[1] - before
    if failure is None and took > RUN_S:
        failure = f"took {took:.2f} s of processor time"
    if failure is None and grown > MEMORY_FACTOR * len(data) + MEMORY_BASE:
        failure = f"took {grown} bytes for an input of {len(data)}"
    return Outcome(failure, shape)


def corpus(name: str) -> list[bytes]:
    """Seeds, and what was found before: a line each, in base64."""
    path = CORPUS / f"{name}.txt"
    kept = path.read_text().split() if path.exists() else []
    return [*TARGETS[name].seeds(), b"", *map(base64.b64decode, kept)]


def keep(name: str, found: Iterable[bytes]) -> None:
    """Make the shortest of these the corpus of a target, beside its seeds."""
    chosen = sorted((data for data in found if 0 < len(data) <= KEPT_BYTES), key=lambda data: (len(data), data))
    CORPUS.mkdir(exist_ok=True)
    lines = (base64.b64encode(data).decode() for data in chosen[:KEPT])
    (CORPUS / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))


def replay(name: str, inputs: Iterable[bytes]) -> Iterator[Failure]:
    target = TARGETS[name]
    for data in inputs:
        outcome = attempt(target, data)
        if outcome.failure is not None:
            yield Failure(name, data, outcome.failure)


class Campaign:
    """Changes inputs of one target; those whose answer has a new shape are changed further."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.cases = 0
        self._target = TARGETS[name]
        self._random = Random(f"{name} {seed}")
        self._pool = corpus(name)
        self._shapes: set[str] = set()

    @property
    def shapes(self) -> int:
        """Ways in which the target has answered."""
        return len(self._shapes)

    def step(self) -> Failure | None:
        """One more input."""
        self.cases += 1
        data = mutated(self._random, self._pool, self._target.words)
        outcome = attempt(self._target, data)
        if outcome.failure is not None:
            return Failure(self.name, data, outcome.failure)
        if outcome.shape not in self._shapes and len(self._pool) < POOL:
            self._shapes.add(outcome.shape)
            self._pool.append(data)
        return None
