"""What `lamina.reduct` loads, and when."""

import os
import subprocess
import sys
from pathlib import Path

import lamina

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(lamina.__file__).parents[1])}

HEAVY = {
    "aiohttp",
    "duckdb",
    "grpc",
    "httptools",
    "msgspec",
    "numpy",
    "prometheus_client",
    "pyarrow",
    "uvicorn",
    "uvloop",
}


def loaded(code):
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_importing_loads_neither_a_server_nor_a_database_nor_aiohttp():
    assert not loaded("from lamina.reduct import Client; Client('data'), Client('http://x')") & HEAVY


def test_a_directory_needs_no_server_library_and_a_server_no_database():
    inside = """
import asyncio
from lamina.reduct import Client
async def main():
    async with Client(":memory:") as client:
        bucket = await client.create_bucket("b")
        await bucket.write("x", b"content")
        [await record.read_all() async for record in bucket.query("x")]
asyncio.run(main())"""
    assert loaded(inside) & HEAVY == {"numpy", "msgspec"}
    outside = """
import asyncio
from lamina.reduct import Client, ReductError
async def main():
    async with Client("http://127.0.0.1:1") as client:
        try:
            await client.info()
        except ReductError:
            pass
asyncio.run(main())"""
    assert loaded(outside) & HEAVY == {"aiohttp"}


def test_without_the_extra_it_says_what_to_install():
    code = "import sys; sys.modules['pydantic'] = None; import lamina.reduct"
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False
    )
    assert "pip install 'lamina[client]'" in done.stderr
