"""btrdb 4.11.2 (module btrdb4) from the package index, in an environment of its own, against our server."""

import ast
import json
import subprocess
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from lamina.faces.btrdb.generated import lamina_wire_v4_pb2 as pb4
from lamina.faces.btrdb.generated import lamina_wire_v5_pb2 as pb

pytestmark = pytest.mark.wire

PROGRAM = Path(__file__).parent / "programs" / "btrdb4_session.py"
CHECKS = next(
    [name.id for name in node.value.elts]
    for node in ast.parse(PROGRAM.read_text()).body
    if isinstance(node, ast.Assign) and node.targets[0].id == "CHECKS"
)


@pytest.fixture(scope="module")
def results(btrdb4, address):
    done = subprocess.run([*btrdb4, str(PROGRAM), address], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("check", CHECKS)
def test_session_of_the_version_4_client(results, check):
    assert results[check] is None, results[check]


# What the two versions see of each other's streams


def info(call, uuid: UUID) -> pb4.StreamDescriptor:
    answer = call("/grpcinterface.BTrDB/StreamInfo", pb.StreamInfoParams(uuid=uuid.bytes).SerializeToString())
    return pb4.StreamInfoResponse.FromString(answer).descriptor


def test_version_4_hides_empty_tags_of_version_5(conn, call, collection):
    stream = conn.create(uuid4(), collection, tags={"name": "x", "unit": ""})
    assert [(tag.key, tag.value) for tag in info(call, stream.uuid).tags] == [("name", b"x")]


def test_version_5_shows_free_tags_of_version_4(conn, call, collection):
    uu = uuid4()
    tags = [pb4.KeyValue(key="name", value=b"x"), pb4.KeyValue(key="phase", value=b"a")]
    request = pb4.CreateParams(uuid=uu.bytes, collection=collection, tags=tags)
    assert call("/grpcinterface.BTrDB/Create", request.SerializeToString()) == b""
    expected = {"name": "x", "unit": "", "ingress": "", "distiller": "", "phase": "a"}
    assert conn.stream_from_uuid(uu).tags() == expected


def test_version_4_insert_knows_no_policy(conn, call, stream):
    points = [pb.RawPoint(time=5, value=1.0)] * 2
    request = pb.InsertParams(uuid=stream.uuid.bytes, values=points, merge_policy=pb.REPLACE)
    call("/grpcinterface.BTrDB/Insert", request.SerializeToString())
    assert len(stream.values(0, 10)) == 2


def test_version_4_obliterates(conn, call, stream):
    request = pb.ObliterateParams(uuid=stream.uuid.bytes).SerializeToString()
    assert call("/grpcinterface.BTrDB/Obliterate", request) == b""
    assert not conn.stream_from_uuid(stream.uuid).exists()
