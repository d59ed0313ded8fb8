"""Keys and permissions on the wire."""

import warnings
from typing import NamedTuple
from uuid import uuid4

import btrdb
import grpc
import pytest
from btrdb.exceptions import BTrDBError

import lamina
from lamina.errors import PermissionDenied
from lamina.faces.btrdb import v4, v5
from lamina.faces.btrdb.server import build_server

pytestmark = pytest.mark.wire


class Reader(NamedTuple):
    """May read `open/...` and write `open/mine...`."""

    full_access: bool = False

    def may_read_stream(self, collection):
        return collection.startswith("open/")

    def may_write_stream(self, collection):
        return collection.startswith("open/mine")


class Keys:
    def authenticate(self, value):
        scheme, _, key = (value or "").partition(" ")
        if scheme.lower() != "bearer" or key not in ("full", "limited"):
            raise PermissionDenied("unknown token")
        return Reader(full_access=key == "full") if key == "limited" else _Full()


class _Full:
    full_access = True

    def may_read_stream(self, collection):
        return True

    may_write_stream = may_read_stream


@pytest.fixture(scope="module")
def guarded():
    with lamina.open(":memory:") as db:
        for collection in ("open/theirs", "open/mine", "closed"):
            db.streams.create(collection, "x", annotations={"in": collection}).insert([1, 2], [1.0, 2.0])
        server = build_server(db, Keys())
        port = server.add_port("127.0.0.1", 0)
        server.start()
        yield f"127.0.0.1:{port}"
        server.stop(0).wait(10)


def connect(address, key):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return btrdb.connect(address, apikey=key)


@pytest.fixture(scope="module")
def full(guarded):
    return connect(guarded, "full")


@pytest.fixture(scope="module")
def limited(guarded):
    return connect(guarded, "limited")


@pytest.mark.parametrize("key", [None, "wrong"])
def test_wrong_key_fails_to_connect_with_the_text_clients_know(guarded, key):
    with pytest.raises(BTrDBError, match="Could not connect") as failed:
        connect(guarded, key)
    assert "StatusCode.UNAUTHENTICATED" in str(failed.value)
    assert 'details = "invalid api key"' in str(failed.value)


def test_wrong_key_is_refused_on_every_method(guarded):
    with grpc.insecure_channel(guarded) as channel:
        for module in (v5, v4):
            for name in [*module.UNARY, *module.STREAMING]:
                path = f"/{module.SERVICE}/{name}"
                answer = channel.unary_stream(path)(b"", metadata=[("authorization", "Bearer no")], timeout=20)
                with pytest.raises(grpc.RpcError) as refused:
                    next(answer)
                assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED, name
                assert refused.value.details() == "invalid api key"
        with pytest.raises(grpc.RpcError) as refused:
            next(channel.stream_stream("/v5api.BTrDB/Subscribe")(iter([b""]), timeout=20))
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_scheme_of_the_key_is_not_case_sensitive(guarded):
    with grpc.insecure_channel(guarded) as channel:
        for scheme in ("bearer", "BEARER"):
            assert channel.unary_unary("/v5api.BTrDB/Info")(
                b"", metadata=[("authorization", f"{scheme} full")], timeout=20
            )


def test_unknown_methods_are_unimplemented(guarded):
    with grpc.insecure_channel(guarded) as channel, pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary("/v5api.BTrDB/NoSuch")(b"", timeout=20)
    assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED


def denied(do, *args, **options):
    with pytest.raises(grpc.RpcError) as refused:
        do(*args, **options)
    assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED, refused.value


def test_listings_and_sql_show_only_what_may_be_read(full, limited):
    assert limited.list_collections() == ["open/mine", "open/theirs"]
    assert full.list_collections() == ["closed", "open/mine", "open/theirs"]
    assert len(limited.streams_in_collection()) == 2
    assert limited.query("select count(*) from streams") == [{"count": 2}]
    assert full.query("select count(*) from streams") == [{"count": 3}]
    assert limited.collection_metadata("")[1] == {"in": 2}


def test_reading_needs_the_right_to_read(full, limited):
    (closed,) = full.streams_in_collection("closed")
    hidden = limited.stream_from_uuid(closed.uuid)
    denied(hidden.values, 0, 10)
    denied(hidden.arrow_values, 0, 10)
    denied(hidden.version)
    denied(hidden.refresh_metadata)
    denied(lambda: list(limited.ep.arrowMultiValues([closed.uuid], 0, 10, [0], 0)))
    (theirs,) = limited.streams_in_collection("open/theirs")
    assert len(theirs.values(0, 10)) == 2


def test_writing_needs_the_right_to_write(full, limited):
    (theirs,) = limited.streams_in_collection("open/theirs")
    (mine,) = limited.streams_in_collection("open/mine")
    denied(theirs.insert, [(5, 5.0)])
    denied(theirs.delete, 0, 1)
    denied(theirs.flush)
    denied(theirs.update, tags={"unit": "V"})
    denied(theirs.update, annotations={"a": "b"})
    denied(mine.update, collection="open/theirs")  # where it may not write
    denied(limited.create, uuid4(), "open/other", tags={"name": "y"})
    assert mine.insert([(5, 5.0)]) > 11
    assert mine.update(annotations={"a": "b"}) == 2
    assert limited.create(uuid4(), "open/mine/new", tags={"name": "y"}).exists()


def test_obliterate_needs_full_access(full, limited):
    stream = limited.create(uuid4(), "open/mine/gone", tags={"name": "z"})
    denied(stream.obliterate)
    full.stream_from_uuid(stream.uuid).obliterate()
    assert not full.stream_from_uuid(stream.uuid).exists()
