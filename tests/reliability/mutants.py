"""R9: seeded bugs. Each is applied from outside (the product knows nothing of them) and must be found by its harness.

python -m tests.reliability.mutants [--only NAME]
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

from lamina import errors
from lamina.catalog.delta import EncodedDelta
from lamina.engine.clockguard import ClockGuard
from lamina.engine.leases import Leases
from lamina.engine.replay import Replay
from lamina.engine.seal import Sealer
from lamina.storage import blocks, logfile
from lamina.storage.files import Files
from lamina.storage.groupwriter import GroupWriter
from lamina.storage.logfile import FRAME_HEADER, FRAME_MAGIC, FRAME_OVERHEAD, Frame, Framing
from lamina.streams.state import FIRST_VERSION
from tests.reliability import bitflip, crashstates, faults, kill9, losses, pointmutants, recordmutants
from tests.reliability.report import Report

STATES = 1500
"""Crash states after which a mutant counts as alive."""


class Altered:
    """Files of which some calls are left out or done otherwise."""

    def __init__(self, inner: Files, **instead: Callable[..., Any]) -> None:
        self._inner = inner
        self._instead = instead

    def __getattr__(self, name: str) -> Any:
        if name in self._instead:
            return lambda *args: self._instead[name](self._inner, *args)
        return getattr(self._inner, name)


class AlteredFile:
    def __init__(self, inner: Any, sync: Callable[[Any], None]) -> None:
        self._inner = inner
        self._sync = sync

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def sync(self) -> None:
        self._sync(self._inner)


def _no_sync(prefix: str, suffix: str = "") -> Callable[[Files], Any]:
    def opened(inner: Files, path: str, mode: Any) -> Any:
        file = inner.open(path, mode)
        left_out = path.startswith(prefix) and path.endswith(suffix)
        return AlteredFile(file, lambda _: None) if left_out else file

    return lambda files: Altered(files, open=opened)


def _copying(files: Files) -> Any:
    """Publish by copying over the target, as a peer does."""

    def rename(inner: Files, source: str, target: str) -> None:
        old = inner.open(source, "read")
        if any(f"{_parent(target)}{info.name}" == target for info in inner.list(_parent(target).rstrip("/"))):
            inner.unlink(target)
        new = inner.open(target, "create")
        new.write_at(0, [old.read_at(0, old.size())])
        new.sync()
        new.close()
        old.close()
        inner.unlink(source)

    return Altered(files, rename=rename)


def _parent(path: str) -> str:
    return path[: path.rfind("/") + 1]


def _retrying(files: Files) -> Any:
    def sync(inner: Any) -> None:
        try:
            inner.sync()
        except OSError:
            inner.sync()

    return Altered(files, open=lambda inner, path, mode: AlteredFile(inner.open(path, mode), sync))


def _same(files: Files) -> Any:
    return files


# -- patches of the product, for the time of a run


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def _ack_before_sync() -> Iterator[None]:
    """The sync of a group happens when the next one is written."""
    write = GroupWriter._write

    def late(self: Any, file: Any, group: Any, ops: Any) -> None:
        if self._sync_each and file is not None:
            file.writable(0).sync()
        self._sync_each, kept = False, self._sync_each
        try:
            write(self, file, group, ops)
        finally:
            self._sync_each = kept
        if kept:
            self.durable_seq = group.last_seq

    with mock.patch.object(GroupWriter, "_write", late):
        yield


@contextmanager
def _ack_before_write() -> Iterator[None]:
    """A group is published first and written with the next: what a killed process takes along."""
    run = GroupWriter.run
    held: dict[int, Any] = {}

    def late(self: Any, group: Any) -> None:
        append = self.folder.append
        pending = held.pop(id(self), None)
        if pending is not None:
            append(*pending)
        with mock.patch.object(type(self.folder), "append", lambda _, *frame: held.__setitem__(id(self), frame)):
            run(self, group)

    with mock.patch.object(GroupWriter, "run", late):
        yield


@contextmanager
def _trim_before_commit() -> Iterator[None]:
    commit = Sealer._commit

    def early(self: Any, *args: Any) -> None:
        self._log.rotate()
        self._log.trim(self._log.published_seq)
        commit(self, *args)

    with mock.patch.object(Sealer, "_commit", early):
        yield


@contextmanager
def _no_body_crc() -> Iterator[None]:
    def check(self: Any, data: bytes, offset: int) -> Frame | None:
        if offset + FRAME_OVERHEAD > len(data) or data[offset : offset + 4] != FRAME_MAGIC:
            return None
        _, _, type, _, length, _ = logfile._CHECKED_HEAD.unpack_from(data, offset)
        seed = logfile.crc32c(logfile._U64.pack(self._base + offset), self._seed)
        if logfile.crc32c(data[offset : offset + 12], seed) != logfile._U32.unpack_from(data, offset + 12)[0]:
            return None
        if offset + FRAME_HEADER + length + 8 > len(data):
            return None
        frame = Frame._make((offset, type, length, *logfile._REST.unpack_from(data, offset + 16)))
        # A flipped high bit would have recovery write down 2**60 lost seqs one frame at a time.
        return frame if max(frame.next_seq, frame.durable_seq) < 1 << 32 else None

    with mock.patch.object(Framing, "check", check):
        yield


@contextmanager
def _length_before_crc() -> Iterator[None]:
    """The walk believes the length of a frame that does not verify, and steps over what follows."""

    def walk(self: Any, data: bytes) -> Iterator[Frame]:
        offset = logfile.HEADER_BYTES
        while offset + FRAME_OVERHEAD <= len(data):
            frame = self.check(data, offset)
            if frame is not None:
                yield frame
                offset = frame.end
            else:
                offset += FRAME_OVERHEAD + int.from_bytes(data[offset + 8 : offset + 12], "little")

    with mock.patch.object(Framing, "walk", walk):
        yield


@contextmanager
def _replay_all() -> Iterator[None]:
    """Replay does not ask which versions the tree has already."""
    apply = Replay._grouped

    def grouped(self: Any, entries: Any, words: Any) -> None:
        for stream in np.unique(entries.stream).tolist():
            state = self._states.get(stream)
            if state is not None:
                low = int(entries.version[entries.stream == stream].min())
                if low <= state.version:
                    self._states[stream] = state._replace(version=max(low - 1, FIRST_VERSION))
        apply(self, entries, words)

    with mock.patch.object(Replay, "_grouped", grouped):
        yield


@contextmanager
def _no_block_crc() -> Iterator[None]:
    reader = blocks.BlockReader
    read = reader._read

    def blind(self: Any, places: Any) -> Any:
        return [_Trusted(data) for data in read(self, places)]

    with mock.patch.object(reader, "_read", blind), mock.patch.object(blocks, "crc32c", _Any):
        yield


class _Trusted(bytes):
    pass


class _Any:
    """A checksum that is always right."""

    def __init__(self, *_: Any) -> None:
        pass

    def __ne__(self, other: object) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]

    def __format__(self, spec: str) -> str:
        return "0"


@contextmanager
def _no_epoch() -> Iterator[None]:
    with (
        mock.patch.object(EncodedDelta, "expect_epoch", return_value=None),
        mock.patch.object(EncodedDelta, "expect_versions", return_value=None),
    ):
        yield


@contextmanager
def _no_lease() -> Iterator[None]:
    with mock.patch.object(Leases, "take", return_value=0), mock.patch.object(Leases, "give_back"):
        yield


@contextmanager
def _age_alone() -> Iterator[None]:
    with mock.patch.object(ClockGuard, "trusted", return_value=True):
        yield


# -- who has to find it


class Mutant(NamedTuple):
    name: str
    find: Callable[[Report, Mutant], None]
    wrap: Callable[[Files], Any] = _same
    patch: Callable[[], Any] = _nothing
    durable_catalog: bool = True


def _by_states(*names: str, steps: int = crashstates.STEPS) -> Callable[[Report, Mutant], None]:
    def find(report: Report, mutant: Mutant) -> None:
        crashstates.run(
            report,
            STATES,
            7,
            list(names),
            steps=steps,
            wrap=mutant.wrap,
            durable_catalog=mutant.durable_catalog,
            nested=0,
            stop_at=1,
        )

    return find


def _by_faults(*names: str) -> Callable[[Report, Mutant], None]:
    def find(report: Report, mutant: Mutant) -> None:
        faults.run(report, names, 30, 1, mutant.wrap, stop_at=1)

    return find


def _by_flips(kind: str) -> Callable[[Report, Mutant], None]:
    return lambda report, _: bitflip.run(report, kind, 400, 1, stop_at=1)


def _by_kills(report: Report, _: Mutant) -> None:
    kill9.run_embedded(report, 60, 1, stop_at=1)


def _by_syscalls(*names: str) -> Callable[[Report, Mutant], None]:
    def find(report: Report, mutant: Mutant) -> None:
        with mock.patch.dict(os.environ, LAMINA_MUTANT="catalog-normal"):
            crashstates.run_strace(report, 200 * len(names), 7, list(names), stop_at=1)

    return find


def _by_case(name: str) -> Callable[[Report, Mutant], None]:
    def find(report: Report, _: Mutant) -> None:
        losses.run(report, name, 1)

    return find


MUTANTS = (
    Mutant("no-journal-fsync", _by_states("singles"), _no_sync("log/", ".log")),
    Mutant("no-segment-fsync", _by_states("compaction", "edits"), _no_sync("tmp/streams")),
    Mutant(
        "no-dir-fsync", _by_states("rotation", "compaction"), lambda files: Altered(files, sync_folder=lambda *_: None)
    ),
    Mutant("catalog-normal-trim", _by_states("rotation", "compaction", "metadata"), durable_catalog=False),
    Mutant("catalog-normal-sqlite", _by_syscalls("rotation", "compaction", "metadata")),
    Mutant("trim-before-commit", _by_states("rotation", "edits"), patch=_trim_before_commit),
    Mutant("ack-before-sync", _by_states("singles", "many"), patch=_ack_before_sync),
    Mutant("ack-before-write", _by_kills, patch=_ack_before_write),
    Mutant("no-body-crc", _by_flips("log"), patch=_no_body_crc),
    Mutant("length-before-crc", _by_flips("log"), patch=_length_before_crc),
    Mutant("retry-fsync", _by_faults("sync-loses-pages"), _retrying),
    Mutant("copy-instead-of-rename", _by_states("singles", "metadata", steps=6), _copying),
    Mutant("replay-without-applied-version", _by_states("singles", "many"), patch=_replay_all),
    Mutant("no-block-crc", _by_flips("segment"), patch=_no_block_crc),
    Mutant("commit-without-epoch", _by_case("second-writer"), patch=_no_epoch),
    Mutant("reader-without-pin", _by_case("reader-across-compaction"), patch=_no_lease),
    Mutant("delete-by-age-only", _by_case("clock-jump"), patch=_age_alone),
    Mutant("payload-not-synced-before-op", _by_states("records"), patch=lambda: recordmutants.syncs_left_out(False)),
    Mutant(
        "seal-commits-before-payload-sync",
        _by_states("records", "rings"),
        patch=lambda: recordmutants.syncs_left_out(True),
    ),
    Mutant("evict-not-logged", _by_states("rings"), patch=recordmutants.evict_not_logged),
    Mutant("label-update-loses-replacement", _by_states("records"), patch=recordmutants.lost_replacement),
    Mutant("trim-ignores-records", _by_states("mixed"), patch=recordmutants.trim_ignores_records),
    Mutant("no-content-crc", _by_flips("payload"), patch=recordmutants.no_content_crc),
    Mutant("no-array-crc", _by_case("payload-exchanged"), patch=recordmutants.no_array_crc),
    Mutant("punch-alive", _by_states("rings", "rings-of-small"), patch=recordmutants.punch_alive),
    Mutant("eviction-not-described", _by_case("evicted-then-rebuilt"), patch=recordmutants.forgotten_directory),
    Mutant("points-segment-not-synced", _by_states("points"), _no_sync("tmp/points")),
    Mutant("trim-ignores-points", _by_states("mixed-points"), patch=pointmutants.trim_ignores_points),
    Mutant("point-deaths-not-sealed", _by_states("points"), patch=pointmutants.deaths_forgotten_at_seal),
    Mutant("point-deaths-not-replayed", _by_states("points"), patch=pointmutants.deaths_forgotten_at_replay),
    Mutant("ordinals-given-again", _by_states("points"), patch=pointmutants.ordinals_given_again),
)


NEEDS_STRACE = {"catalog-normal-sqlite"}
BY_NAME = {mutant.name: mutant for mutant in MUTANTS if mutant.name not in NEEDS_STRACE or shutil.which("strace")}
"""Those that can be tried here."""


def hunt(mutant: Mutant) -> Report:
    """What its harness finds with the mutant in place; no violation means that it survived."""
    report = Report(f"mutant {mutant.name}", 7)
    with mutant.patch(), mock.patch.object(Report, "write"):
        try:
            mutant.find(report, mutant)
        except errors.LaminaError as error:  # not even a run without a crash gets through
            report.cases += 1
            report.violations.append(f"the workload itself fails: {error!r}")
    return report


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests.reliability.mutants")
    parser.add_argument("--only", choices=[*BY_NAME])
    options = parser.parse_args(arguments)
    report = Report("mutants", 7)
    for mutant in [BY_NAME[options.only]] if options.only else BY_NAME.values():
        found = hunt(mutant)
        report.cases += 1
        print(f"  {mutant.name}: {'found' if found.violations else 'ALIVE'} after {found.cases} cases")
        for violation in found.violations[:1]:
            print(f"    {violation[:200]}")
        if not found.violations:
            report.violations.append(f"{mutant.name} survived")
    report.extra["killed"] = report.cases - len(report.violations)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
