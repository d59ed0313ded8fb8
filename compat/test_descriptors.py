"""Our messages against those of the clients, field by field: number, type, repeated or not."""

import json
import subprocess

import pytest
from google.protobuf.descriptor import FieldDescriptor

from lamina.faces.btrdb import v4, v5
from lamina.faces.btrdb.generated import lamina_wire_v4_pb2 as pb4
from lamina.faces.btrdb.generated import lamina_wire_v5_pb2 as pb5

pytestmark = pytest.mark.wire

MERGED = {  # several messages of the client are one here, because their bytes are the same
    "AlignedWindowsResponse": "WindowsResponse",
    "ArrowRawValuesResponse": "ArrowResponse",
    "ArrowAlignedWindowsResponse": "ArrowResponse",
    "ArrowWindowsResponse": "ArrowResponse",
    "InsertResponse": "VersionResponse",
    "DeleteResponse": "VersionResponse",
    "FlushResponse": "VersionResponse",
    "CreateResponse": "StatusResponse",
    "ObliterateResponse": "StatusResponse",
    "SetStreamTagsResponse": "StatusResponse",
    "SetStreamAnnotationsResponse": "StatusResponse",
    "SetCompactionConfigResponse": "StatusResponse",
}
UNUSED = {"KeyValue", "FaultInjectParams", "FaultInjectResponse"}  # not read, not written
SAME_WIRE = {FieldDescriptor.TYPE_ENUM: FieldDescriptor.TYPE_INT32}


def shape(descriptor):
    """{field number: (type, repeated)}"""
    return {field.number: (SAME_WIRE.get(field.type, field.type), field.is_repeated) for field in descriptor.fields}


def test_messages_of_the_version_5_client_have_our_shapes():
    from btrdb.grpcinterface import btrdb_pb2

    ours = pb5.DESCRIPTOR.message_types_by_name
    for name, theirs in btrdb_pb2.DESCRIPTOR.message_types_by_name.items():
        if name not in UNUSED:
            assert shape(ours[MERGED.get(name, name)]) == shape(theirs), name


def test_methods_of_the_version_5_client_are_served():
    from btrdb.grpcinterface import btrdb_pb2

    methods = btrdb_pb2.DESCRIPTOR.services_by_name["BTrDB"].methods
    assert len(methods) == 26
    served = dict.fromkeys(v5.UNARY, False) | dict.fromkeys(v5.STREAMING, True) | {"Subscribe": True}
    assert {method.name: method.server_streaming for method in methods}.items() <= served.items()
    assert set(served) - {m.name for m in methods} == {"MultiRawValues", "SetCompactionConfig", "GetCompactionConfig"}


DUMP = """
import json
from btrdb4 import btrdb_pb2
file = btrdb_pb2.DESCRIPTOR
print(json.dumps({
    "messages": {
        name: {
            f.number: [5 if f.type == 14 else f.type, f.is_repeated if hasattr(f, "is_repeated") else f.label == 3]
            for f in message.fields
        }
        for name, message in file.message_types_by_name.items()
    },
    "methods": [m.name for m in file.services_by_name["BTrDB"].methods],
}))
"""


def test_messages_and_methods_of_the_version_4_client_are_ours(btrdb4):
    done = subprocess.run([*btrdb4, "-c", DUMP], capture_output=True, text=True, timeout=60, check=True)
    theirs = json.loads(done.stdout)
    ours = dict(pb5.DESCRIPTOR.message_types_by_name) | dict(pb4.DESCRIPTOR.message_types_by_name)
    for name, fields in theirs["messages"].items():
        if name in UNUSED - {"KeyValue"}:
            continue
        mine = shape(ours[MERGED.get(name, name)])
        for number, (kind, repeated) in fields.items():
            if int(number) == 1 and int(number) not in mine:
                continue  # stat, which errors.py writes
            assert mine[int(number)] == (kind, repeated), (name, number)
    assert len(theirs["methods"]) == 18
    assert set(theirs["methods"]) == {*v4.UNARY, *v4.STREAMING}  # which of them stream, test_btrdb4.py shows
