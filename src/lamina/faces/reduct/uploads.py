"""Contents on their way in: a request's body, cut into records and handed to the engine as it arrives.

What can be refused is refused before the body is read (contract 1.7). No content is collected but those that go inline
into the log, 64 KiB each at most; longer ones reach the disk in parts of about 1 MiB.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any, NamedTuple

from lamina.engine.records.batch import Batch
from lamina.engine.records.write import Write, finish_all
from lamina.errors import InvalidArgument, LaminaError, NotFound
from lamina.faces.reduct.body import ENDED, TOO_LONG, TOO_SHORT, Body, Wanting
from lamina.faces.reduct.errors import Refused
from lamina.faces.reduct.wanted import Run

if TYPE_CHECKING:
    from lamina.engine.records.bucket import Bucket
    from lamina.engine.records.entry import Entry
    from lamina.faces.reduct.call import Call
    from lamina.faces.reduct.commits import Done
    from lamina.faces.reduct.records import Described
    from lamina.records.labels import LabelSet

COMMIT_BYTES = 8 << 20
"""Inline contents of one batch that wait for its end in memory; a larger batch is committed in pieces."""


async def make_entry(call: Call, bucket: Bucket, name: str) -> Entry:
    """An entry that was missing. Raises InvalidArgument (name), Unavailable."""
    return (await call.run(bucket.ensure_entries, [name]))[0]


async def store_one(
    call: Call, bucket: Bucket, name: str, time_us: int, size: int, content_type: str, labels: LabelSet
) -> None:
    """Receive and keep one record; durable and readable when this returns.

    Raises what opening a write raises, Refused (a body of another length), ClientGone: nothing is kept then."""
    entry = bucket.find_entry(name)
    if entry is None:
        entry = await make_entry(call, bucket, name)
    write = bucket.try_open_write(entry, time_us, size, labels, content_type)
    if write is None:
        write = await call.run(bucket.open_write, entry, time_us, size, labels, content_type)
    try:
        if write.inline:
            message = await call.receive()
            content: bytes = message.get("body", b"")
            if len(content) != size or message["type"] != "http.request" or message.get("more_body", False):
                content = await _whole(call, message, size)
            write.set_content(content)
        else:
            body = Body(call, TOO_SHORT)
            await body.pour([(write, size)], last=True)
            await body.finish()
        await call.face.commits.add(bucket, [write])
    except BaseException:
        await _abort(call, [write])
        raise
    if call.face.observer is not None:
        call.face.observer.wrote(bucket.name, name, 1, size)


def take_one(
    call: Call, bucket: Bucket, name: str, time_us: int, described: Described, body: bytes, done: Done
) -> bool:
    """`store_one` of a content that is there already; False, and nothing is kept: something must be waited for, or the
    body has another length."""
    size, content_type, labels = described
    entry = bucket.find_entry(name)
    if entry is None or size != len(body):
        return False
    write = bucket.try_open_write(entry, time_us, size, labels, content_type)
    if write is None:
        return False
    if not write.inline:
        write.abort()
        return False
    write.set_content(body)
    _commit(call, bucket, write, name, 1, size, done)
    return True


def take_run(call: Call, bucket: Bucket, run: Run, body: bytes, done: Done) -> bool:
    """`store_batch` of contents that are there already, all of which can be kept. False as `take_one`."""
    entry = bucket.find_entry(run.entry)
    if entry is None or not len(run.times) > 1 or run.size != len(body) or len(body) > COMMIT_BYTES:
        return False
    batch = bucket.try_open_batch(entry, run.times, run.kinds, run.chosen)
    if batch is None:
        return False
    batch.set_content(body)
    _commit(call, bucket, batch, run.entry, len(run.times), len(body), done)
    return True


def _commit(call: Call, bucket: Bucket, write: Write | Batch, entry: str, records: int, size: int, done: Done) -> None:
    def committed(error: BaseException | None) -> None:
        if error is None and call.face.observer is not None:
            call.face.observer.wrote(bucket.name, entry, records, size)
        done(error)

    call.face.commits.call(bucket, write, committed)


async def _whole(call: Call, message: Mapping[str, Any], size: int) -> bytes:
    """A body of so many bytes that did not come with its first message. Raises Refused, ClientGone."""
    parts: list[bytes] = [message.get("body", b"")]
    length = len(parts[0])
    if message["type"] != "http.request" or message.get("more_body", False):
        async for chunk in call.chunks():
            length += len(chunk)
            if length > size:
                break
            parts.append(chunk)
    if length != size:
        raise Refused(400, TOO_SHORT if length < size else TOO_LONG)
    return b"".join(parts)


class _Part(NamedTuple):
    """What is claimed and received together: records of a run that are a batch, or one record."""

    run: Run
    records: int
    size: int  # bytes of its contents
    found: Batch | Write | LaminaError  # why there is none

    @property
    def error(self) -> LaminaError | None:
        return self.found if isinstance(self.found, LaminaError) else None


async def store_batch(call: Call, bucket: Bucket | None, runs: Sequence[Run]) -> list[LaminaError | None]:
    """Receive and keep records whose contents follow one another in this order; per record None or why it is not kept.

    `bucket` None: it does not exist, so nothing is kept. Raises Refused where the body ends early or goes on,
    ClientGone; records that are not committed by then are not kept."""
    parts: list[_Part] = []
    try:
        if bucket is None:
            missing = NotFound(f"Bucket '{call.values[0]}' is not found")
            parts += [_Part(run, len(run.times), run.size, missing) for run in runs]
        else:
            await _open_all(call, bucket, runs, parts)
        await _receive_all(call, bucket, parts)
    except BaseException:
        await _abort(call, [part.found for part in parts if not isinstance(part.found, LaminaError)])
        raise
    observer = call.face.observer
    if observer is not None and bucket is not None:
        for _, mine in groupby(parts, lambda part: id(part.run)):
            kept = [part for part in mine if part.error is None]
            if kept:
                name = kept[0].run.entry
                observer.wrote(bucket.name, name, sum(part.records for part in kept), sum(part.size for part in kept))
    return [error for part in parts for error in [part.error] * part.records]


async def _find_entries(call: Call, bucket: Bucket, names: Iterable[str]) -> dict[str, Entry | LaminaError]:
    """Entries by name, missing ones made, or why one cannot be."""
    found: dict[str, Entry | LaminaError] = {}
    missing: list[str] = []
    for name in names:
        entry = bucket.find_entry(name)
        if entry is None:
            missing.append(name)
        else:
            found[name] = entry
    if len(missing) > 1:
        with contextlib.suppress(InvalidArgument):  # of one of the names: which one shows below
            made = await call.run(bucket.ensure_entries, missing)  # one change of the catalog for all of them
            return found | dict(zip(missing, made, strict=True))
    for name in missing:
        try:
            found[name] = await make_entry(call, bucket, name)
        except LaminaError as error:
            found[name] = error
    return found


async def _open_all(call: Call, bucket: Bucket, runs: Sequence[Run], parts: list[_Part]) -> None:
    """Append to `parts` what is opened of the runs or why it is not; what is in there when this raises is claimed."""
    entries = await _find_entries(call, bucket, {run.entry: None for run in runs})
    for number, run in enumerate(runs):
        found = entries[run.entry]
        if isinstance(found, LaminaError):
            parts.append(_Part(run, len(run.times), run.size, found))
            continue
        size = run.size
        batch = None
        if len(run.times) > 1 and size <= COMMIT_BYTES:
            batch = bucket.try_open_batch(found, run.times, run.kinds, run.chosen)
        if batch is not None:
            parts.append(_Part(run, len(run.times), size, batch))
            continue
        for at, (time_us, kind) in enumerate(run.records()):
            try:
                write = bucket.try_open_write(found, time_us, kind.size, kind.labels, kind.content_type)
            except LaminaError as error:
                parts.append(_Part(run, 1, kind.size, error))
                continue
            if write is None:  # it would wait: the rest may, too, and goes to a thread in one piece
                rest = [(run, at), *((later, 0) for later in runs[number + 1 :])]
                await call.run(_open_rest, bucket, rest, entries, parts)
                return
            parts.append(_Part(run, 1, kind.size, write))


def _open_rest(
    bucket: Bucket, rest: Sequence[tuple[Run, int]], entries: dict[str, Entry | LaminaError], parts: list[_Part]
) -> None:
    """`rest`: runs, and from which record on."""
    for run, start in rest:
        entry = entries[run.entry]
        for time_us, kind in islice(run.records(), start, None):
            found: Write | LaminaError
            try:
                if isinstance(entry, LaminaError):
                    raise entry
                found = bucket.open_write(entry, time_us, kind.size, kind.labels, kind.content_type)
            except LaminaError as error:
                found = error
            parts.append(_Part(run, 1, kind.size, found))


def _is_poured(found: Batch | Write | LaminaError) -> bool:
    """Whether a content may pass by in one go with long ones: it is one itself, or nobody's."""
    return isinstance(found, LaminaError) or (not isinstance(found, Batch) and not found.inline)


