"""A server from its start to its end."""

import asyncio
import json
import os
import resource
import signal
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import trustme
import uvicorn

import lamina
from lamina.access import Permissions, Tokens
from lamina.errors import InvalidArgument, Locked, Unavailable
from lamina.server import serve as serve_module
from lamina.server.limits import HttpLimits
from lamina.server.serve import Addresses
from lamina.server.tests import running


def get(address, path, token=None, context=None):
    """(status, body)"""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    scheme = "http" if context is None else "https"
    request = urllib.request.Request(f"{scheme}://{address}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=running.LONG_S, context=context) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def info(address, token=None):
    """The v5 Info call, bare."""
    import grpc

    metadata = [] if token is None else [("authorization", f"Bearer {token}")]
    with grpc.insecure_channel(address) as channel:
        return channel.unary_unary("/v5api.BTrDB/Info")(b"", metadata=metadata, timeout=running.LONG_S)


def test_both_faces_answer_when_it_says_ready_and_it_ends_with_0():
    with running.server(running.config()) as server:
        assert get(server.addresses.http, "/alive") == (200, b"")
        assert get(server.addresses.http, "/ready") == (200, b"")
        assert b"lamina_streams 0.0" in get(server.addresses.http, "/metrics")[1]
        assert info(server.addresses.grpc)
    assert server.exit_code == 0
    for address in server.addresses[:2]:
        host, port = address.split(":")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)), timeout=running.LONG_S)


def test_the_ready_line_is_exact():
    assert Addresses("127.0.0.1:1", "127.0.0.1:2", "").ready_line() == "ready http=127.0.0.1:1 grpc=127.0.0.1:2"
    line = Addresses("[::1]:1", "[::1]:2", "[::1]:3").ready_line()
    assert line == "ready http=[::1]:1 grpc=[::1]:2 grpcs=[::1]:3"


def test_a_poisoned_database_ends_with_1_and_is_not_ready(monkeypatch):
    opened = []

    def open_database(*arguments, **settings):
        opened.append(lamina_open(*arguments, **settings))
        return opened[0]

    lamina_open = lamina.open
    monkeypatch.setattr(lamina, "open", open_database)
    with running.server(running.config()) as server:
        opened[0]._fail(OSError(5, "Input/output error"))
        status, body = get(server.addresses.http, "/ready")
        assert (status, "EIO" in json.loads(body)["detail"]) == (503, True)
        assert get(server.addresses.http, "/alive")[0] == 200
    assert server.exit_code == 1


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_other_addresses_than_loopback_need_a_token(host):
    with pytest.raises(InvalidArgument) as caught, running.server(running.config(host=host)):
        pass
    assert all(
        word in str(caught.value) for word in (host, "--api-token", "RS_API_TOKEN", "--no-auth", "--full-access")
    )


@pytest.mark.parametrize("settings", [{"no_auth": True}, {"api_token": "chosen"}])
def test_a_token_or_saying_so_allows_other_addresses(settings):
    with running.server(running.config(host="0.0.0.0", **settings)) as server:
        assert server.addresses.http.startswith("0.0.0.0:")
        port = server.addresses.http.split(":")[1]
        assert get(f"127.0.0.1:{port}", "/alive")[0] == 200


def test_a_stored_token_is_as_good_as_a_configured_one(tmp_path):
    with lamina.open(tmp_path) as db:
        value = Tokens(db).create("reader", Permissions(read=("$streams",)))
    with running.server(running.config(tmp_path, host="0.0.0.0")) as server:
        address = server.addresses.http.replace("0.0.0.0", "127.0.0.1")
        assert get(address, "/metrics")[0] == 401
        assert get(address, "/metrics", value)[0] == 200


@pytest.mark.parametrize(
    ("settings", "said"), [({}, True), ({"api_token": "chosen"}, False), ({"no_auth": True}, False)]
)
def test_tokens_that_nobody_gave_now_are_announced(tmp_path, caplog, settings, said):
    with lamina.open(tmp_path) as db:
        Tokens(db).create("reader", Permissions(read=("$streams",)))
    with caplog.at_level("INFO", "lamina.server"), running.server(running.config(tmp_path, **settings)):
        pass
    assert ("tokens are required (1 in this directory)" in caplog.text) == said


def test_one_token_list_serves_both_faces():
    import grpc

    with running.server(running.config(api_token="chosen")) as server:
        assert get(server.addresses.http, "/metrics")[0] == 401
        assert get(server.addresses.http, "/metrics", "wrong")[0] == 401
        assert get(server.addresses.http, "/metrics", "chosen")[0] == 200
        assert info(server.addresses.grpc, "chosen")
        for token in (None, "wrong"):
            with pytest.raises(grpc.RpcError) as caught:
                info(server.addresses.grpc, token)
            assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("which", ["http_port", "grpc_port"])
