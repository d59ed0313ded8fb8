"""A server as version 4 has a database: the gRPC service of that version, which has no Arrow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from lamina.btrdb import answers
from lamina.btrdb.remote import RemotePoints, usage_of
from lamina.btrdb4.backend import Conditions, Texts
from lamina.columns import Summaries, Times, Values
from lamina.faces.btrdb import wire
from lamina.faces.btrdb.generated import lamina_wire_v4_pb2 as pb4
from lamina.faces.btrdb.generated import lamina_wire_v5_pb2 as pb
from lamina.faces.btrdb.service.metadata_4 import Description


class Remote4(RemotePoints):
    """See `backend.Backend4`."""

    service = "grpcinterface.BTrDB"

    def _windows(
        self, method: str, kind: Any, uuid: bytes, start: int, end: int, version: int, **more: int
    ) -> Iterator[tuple[int, Summaries]]:
        asked = {"uuid": uuid, "start": start, "end": end, "versionMajor": version} | more
        return answers.windows_4(self._messages(method, kind, **asked))

    def insert(self, uuid: bytes, parts: Iterable[tuple[Times, Values]], policy: str) -> int:
        if policy == "never":
            return super().insert(uuid, parts, policy)
        # version 4 has no merge policies: this is version 5's insert, which such servers offer at the same port
        head = self._request(pb.InsertParams, uuid=uuid, merge_policy=self._policy(policy))
        requests = (wire.encode_inserted(head, times, values) for times, values in parts)
        return self._one_by_one("/v5api.BTrDB/Insert", requests)

    def server_info(self) -> Any:
        return pb.InfoResponse.FromString(self._read("Info", pb.InfoParams))

    def create(self, uuid: bytes, collection: str, tags: Texts, annotations: Texts) -> None:
        pairs = [[pb4.KeyValue(key=key, value=value) for key, value in each.items()] for each in (tags, annotations)]
        asked = {"uuid": uuid, "collection": collection, "tags": pairs[0], "annotations": pairs[1]}
        self._write("Create", pb4.CreateParams, **asked)

    def stream_info(self, uuid: bytes, omit_version: bool, omit_description: bool) -> tuple[int, Description | None]:
        asked = {"uuid": uuid, "omitVersion": omit_version, "omitDescriptor": omit_description}
        answer = pb4.StreamInfoResponse.FromString(self._read("StreamInfo", pb.StreamInfoParams, **asked))
        return answer.versionMajor, None if omit_description else _description(answer.descriptor)

    def set_annotations(self, uuid: bytes, expected: int, changes: Conditions) -> None:
        asked = {"uuid": uuid, "expectedAnnotationVersion": expected, "annotations": _optional(changes)}
        self._write("SetStreamAnnotations", pb4.SetStreamAnnotationsParams, **asked)

    def lookup(
        self, collection: str, prefix: bool, tags: Conditions, annotations: Conditions
    ) -> Iterator[Sequence[Description]]:
        asked = {"collection": collection, "isCollectionPrefix": prefix, "tags": _optional(tags)}
        asked["annotations"] = _optional(annotations)
        for message in self._messages("LookupStreams", pb4.LookupStreamsParams, **asked):
            yield [_description(found) for found in pb4.LookupStreamsResponse.FromString(message).results]

    def collections(self, prefix: str, start_with: str, limit: int) -> Sequence[str]:
        asked = {"prefix": prefix, "startWith": start_with, "limit": limit}
        data = self._read("ListCollections", pb4.ListCollectionsParams, **asked)
        return list(pb.ListCollectionsResponse.FromString(data).collections)

    def usage(self, prefix: str) -> tuple[dict[str, int], dict[str, int]]:
        return usage_of(self._read("GetMetadataUsage", pb.MetadataUsageParams, prefix=prefix))


def _optional(values: Conditions) -> list[pb4.KeyOptValue]:
    return [
        pb4.KeyOptValue(key=key, val=None if value is None else pb4.OptValue(value=value))
        for key, value in values.items()
    ]


def _description(found: pb4.StreamDescriptor) -> Description:
    tags = {tag.key: tag.value for tag in found.tags}
    annotations = {note.key: note.value for note in found.annotations}
    return Description(found.uuid, found.collection, tags, annotations, found.annotationVersion)
