"""A server as the place where the data is: gRPC, Arrow wherever the server has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from importlib.util import find_spec
from typing import Any
from uuid import UUID

import numpy as np

from lamina.btrdb import answers
from lamina.btrdb.backend import INSERT_BATCH_SIZE, Conditions, Errors, Info, Texts
from lamina.btrdb.channel import Channel
from lamina.columns import Ranges, Samples, Summaries, Times, Values
from lamina.faces.btrdb import wire
from lamina.faces.btrdb.generated import lamina_wire_v5_pb2 as pb
from lamina.faces.btrdb.service import writes
from lamina.faces.btrdb.service.codes import WRONG_ARGS, Refused
from lamina.faces.btrdb.service.csv import Query
from lamina.faces.btrdb.service.metadata import Description

_OUTSIDE = {
    "start": 413, "end": 413, "time": 413, "startTime": 413, "endTime": 413,
    "pointWidth": 415, "width": 415, "depth": 415, "resolution": 415, "windowSize": 415,
    "versionMajor": 450, "toMajor": 450, "fromMajor": 427, "expectedPropertyVersion": 423,
}  # fmt: skip
"""Status codes of numbers that their fields on the wire cannot even hold; a database in the process refuses them so."""

_CALLS = 16
"""Calls that a client makes at a time: a server works on eight, the others are on their way."""


class RemotePoints:
    """What both generations have. Thread-safe."""

    parallel = _CALLS
    service = "v5api.BTrDB"

    def __init__(self, channel: Channel, refuse: Errors) -> None:
        self.channel = channel
        self._refuse = refuse

    # -- calls ----------------------------------------------------------------------------------------------------

    def _request(self, kind: Any, **fields: Any) -> bytes:
        try:
            return bytes(kind(**fields).SerializeToString())
        except (ValueError, TypeError) as error:
            raise self._misfit(kind, fields, error) from None

    def _misfit(self, kind: Any, fields: Mapping[str, Any], error: Exception) -> Exception:
        """For a value that its field cannot hold."""
        for name, value in fields.items():
            try:
                kind(**{name: value})
            except (ValueError, TypeError):
                code = _OUTSIDE.get(name, WRONG_ARGS) if isinstance(value, int | list | tuple) else WRONG_ARGS
                return self._refuse.refused(code, f"{name} {value!r}: {error}")
        return self._refuse.refused(WRONG_ARGS, str(error))

    def _read(self, method: str, kind: Any, **fields: Any) -> bytes:
        """The answer to a call that changes nothing, and may therefore be made again."""
        return self.channel.unary(self._path(method), self._request(kind, **fields), self._refuse, again=True)

    def _write(self, method: str, kind: Any, **fields: Any) -> bytes:
        return self.channel.unary(self._path(method), self._request(kind, **fields), self._refuse)

    def _messages(self, method: str, kind: Any, **fields: Any) -> Iterator[bytes]:
        yield from self.channel.stream(self._path(method), self._request(kind, **fields), self._refuse)

    def _path(self, method: str) -> str:
        return f"/{self.service}/{method}"

    # -- points ---------------------------------------------------------------------------------------------------

    def raw_values(self, uuid: bytes, start: int, end: int, version: int) -> Iterator[tuple[int, Samples]]:
        asked = {"uuid": uuid, "start": start, "end": end, "versionMajor": version}
        return answers.raw_values(self._messages("RawValues", pb.RawValuesParams, **asked))

    def aligned_windows(
        self, uuid: bytes, start: int, end: int, pointwidth: int, version: int
    ) -> Iterator[tuple[int, Summaries]]:
        return self._windows(
            "AlignedWindows", pb.AlignedWindowsParams, uuid, start, end, version, pointWidth=int(pointwidth)
        )

    def windows(
        self, uuid: bytes, start: int, end: int, width: int, depth: int, version: int
    ) -> Iterator[tuple[int, Summaries]]:
        return self._windows("Windows", pb.WindowsParams, uuid, start, end, version, width=width, depth=depth)

    def _windows(
        self, method: str, kind: Any, uuid: bytes, start: int, end: int, version: int, **more: int
    ) -> Iterator[tuple[int, Summaries]]:
        asked = {"uuid": uuid, "start": start, "end": end, "versionMajor": version} | more
        return answers.windows(self._messages(method, kind, **asked))

    def nearest(self, uuid: bytes, time: int, version: int, backward: bool) -> tuple[int, float, int]:
        data = self._read(
            "Nearest", pb.NearestParams, uuid=uuid, time=time, versionMajor=version, backward=bool(backward)
        )
        found = pb.NearestResponse.FromString(data)
        return found.value.time, found.value.value, found.versionMajor

    def changes(self, uuid: bytes, from_version: int, to_version: int, resolution: int) -> Iterator[tuple[int, Ranges]]:
        asked = {"uuid": uuid, "fromMajor": from_version, "toMajor": to_version, "resolution": resolution}
        return answers.changes(self._messages("Changes", pb.ChangesParams, **asked))

    def insert(self, uuid: bytes, parts: Iterable[tuple[Times, Values]], policy: str) -> int:
        head = self._request(pb.InsertParams, uuid=uuid, merge_policy=self._policy(policy))
        requests = (wire.encode_inserted(head, times, values) for times, values in parts)
        return self._one_by_one(self._path("Insert"), requests)

    def _one_by_one(self, path: str, requests: Iterable[bytes]) -> int:
        """The last version. A request is made while the one before is on its way, and sent when that is answered."""
        version, answer = 0, None
        try:
            for request in requests:
                if answer is not None:
                    waited, answer = answer, None
                    version = answers.version_of(waited())
                answer = self.channel.begin(path, request, self._refuse)
        finally:
            if answer is not None:
                version = answers.version_of(answer())
        return version

    def _policy(self, policy: str) -> int:
        try:
            return writes.POLICIES.index(writes.named(policy))
        except Refused as error:
            raise self._refuse.refused(error.code, str(error)) from None

    def delete(self, uuid: bytes, start: int, end: int) -> int:
        return answers.version_of(self._write("Delete", pb.DeleteParams, uuid=uuid, start=start, end=end))

    def flush(self, uuid: bytes) -> None:
        self._write("Flush", pb.FlushParams, uuid=uuid)

    def obliterate(self, uuid: bytes) -> None:
        self._write("Obliterate", pb.ObliterateParams, uuid=uuid)

    def csv(self, query: Query) -> Iterator[Sequence[str]]:
        streams = [
            pb.StreamCSVConfig(version=column.version, label=column.label, uuid=column.uuid) for column in query.columns
        ]
        asked = {
            "queryType": query.kind,
            "startTime": query.start,
            "endTime": query.end,
            "windowSize": query.width,
            "depth": query.depth,
            "includeVersions": query.include_versions,
            "streams": streams,
        }
        for message in self._messages("GenerateCSV", pb.GenerateCSVParams, **asked):
            yield pb.GenerateCSVResponse.FromString(message).row

    def fault_inject(self, kind: int, params: bytes) -> bytes:
        request = b"\x08" + wire.varint(kind) + wire.length_delimited(2, len(params)) + params
        answer = self.channel.unary(self._path("FaultInject"), request, self._refuse)
        return answer[wire.read_varint(answer, 1)[1] :] if answer else b""  # one field of bytes

    def info(self) -> Info:
        answer = pb.InfoResponse.FromString(self._read("Info", pb.InfoParams))
        return Info(answer.majorVersion, answer.minorVersion, answer.build, list(answer.proxy.proxyEndpoints))

    def close(self) -> None:
        self.channel.close()


class Remote(RemotePoints):
    """A database as version 5 has it."""

    @cached_property
    def _arrow(self) -> bool:
        """Whether points travel as Arrow: the server must have it, and we must be able to read it."""
        if find_spec("pyarrow") is None:
            return False
        info = self.info()
        return info.major >= 5 and info.minor >= 30

    def raw_values(self, uuid: bytes, start: int, end: int, version: int) -> Iterator[tuple[int, Samples]]:
        if not self._arrow:
            yield from super().raw_values(uuid, start, end, version)
            return
        asked = {"uuid": uuid, "start": start, "end": end, "versionMajor": version}
        messages = self._messages("ArrowRawValues", pb.ArrowRawValuesParams, **asked)
        for at, columns in answers.arrow_columns(messages, wire.PAYLOAD, ("i8", "f8")):
            yield at, Samples(*columns)

    def _windows(
        self, method: str, kind: Any, uuid: bytes, start: int, end: int, version: int, **more: int
    ) -> Iterator[tuple[int, Summaries]]:
        if not self._arrow:
            yield from super()._windows(method, kind, uuid, start, end, version, **more)
            return
        asked = {"uuid": uuid, "start": start, "end": end, "versionMajor": version} | more
        messages = self._messages("Arrow" + method, kind, **asked)
        for at, columns in answers.arrow_columns(messages, wire.PAYLOAD, ("i8", "f8", "f8", "f8", "u8", "f8")):
            yield at, Summaries(*columns)

    def multi_values(
        self, uuids: Sequence[bytes], versions: Sequence[int], start: int, end: int, period: int
    ) -> Iterator[tuple[Times, Values]]:
        asked = {"uuid": uuids, "versionMajor": versions, "start": start, "end": end, "snapPeriodNs": period}
        messages = self._messages("ArrowMultiValues", pb.ArrowMultiValuesParams, **asked)
        for _, columns in answers.arrow_columns(messages, 2, ("i8", "f8")):
            yield columns[0], np.stack(columns[1:]) if len(columns) > 1 else np.empty((0, len(columns[0])))

    def insert(self, uuid: bytes, parts: Iterable[tuple[Times, Values]], policy: str) -> int:
        if not self._arrow:
            return super().insert(uuid, parts, policy)
        from lamina.faces.btrdb.service import tables

        head = self._request(pb.ArrowInsertParams, uuid=uuid, merge_policy=self._policy(policy))

        def request(part: tuple[Times, Values]) -> bytes:
            whole = len(part[0]) == INSERT_BATCH_SIZE
            stream = tables.ipc_parts(tables.POINTS, part) if whole else [tables.ipc_stream(tables.POINTS, part)]
            return b"".join((head, wire.length_delimited(5, sum(map(len, stream))), *stream))

        return self._one_by_one(self._path("ArrowInsert"), map(request, parts))

    # -- metadata -------------------------------------------------------------------------------------------------

    def create(self, uuid: bytes, collection: str, tags: Texts, annotations: Texts) -> None:
        asked = {"uuid": uuid, "collection": collection, "tags": self._pairs(tags)}
        self._write("Create", pb.CreateParams, annotations=self._pairs(annotations), **asked)

    def stream_info(self, uuid: bytes, omit_version: bool, omit_description: bool) -> tuple[int, Description | None]:
        asked = {"uuid": uuid, "omitVersion": omit_version, "omitDescriptor": omit_description}
        answer = pb.StreamInfoResponse.FromString(self._read("StreamInfo", pb.StreamInfoParams, **asked))
        return answer.versionMajor, None if omit_description else _description(answer.descriptor)

    def set_tags(self, uuid: bytes, expected: int, changes: Conditions, collection: str) -> None:
        asked = {"uuid": uuid, "expectedPropertyVersion": expected, "tags": self._pairs(changes)}
        self._write("SetStreamTags", pb.SetStreamTagsParams, collection=collection, **asked)

    def set_annotations(self, uuid: bytes, expected: int, changes: Conditions, remove: Sequence[str]) -> None:
        asked = {"uuid": uuid, "expectedPropertyVersion": expected, "changes": self._pairs(changes)}
        self._write("SetStreamAnnotations", pb.SetStreamAnnotationsParams, removals=list(remove), **asked)

    def lookup(
        self, collection: str, prefix: bool, tags: Conditions, annotations: Conditions
    ) -> Iterator[Sequence[Description]]:
        asked = {"collection": collection, "isCollectionPrefix": prefix, "tags": self._pairs(tags)}
        asked["annotations"] = self._pairs(annotations)
        for message in self._messages("LookupStreams", pb.LookupStreamsParams, **asked):
            yield [_description(found) for found in pb.LookupStreamsResponse.FromString(message).results]

    def collections(self, prefix: str) -> Iterator[Sequence[str]]:
        for message in self._messages("ListCollections", pb.ListCollectionsParams, prefix=prefix):
            yield list(pb.ListCollectionsResponse.FromString(message).collections)

    def usage(self, prefix: str) -> tuple[dict[str, int], dict[str, int]]:
        data = self._read("GetMetadataUsage", pb.MetadataUsageParams, prefix=prefix)
        return usage_of(data)

    def sql(self, statement: str, params: Sequence[str]) -> Iterator[Sequence[bytes]]:
        asked = {"query": statement, "params": list(params)}
        for message in self._messages("SQLQuery", pb.SQLQueryParams, **asked):
            yield list(pb.SQLQueryResponse.FromString(message).SQLQueryRow)

    def subscribe(self, updates: Iterator[tuple[Sequence[UUID], Sequence[UUID]]]) -> Iterator[tuple[UUID, Samples]]:
        def requests() -> Iterator[bytes]:
            for add, remove in updates:
                for op, uuids in enumerate((add, remove)):
                    if uuids:
                        yield self._request(pb.SubscriptionUpdate, op=op, uuid=[uuid.bytes for uuid in uuids])

        messages = self.channel.both_ways(self._path("Subscribe"), requests(), self._refuse)
        for message in messages:
            answer = pb.SubscriptionResp.FromString(message)
            stream = wire.length_delimited(wire.PAYLOAD, len(answer.arrowBytes)) + answer.arrowBytes
            ((_, columns),) = answers.arrow_columns(iter((stream,)), wire.PAYLOAD, ("i8", "f8"))
            yield UUID(bytes=answer.uuid), Samples(*columns)

    def _pairs(self, texts: Conditions) -> list[pb.KeyOptValue]:
        pair: Callable[..., Any] = pb.KeyOptValue
        try:
            return [
                pair(key=key, val=None if value is None else pb.OptValue(value=value)) for key, value in texts.items()
            ]
        except (TypeError, ValueError) as error:
            raise self._refuse.refused(WRONG_ARGS, f"{texts!r}: {error}") from None


def _description(found: pb.StreamDescriptor) -> Description:
    tags = {tag.key: tag.val.value for tag in found.tags}
    annotations = {note.key: note.val.value for note in found.annotations}
    return Description(found.uuid, found.collection, tags, annotations, found.propertyVersion)


def usage_of(data: bytes) -> tuple[dict[str, int], dict[str, int]]:
    """Counts of tag keys and of annotation keys."""
    answer = pb.MetadataUsageResponse.FromString(data)
    tags = {tag.key: tag.count for tag in answer.tags}
    return tags, {note.key: note.count for note in answer.annotations}
