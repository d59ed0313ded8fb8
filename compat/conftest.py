"""Servers that the wire tests drive with unmodified clients: the gRPC face in this process and in memory, the HTTP face
as `lamina serve`, a process with a directory."""

import fcntl
import shutil
import subprocess
import venv
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
from compat.reductserver import API_TOKEN, Http, ReductServer

import lamina
from lamina.faces.btrdb.server import Server, build_server

SECOND = 1_000_000_000
START = 1_500_000_000 * SECOND


@pytest.fixture(scope="session")
def db() -> Iterator:
    with lamina.open(":memory:") as database:
        yield database


@pytest.fixture(scope="session")
def address(db) -> Iterator[str]:
    server: Server = build_server(db)
    port = server.add_port("127.0.0.1", 0)
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0).wait(10)


@pytest.fixture(scope="session")
def conn(address):
    """The Python client of version 5, connected."""
    import btrdb

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return btrdb.connect(address)


@pytest.fixture
def collection() -> str:
    """A collection of the test's own."""
    return f"test/{uuid4().hex}"


@pytest.fixture
def stream(conn, collection):
    """An empty stream named x."""
    return conn.create(uuid4(), collection, tags={"name": "x", "unit": "V"}, annotations={"place": "here"})


@pytest.fixture
def ten(stream):
    """A stream with the ten points of the published examples: 1.0 to 10.0, 0.1 s apart."""
    stream.insert([(START + i * SECOND // 10, float(i + 1)) for i in range(10)])
    return stream


@pytest.fixture
def call(address):
    """call(method, request bytes) -> response bytes, past every client library; a full path as method."""
    with grpc.insecure_channel(address, [("grpc.max_receive_message_length", 4 << 20)]) as channel:

        def unary(method: str, request: bytes, **options) -> bytes:
            return channel.unary_unary(method)(request, timeout=20, **options)

        def stream(method: str, request: bytes, **options):
            return channel.unary_stream(method)(request, timeout=options.pop("timeout", 20), **options)

        unary.stream = stream
        unary.channel = channel
        yield unary


BTRDB4 = Path(__file__).parents[1] / ".venv-btrdb4"
"""Environment with the client of version 4, whose dependencies need not agree with ours. Made once, reused."""

PACKAGES = ("btrdb==4.11.2", "grpcio", "protobuf")

AS_PYTHON = ("env", "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python")  # its generated code is too old for the C one


@pytest.fixture(scope="session")
def btrdb4() -> list[str]:
    """The command of a Python that has btrdb4. Skips with the reason where it cannot be installed."""
    with _one_process():  # workers of one run, and runs beside each other, find it missing at the same time
        if not _has_btrdb4(BTRDB4):
            _make_btrdb4()
    return [*AS_PYTHON, str(BTRDB4 / "bin" / "python")]


@contextmanager
def _one_process() -> Iterator[None]:
    """Hold a lock. On this file: a lock file of its own would stay behind."""
    with Path(__file__).open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _has_btrdb4(environment: Path) -> bool:
    python = environment / "bin" / "python"
    if not python.exists():
        return False
    return not subprocess.run([*AS_PYTHON, python, "-c", "import btrdb4"], capture_output=True, timeout=60).returncode


def _make_btrdb4() -> None:
    """Under another name until it is complete: whoever takes no lock finds all of it or nothing."""
    unfinished = BTRDB4.with_name(BTRDB4.name + ".new")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        (unfinished / ".gitignore").write_text("*\n")
        venv.create(unfinished, with_pip=True)
        install = [unfinished / "bin" / "python", "-m", "pip", "install", "--quiet", *PACKAGES]
        subprocess.run(install, capture_output=True, text=True, timeout=300, check=True)
        shutil.rmtree(BTRDB4, ignore_errors=True)
        unfinished.rename(BTRDB4)
    except (OSError, subprocess.SubprocessError) as error:  # no ensurepip, no network, no such package here, too slow
        _skip(f"{PACKAGES[0]} cannot be installed: {error}: {_said(error)}")
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


# ReductStore's protocol: `lamina serve` as a process


@pytest.fixture(scope="session")
def reduct(tmp_path_factory) -> Iterator[ReductServer]:
    """A server without a token: everybody may do everything."""
    server = ReductServer(tmp_path_factory.mktemp("reduct") / "data")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def secured(tmp_path_factory) -> Iterator[ReductServer]:
    """A server that wants API_TOKEN, or tokens made with it."""
    server = ReductServer(tmp_path_factory.mktemp("secured") / "data", RS_API_TOKEN=API_TOKEN)
    yield server
    server.stop()


@pytest.fixture
def serve(tmp_path_factory) -> Iterator[Callable[..., ReductServer]]:
    """serve(*arguments, folder=None, port=0, **environment): a server of the test's own, ended with it."""
    running = []

    def start(*arguments: str, folder: Path | None = None, **options: Any) -> ReductServer:
        server = ReductServer(folder or tmp_path_factory.mktemp("served") / "data", *arguments, **options)
        running.append(server)
        return server

    yield start
    for server in running:
        if server.process.returncode is None:
            server.stop()


@pytest.fixture
def http_to() -> Iterator[Callable[..., Http]]:
    """http_to(server, token=None): requests to it."""
    clients = []

    def client(server: ReductServer, token: str | None = None) -> Http:
        clients.append(Http(server.address, token))
        return clients[-1]

    yield client
    for each in clients:
        each.close()


@pytest.fixture
def api(reduct, http_to) -> Http:
    return http_to(reduct)


@pytest.fixture
def secured_api(secured, http_to) -> Callable[..., Http]:
    """Clients with a token; without one: with full access; None: without authorization."""
    return lambda token=API_TOKEN: http_to(secured, token)


@pytest.fixture
def bucket(api) -> str:
    """A bucket of the test's own on `reduct`."""
    name = f"b-{uuid4().hex[:12]}"
    assert api("POST", f"/b/{name}").status == 200
    return name


REDUCT_JS = Path(__file__).parents[1] / ".node-reduct-js"
"""Directory with the JavaScript client and what it needs. Made once, reused."""

REDUCT_JS_PACKAGE = "reduct-js@1.20.0"
REDUCT_JS_NODE = 20  # the oldest major version that it supports


@pytest.fixture(scope="session")
def reduct_js() -> Path:
    """A directory in which Node finds reduct-js. Skips with the reason where it cannot be had."""
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            _skip(f"{REDUCT_JS_PACKAGE} needs {tool}, which is not here")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout.strip()
    if int(version.lstrip("v").partition(".")[0] or 0) < REDUCT_JS_NODE:
        _skip(f"{REDUCT_JS_PACKAGE} needs Node {REDUCT_JS_NODE}, here is {version}")
    with _one_process():
        if not (REDUCT_JS / "node_modules" / "reduct-js").is_dir():
            _make_reduct_js()
    return REDUCT_JS


def _make_reduct_js() -> None:
    """As `_make_btrdb4`: all of it or nothing."""
    unfinished = REDUCT_JS.with_name(REDUCT_JS.name + ".new")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        (unfinished / ".gitignore").write_text("*\n")
        (unfinished / "package.json").write_text('{"private": true}\n')
        install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", REDUCT_JS_PACKAGE]
        subprocess.run(install, cwd=unfinished, capture_output=True, text=True, timeout=180, check=True)
        shutil.rmtree(REDUCT_JS, ignore_errors=True)
        unfinished.rename(REDUCT_JS)
    except (OSError, subprocess.SubprocessError) as error:
        _skip(f"{REDUCT_JS_PACKAGE} cannot be installed: {error}: {_said(error)}")
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _said(error: Exception) -> str:
    """The end of what a failed command printed."""
    said = getattr(error, "stderr", None) or getattr(error, "output", None) or b""
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    return text.strip()[-300:]


def _skip(reason: str) -> None:
    print(reason)
    pytest.skip(reason)