def test_a_taken_port_is_named(which):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable) as caught, running.server(running.config(**{which: port})):
            pass
    assert f"127.0.0.1:{port}" in str(caught.value)
    assert "--" + which.replace("_", "-") in str(caught.value)


def test_two_servers_do_not_share_a_port():
    with running.server(running.config()) as server:
        port = int(server.addresses.grpc.split(":")[1])
        with pytest.raises(Unavailable), running.server(running.config(grpc_port=port)):
            pass


def test_a_failed_start_leaves_the_directory_free(tmp_path):
    with pytest.raises(InvalidArgument), running.server(running.config(tmp_path, host="0.0.0.0")):
        pass
    lamina.open(tmp_path).close()


def test_a_directory_in_use_is_refused(tmp_path):
    with lamina.open(tmp_path), pytest.raises(Locked), running.server(running.config(tmp_path)):
        pass


def test_a_directory_in_use_is_said_before_its_ports_are(tmp_path):
    with running.server(running.config(tmp_path)) as server:
        http, grpc = (int(address.split(":")[1]) for address in server.addresses[:2])
        second = running.config(tmp_path, http_port=http, grpc_port=grpc)
        with pytest.raises(Locked, match=str(os.getpid())), running.server(second):
            pass


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    paths = [str(folder / name) for name in ("ca.pem", "cert.pem", "key.pem")]
    authority.cert_pem.write_to_path(paths[0])
    Path(paths[1]).write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(paths[2])
    return paths


def test_a_certificate_gives_https_and_a_third_port_with_tls(certificate):
    import grpc

    ca, cert, key = certificate
    with running.server(running.config(cert=cert, cert_key=key)) as server:
        context = ssl.create_default_context(cafile=ca)
        assert get(server.addresses.http, "/ready", context=context)[0] == 200
        credentials = grpc.ssl_channel_credentials(Path(ca).read_bytes())
        with grpc.secure_channel(server.addresses.grpcs, credentials) as channel:
            assert channel.unary_unary("/v5api.BTrDB/Info")(b"", timeout=running.LONG_S)
        assert info(server.addresses.grpc)


@pytest.mark.slow
@pytest.mark.wire
def test_the_unmodified_client_trusts_the_certificate_on_port_4411(certificate, tmp_path):
    pytest.importorskip("btrdb")
    ca, cert, key = certificate
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", 4411))
        except OSError:
            pytest.skip("port 4411 is taken, and the client uses TLS on no other")
    code = (
        "import btrdb\n"
        "conn = btrdb.connect('127.0.0.1:4411', apikey='chosen')\n"
        "print(conn.info()['majorVersion'], conn.list_collections())\n"
    )
    settings = running.config(tmp_path, cert=cert, cert_key=key, grpc_tls_port=4411, api_token="chosen")
    with lamina.open(tmp_path) as db:
        db.streams.create("plant/pump", "x")
    with running.server(settings) as server:
        assert server.addresses.grpcs == "127.0.0.1:4411"
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            env=running.environment(BTRDB_CA_BUNDLE=ca),
            capture_output=True,
            text=True,
            timeout=running.LONG_S,
            check=False,
        )
    assert (done.returncode, done.stdout) == (0, "5 ['plant/pump']\n"), done.stderr


def test_files_that_are_no_certificate_are_named(certificate, tmp_path):
    bad = tmp_path / "bad.pem"
    bad.write_text("nothing")
    with (
        pytest.raises(InvalidArgument, match=r"bad\.pem"),
        running.server(running.config(cert=str(bad), cert_key=certificate[2])),
    ):
        pass


def test_connections_beyond_the_limit_get_503_and_places_come_back():
    with running.server(running.config(http=HttpLimits(connections=4))) as server:
        host, port = server.addresses.http.split(":")
        idle = [socket.create_connection((host, int(port)), timeout=running.LONG_S) for _ in range(2)]
        try:
            assert get(server.addresses.http, "/alive")[0] == 200
            idle += [socket.create_connection((host, int(port)), timeout=running.LONG_S) for _ in range(2)]
            assert get(server.addresses.http, "/alive")[0] == 503
        finally:
            for connection in idle:
                connection.close()
        for _ in range(200):  # until the server has seen them go
            status = get(server.addresses.http, "/alive")[0]
            if status == 200:
                break
        assert status == 200


def test_deadlines_are_swept_once_a_second():
    swept = []
    server = serve_module._Uvicorn(uvicorn.Config(None), "", swept.append)

    async def main():
        for tick in range(21):
            await server.on_tick(tick)

    asyncio.run(main())
    assert swept == [server.server_state.connections] * 3