async def _receive_all(call: Call, bucket: Bucket | None, parts: Sequence[_Part]) -> None:
    """Take each content in turn, skip those without a write, and commit."""
    body = Body(call, ENDED)
    complete: list[Batch | Write] = []  # in the order of the batch, which decides about blocks and so about sizes
    large: list[Write] = []  # those of them that are to be made durable first
    inline_bytes = 0
    at = 0
    while at < len(parts):
        _, _, size, found = parts[at]
        at += 1
        if isinstance(found, LaminaError):
            await body.skip(size)
        elif isinstance(found, Batch) or found.inline:
            content = body.at_hand(size)
            found.set_content(await body.take(size) if content is None else content)
            complete.append(found)
            inline_bytes += size
            if inline_bytes >= COMMIT_BYTES and bucket is not None:
                if large:
                    await call.run(finish_all, large)
                await call.face.commits.add(bucket, complete)
                complete, large, inline_bytes = [], [], 0
        else:
            together: list[Wanting] = [(found, size)]
            while at < len(parts) and _is_poured(following := parts[at].found):
                together.append((following if isinstance(following, Write) else None, parts[at].size))
                at += 1
            await body.pour(together, last=False)
            poured = [write for write, _ in together if write is not None]
            complete += poured
            large += poured
    await body.finish()
    if large:
        await call.run(finish_all, large)
    if complete and bucket is not None:
        await call.face.commits.add(bucket, complete)


async def _abort(call: Call, writes: Sequence[Write | Batch]) -> None:
    """Nothing of these remains; those that are committed stay."""
    if all(isinstance(write, Batch) or write.inline for write in writes):
        for write in writes:
            write.abort()
    else:
        await _settle(call.run(_abort_all, writes))


def _abort_all(writes: Sequence[Write | Batch]) -> None:
    for write in writes:
        write.abort()


async def _settle(work: Awaitable[None]) -> None:
    """Wait for the end of what runs on another thread; what it raises comes after the error that is being told."""
    with contextlib.suppress(Exception):
        await work
