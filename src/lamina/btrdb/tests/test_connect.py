"""Where `connect` goes: addresses, paths, the environment, profiles; and who shares a directory."""

from __future__ import annotations

import os
import subprocess
import sys
from uuid import uuid4

import grpc
import pytest
import trustme

import lamina
from lamina import btrdb
from lamina.btrdb.exceptions import ConnectionError, CredentialsFileNotFound, ProfileNotFound
from lamina.btrdb.utils import credentials
from lamina.faces.btrdb.server import Tls, build_server


@pytest.fixture(autouse=True)
def nothing_given(monkeypatch, tmp_path):
    for name in ("BTRDB_ENDPOINTS", "BTRDB_API_KEY", "BTRDB_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(credentials, "CREDENTIALS_PATH", str(tmp_path / "none.yaml"))
    monkeypatch.chdir(tmp_path)


def test_a_path_is_a_directory_in_this_process(tmp_path):
    with btrdb.connect("./data") as conn:
        uuid = conn.create(uuid4(), "a/b", {"name": "x"}).uuid
        assert os.path.isdir(tmp_path / "data")
    for target in (str(tmp_path / "data"), tmp_path / "data", "data"):  # the last, because it exists
        with btrdb.connect(target) as conn:
            assert conn.streams("a/b/x")[0].uuid == uuid
    with lamina.open("data", create=False) as db:  # it was released
        assert len(db.streams) == 1


def test_two_connections_share_a_directory(tmp_path):
    first, second = btrdb.connect("./data"), btrdb.connect(tmp_path / "data")
    stream = first.create(uuid4(), "a/b", {"name": "x"})
    stream.insert([(1, 1.0)])
    first.close()
    assert second.stream_from_uuid(stream.uuid).count() == 1
    second.close()
    lamina.open("data").close()


def test_a_lost_connection_releases_the_directory(tmp_path):
    btrdb.connect("./data").create(uuid4(), "a/b", {"name": "x"})
    lamina.open("data").close()


@pytest.mark.parametrize(
    "target",
    ["data", "localhost", "localhost:", ":4410", "a:b:c", "localhost:port", "", "http://127.0.0.1:8383", "http:/x",
     "HTTPS://host", "grpc://localhost:4410", "localhost:4410/"],
)  # fmt: skip
def test_what_is_neither_address_nor_path_is_refused(target):
    with pytest.raises((ValueError, ConnectionError)):
        btrdb.connect(target)
    assert os.listdir(".") == []


def test_nothing_says_where():
    with pytest.raises(ConnectionError, match="Could not determine credentials"):
        btrdb.connect()


def test_both_ways_of_saying_where():
    with pytest.raises(ValueError, match="both conn_str and profile"):
        btrdb.connect("./data", profile="x")


def test_the_environment_says_where(monkeypatch, address):
    for target in ("./data", address):
        monkeypatch.setenv("BTRDB_ENDPOINTS", target)
        monkeypatch.setenv("BTRDB_API_KEY", "ignored where nobody asks for a key")
        with btrdb.connect() as conn:
            assert conn.info()["majorVersion"] == 5


def test_a_profile_says_where(monkeypatch, tmp_path):
    path = tmp_path / "credentials.yaml"
    path.write_text("default:\n  btrdb: {endpoints: ./one}\nother:\n  btrdb: {endpoints: ./two, api_key: k}\n")
    monkeypatch.setattr(credentials, "CREDENTIALS_PATH", str(path))
    assert credentials.credentials_by_profile("other") == {"endpoints": "./two", "apikey": "k"}
    for arguments, folder in (({}, "one"), ({"profile": "other"}, "two")):
        with btrdb.connect(**arguments) as conn:
            assert conn.list_collections() == []
        assert os.path.isdir(tmp_path / folder)
    monkeypatch.setenv("BTRDB_ENDPOINTS", "./three")
    btrdb.connect().close()
    assert os.path.isdir(tmp_path / "three")
    with pytest.raises(ProfileNotFound, match="nobody"):
        btrdb.connect(profile="nobody")


def test_a_profile_without_a_file():
    with pytest.raises(CredentialsFileNotFound):
        btrdb.connect(profile="x")


def test_tls_on_its_port_by_the_given_certificates(monkeypatch, tmp_path, db):
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    chain = b"".join(part.bytes() for part in certificate.cert_chain_pems)
    server = build_server(db)
    port = server.add_port("127.0.0.1", 0, Tls(chain, certificate.private_key_pem.bytes()))
    server.start()
    secure = grpc.secure_channel
    monkeypatch.setattr(
        grpc, "secure_channel", lambda target, *a, **o: secure(target.replace("4411", str(port)), *a, **o)
    )
    try:
        with pytest.raises(ConnectionError):
            btrdb.connect("localhost:4411")
        monkeypatch.setenv("BTRDB_CA_BUNDLE", str(tmp_path / "ca.pem"))
        with btrdb.connect("localhost:4411", apikey="ignored") as conn:
            assert conn.info()["majorVersion"] == 5
        monkeypatch.setenv("BTRDB_CA_BUNDLE", str(tmp_path / "none.pem"))
        with pytest.raises(OSError, match=r"BTRDB_CA_BUNDLE=.*none\.pem cannot be read"):
            btrdb.connect("localhost:4411")
    finally:
        server.stop(0).wait(10)


def test_a_directory_that_another_process_holds(tmp_path):
    holder = f"import lamina, sys; db = lamina.open({str(tmp_path / 'data')!r}); print('open', flush=True); input()"
    process = subprocess.Popen([sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"open\n"
        with pytest.raises(ConnectionError, match=f"held by.*{process.pid}"):
            btrdb.connect("./data")
    finally:
        process.communicate(b"\n", timeout=20)
    btrdb.connect("./data").close()


def test_a_directory_of_something_else_is_refused(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("not yours")
    with pytest.raises(ConnectionError, match=r"letter\.txt"):
        btrdb.connect("./mine")


def test_a_shareable_connection_needs_ray():
    with pytest.raises(ModuleNotFoundError, match="pip install ray"), pytest.warns(UserWarning, match="insecure"):
        btrdb.connect("./data", shareable=True)
