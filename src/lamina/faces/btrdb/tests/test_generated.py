"""The committed message classes are those of the .proto files beside them."""

from pathlib import Path

import pytest

from lamina.faces.btrdb.generated import lamina_wire_v4_pb2, lamina_wire_v5_pb2

PROTO = Path(lamina_wire_v5_pb2.__file__).parents[1] / "proto"


@pytest.mark.parametrize("module", [lamina_wire_v4_pb2, lamina_wire_v5_pb2])
def test_generated_code_is_current(module, tmp_path):
    protoc = pytest.importorskip("grpc_tools.protoc")
    from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

    compiled = tmp_path / "set.binpb"
    arguments = ["protoc", f"-I{PROTO}", f"--descriptor_set_out={compiled}", module.DESCRIPTOR.name]
    assert protoc.main(arguments) == 0
    (fresh,) = FileDescriptorSet.FromString(compiled.read_bytes()).file
    for field in (field for message in fresh.message_type for field in message.field):
        field.ClearField("json_name")  # which generated code leaves out
    # Descriptors rather than texts: another version of grpcio-tools writes other Python for the same messages.
    assert FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb) == fresh


@pytest.mark.parametrize("module", [lamina_wire_v4_pb2, lamina_wire_v5_pb2])
def test_names_stay_out_of_the_clients_way(module):
    assert module.DESCRIPTOR.package.startswith("lamina.wire.")
    assert module.DESCRIPTOR.name.startswith("lamina_wire_")