def test_every_answer_names_the_server_and_its_api():
    with running.server(running.config()) as server:
        for path in ("/alive", "/nothing"):
            request = urllib.request.Request(f"http://{server.addresses.http}{path}")
            try:
                headers = urllib.request.urlopen(request, timeout=running.LONG_S).headers
            except urllib.error.HTTPError as error:
                headers = error.headers
            assert headers["x-reduct-api"] == "1.21"
            assert headers["server"].startswith("ReductStore 1.21.0 (Lamina/")


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ((1024, 5000), [(5000, 5000)]),
        ((1024, 1_000_000), [(16_384, 1_000_000)]),
        ((1024, resource.RLIM_INFINITY), [(16_384, resource.RLIM_INFINITY)]),
        ((20_000, 1_000_000), []),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), []),
    ],
)
def test_as_many_descriptors_are_asked_for_as_connections_need(monkeypatch, limits, expected):
    asked = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, found: asked.append(found))
    serve_module._allow_descriptors()
    assert asked == expected


def test_a_second_interrupt_ends_the_process_at_once(monkeypatch):
    exits = []
    monkeypatch.setattr(os, "_exit", exits.append)

    async def main():
        stop = asyncio.Event()
        with serve_module._signals(asyncio.get_running_loop(), stop):
            signal.raise_signal(signal.SIGINT)
            await asyncio.wait_for(stop.wait(), running.LONG_S)
            assert exits == []
            signal.raise_signal(signal.SIGINT)
            while not exits:
                await asyncio.sleep(0)

    asyncio.run(main())
    assert exits == [130]


# -- as a process


def serve_arguments(path):
    return ["serve", path, "--http-port", 0, "--grpc-port", 0, "--log-level", "warning"]


def start(child):
    """Addresses, once the process is ready."""
    line = child.stdout.readline()
    match = running.READY.fullmatch(line)
    assert match, line + child.stderr.read()
    return match.groups()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_with_0_and_nothing_but_the_ready_line(tmp_path, number):
    with running.process(*serve_arguments(tmp_path)) as child:
        http, _, grpcs = start(child)
        assert (get(http, "/ready")[0], grpcs) == (200, None)
        child.send_signal(number)
        out, err = child.communicate(timeout=10)
    assert (child.returncode, out, err) == (0, "", "")


@pytest.mark.slow
def test_a_second_server_on_the_directory_says_who_has_it_in_one_line(tmp_path):
    with running.process(*serve_arguments(tmp_path)) as child:
        start(child)
        second = running.lamina(*serve_arguments(tmp_path))
    assert (second.returncode, second.stdout) == (2, "")
    assert len(second.stderr.splitlines()) == 1
    assert str(child.pid) in second.stderr
    assert str(tmp_path) in second.stderr


@pytest.mark.slow
def test_a_server_ends_in_time_while_nobody_reads_its_stream(tmp_path):
    btrdb = pytest.importorskip("btrdb")
    with lamina.open(tmp_path) as db:
        uuid = db.streams.create("c", "s").uuid
        n = 1_000_000
        db.streams.get(uuid).insert(np.arange(n), np.random.default_rng(1).normal(size=n))
    with running.process(*serve_arguments(tmp_path)) as child:
        address = start(child)[1]
        stream = btrdb.connect(address).stream_from_uuid(uuid)
        unread = stream._btrdb.ep.rawValues(uuid, 0, n, 0)
        next(unread)
        child.terminate()
        child.communicate(timeout=10)
        unread.close()
    assert child.returncode == 0


@pytest.mark.slow
def test_the_environment_sets_up_a_server(tmp_path):
    variables = {"RS_DATA_PATH": str(tmp_path), "RS_PORT": "0", "LAMINA_GRPC_PORT": "0", "RS_API_TOKEN": "chosen"}
    with running.process("serve", **variables) as child:
        http = start(child)[0]
        assert get(http, "/metrics")[0] == 401
        assert get(http, "/metrics", "chosen")[0] == 200
        child.terminate()
        out, err = child.communicate(timeout=10)
    assert child.returncode == 0
    assert "chosen" not in out + err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--host", "0.0.0.0"], ["0.0.0.0", "--no-auth"]),
        (["--http-port", "99999"], ["99999"]),
        (["--cert", "absent.pem", "--cert-key", "absent.pem"], ["absent.pem"]),
        (["--durability", "never"], ["never", "group"]),
        (["--api-token", ""], ["--api-token"]),
    ],
)
def test_what_a_user_can_get_wrong_ends_with_2_and_one_line(tmp_path, arguments, words):
    done = running.lamina(*serve_arguments(tmp_path), *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert all(word in done.stderr for word in words)
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_newer_format_is_named(tmp_path):
    lamina.open(tmp_path).close()
    identity = tmp_path / "LAMINA"
    fields = json.loads(identity.read_text())
    identity.write_text(json.dumps({**fields, "format": 999}))
    done = running.lamina(*serve_arguments(tmp_path))
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "999" in done.stderr
