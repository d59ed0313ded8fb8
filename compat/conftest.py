"""Servers that the wire tests drive with unmodified clients: real engine, in memory, in this process."""

import fcntl
import shutil
import subprocess
import venv
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import grpc
import pytest

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
        said = getattr(error, "stderr", None) or getattr(error, "output", None) or b""
        text = said.decode(errors="replace") if isinstance(said, bytes) else said
        reason = f"{PACKAGES[0]} cannot be installed: {error}: {text.strip()[-300:]}"
        print(reason)
        pytest.skip(reason)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
