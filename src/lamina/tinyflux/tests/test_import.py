"""What importing and small stores load."""

import subprocess
import sys

HEAVY = (
    "numpy",
    "google_crc32c",
    "grpc",
    "duckdb",
    "uvicorn",
    "pyarrow",
    "lamina.engine",
    "lamina.storage",
    "sqlite3",
)


def loaded(code: str) -> set[str]:
    script = f"{code}\nimport sys\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


FILL = """
import tempfile, os
from lamina.tinyflux import *
from lamina.tinyflux import database, decorators, measurement, point, queries, storages, index, utils, version
db = TinyFlux(os.path.join(tempfile.mkdtemp(), "a.csv"))
db.insert_multiple(Point(tags={"a": str(i)}, fields={"x": float(i)}) for i in range(%d))
assert db.count(FieldQuery().x > 5) == %d - 6
db.update(FieldQuery().x == 7, tags={"a": "b"}); db.remove(TagQuery().a == "b"); db.all()
"""


def test_a_small_store_needs_neither_numpy_nor_engine() -> None:
    assert loaded(FILL % (2000, 2000)) == set()


def test_a_large_store_needs_numpy_and_no_server() -> None:
    assert loaded(FILL % (2100, 2100)) & {"numpy"} == {"numpy"}
    assert not loaded(FILL % (2100, 2100)) & {
        "grpc",
        "duckdb",
        "uvicorn",
        "pyarrow",
        "lamina.engine",
        "sqlite3",
    }


def test_a_system_without_file_locks_will_do() -> None:
    assert loaded("import sys; sys.modules['fcntl'] = None" + FILL % (10, 10)) == set()
