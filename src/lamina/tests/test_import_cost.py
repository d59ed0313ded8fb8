"""What `import lamina` and an embedded database load: a process that opens, queries and ends pays for nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import lamina

LONG_S = 60.0

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(lamina.__file__).parents[1])}

EXTRAS = (
    "duckdb",
    "google.protobuf",
    "grpc",
    "httptools",
    "httpx",
    "msgspec",
    "pandas",
    "polars",
    "prometheus_client",
    "pyarrow",
    "rich",
    "sqlglot",
    "typer",
    "uvicorn",
    "uvloop",
)
"""Modules of the extras: the server's, and those that conversions import on call."""

FACES = (
    "lamina.access",
    "lamina.aio",
    "lamina.cli",
    "lamina.faces",
    "lamina.ops",
    "lamina.remote",
    "lamina.server",
    "lamina.tables",
    "lamina.wire",
)
"""Floors above the engine, and beside it, that an embedded database does not need."""


def loaded(code, folder):
    """Names in sys.modules of a fresh interpreter after the code."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=LONG_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_import_loads_nothing_of_lamina_but_its_version(tmp_path):
    modules = loaded("import lamina; lamina.__version__; dir(lamina)", tmp_path)
    assert {name for name in modules if name.startswith("lamina")} == {"lamina", "lamina.version"}
    assert not modules & {"numpy", *EXTRAS}


def test_a_name_loads_its_own_module_only(tmp_path):
    modules = loaded("import lamina; lamina.LaminaError", tmp_path)
    assert {name for name in modules if name.startswith("lamina")} == {"lamina", "lamina.version", "lamina.errors"}
    assert "numpy" not in modules


def test_every_public_name_can_be_had_and_unknown_ones_are_attribute_errors():
    assert all(getattr(lamina, name) is not None for name in lamina.__all__)
    with pytest.raises(AttributeError, match="'lamina' has no attribute 'Pail'"):
        lamina.Pail  # noqa: B018


EMBEDDED = """
import numpy, lamina
with lamina.open("db") as db:
    s = db.streams.create("a", "b", unit="V")
    s.insert(numpy.arange(100_000), numpy.arange(100_000.0))
    s.insert([5], [1.0], policy="replace")
    s.windows(0, 1000, 100), s.aligned_windows(0, 1000, 3), s.values(0, 100), s.nearest(3), s.changes(10)
    with db.snapshot("now"):
        s.delete(0, 10)
    db.flush()
    db.compact()
"""


def test_an_embedded_database_loads_no_library_of_an_extra_and_no_face(tmp_path):
    modules = loaded(EMBEDDED, tmp_path)
    assert not modules & set(EXTRAS)
    assert not {name for name in modules if name.startswith(FACES)}
    assert "lamina.testing" not in modules


def test_a_reader_does_not_load_what_writes_trees(tmp_path):
    loaded(EMBEDDED, tmp_path)
    query = 'import lamina\nwith lamina.open("db") as db: db.streams["a", "b"].aligned_windows(0, 100_000, 10)'
    modules = loaded(query, tmp_path)
    assert not modules & {"lamina.streams.tree", "lamina.streams.compaction", "lamina.engine.compaction"}
    assert "lamina.streams.window" in modules


BTRDB = """
import uuid
from lamina import MODULE
conn = MODULE.connect("./db")
stream = conn.create(uuid.uuid4(), "a/b", {"name": "x"})
stream.insert([(i, float(i)) for i in range(1000)])
"""


@pytest.mark.parametrize(
    ("module", "reads"),
    [
        (
            "btrdb",
            "stream.values(0, 9)[1], stream.windows(0, 9, 3), stream.count(), conn.streams(stream.uuid).latest()",
        ),
        ("btrdb", "conn.streams(stream.uuid).filter(start=0, end=9).rows(), conn.list_collections(), repr(stream)"),
        ("btrdb4", "list(stream.rawValues(0, 9)), list(stream.windows(0, 9, 3)), list(conn.lookupStreams('', True))"),
    ],
)
def test_btrdbs_classes_on_a_directory_load_no_library_of_an_extra(tmp_path, module, reads):
    modules = loaded(f"{BTRDB.replace('MODULE', module)}\n{reads}\nconn.close()", tmp_path)
    assert not modules & set(EXTRAS)
    assert "lamina.server" not in modules


@pytest.mark.parametrize("module", ["btrdb", "btrdb4"])
def test_grpc_is_loaded_with_the_first_connection_to_a_server(tmp_path, module):
    assert not loaded(f"from lamina import {module}", tmp_path) & set(EXTRAS)
    connected = loaded(f"from lamina import {module}\n{module}.Connection('127.0.0.1:1')", tmp_path)
    assert "grpc" in connected
    assert not connected & {"pandas", "polars", "pyarrow"}


@pytest.mark.parametrize(("missing", "package"), [("grpc", "grpcio"), ("google.protobuf", "protobuf")])
def test_a_missing_library_is_told_with_what_to_install(tmp_path, missing, package):
    code = f"""
import sys
sys.modules[{missing!r}] = None
from lamina import btrdb
try:
    btrdb.connect("127.0.0.1:1")
except ModuleNotFoundError as error:
    assert "pip install {package}" in str(error), error
else:
    raise AssertionError
"""
    loaded(code, tmp_path)


def test_a_client_of_a_server_loads_no_engine(tmp_path):
    reach = """
import lamina
try:
    lamina.connect("http://127.0.0.1:1")
except lamina.LaminaError:
    import lamina.remote.link
"""
    modules = loaded(reach, tmp_path)
    assert "httpx" in modules
    engine = {name for name in modules if name.startswith(("lamina.engine.", "lamina.catalog.", "lamina.codecs."))}
    assert engine <= {
        "lamina.catalog.rows",
        "lamina.engine.records",
        "lamina.engine.records.arguments",
        "lamina.engine.records.selection",
        "lamina.engine.records.settings",
    }
    assert not modules & {"uvicorn", "grpc", "msgspec", "duckdb", "pcodec"}
