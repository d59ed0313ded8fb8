"""reduct-cli 0.13.0 from the package registry, unmodified, against our servers.

It builds for minutes and needs Cargo, so it is built only where one asks for it:
`LAMINA_BUILD_RUST=1 pytest compat/test_reduct_cli.py`. What was built once is run from then on.
"""

import json
import os
import re
import subprocess
from pathlib import Path
from uuid import uuid4

import pytest
from compat.cargo import built
from compat.reductserver import API_TOKEN

pytestmark = [pytest.mark.wire, pytest.mark.slow]

VERSION = "0.13.0"
FOLDER = Path(__file__).parents[1] / ".cargo-reduct-cli"


@pytest.fixture(scope="module")
def program():
    binary = FOLDER / "bin" / "reduct-cli"
    install = ("install", "--quiet", "--locked", "--debug", "--version", VERSION, "--root", str(FOLDER))
    return built("reduct-cli", FOLDER, binary, *install, "--target-dir", str(FOLDER / "target"), "reduct-cli")


@pytest.fixture
def cli(program, tmp_path, reduct, secured):
    """cli(arguments...): what it prints; it must succeed, unless an error is expected. `open` is the server without a
    token, `closed` the one with."""

    def run(*arguments, fails=False):
        environment = {**os.environ, "HOME": str(tmp_path)}
        done = subprocess.run(
            [program, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode != 0) == fails, (arguments, done.stdout, done.stderr)
        return done.stderr if fails else done.stdout

    run("alias", "add", "open", "--url", reduct.url)
    run("alias", "add", "closed", "--url", secured.url, "--token", API_TOKEN)
    return run


@pytest.fixture
def filled(cli):
    """A bucket of `closed`: entry `cam` with records 1 to 6, `line/sub` with one."""
    name = f"cli-{uuid4().hex[:12]}"
    size = ("--quota-type", "FIFO", "--quota-size", "1GB", "--block-records", "512")
    assert "created" in cli("bucket", "create", f"closed/{name}", *size)
    for n in range(1, 7):
        cli("write", f"closed/{name}/cam", "-s", f"text {n}", "-C", "text/plain", "-t", str(n), "-l", f"n={n},kind=x")
    cli("write", f"closed/{name}/line/sub", "-s", "deep", "-t", "2026-01-01T00:00:00Z")
    return name


def entries(cli, bucket):
    """Name of each entry with records -> how many."""
    rows = re.findall(r"^\| (\S+) +\| (\d+) ", cli("bucket", "show", bucket, "--full"), re.M)
    return {name: int(count) for name, count in rows if count != "0"}


def test_a_server_and_its_buckets(cli, filled):
    assert cli("server", "alive", "closed") == ""
    assert "1.21.0" in cli("server", "status", "closed")
    assert filled in json.loads(cli("--json", "bucket", "ls", "closed"))
    assert "already exists" in cli("bucket", "create", f"closed/{filled}", fails=True)
    cli("bucket", "update", f"closed/{filled}", "--quota-size", "2GB")
    assert "Quota Size: 2.0 GB" in cli("bucket", "show", f"closed/{filled}", "--full")
    cli("bucket", "rename", f"closed/{filled}", "photos", "--only-entry", "cam")
    assert entries(cli, f"closed/{filled}") == {"photos": 6, "line/sub": 1}
    assert "not found" in cli("bucket", "rename", f"closed/{filled}", "photos", "--only-entry", "cam", fails=True)
    cli("bucket", "rename", f"closed/{filled}", f"{filled}-new")
    cli("bucket", "rm", f"closed/{filled}-new", "--yes")
    assert filled not in cli("bucket", "ls", "closed")


def test_records_are_copied_to_another_server_and_into_files(cli, filled, tmp_path):
    cli("cp", f"closed/{filled}", f"open/{filled}")
    assert entries(cli, f"open/{filled}") == entries(cli, f"closed/{filled}") == {"cam": 6, "line/sub": 1}
    cli("cp", f"closed/{filled}", f"open/{filled}-some", "-n", "cam", "-w", '{"&n": {"$gt": 4}}')
    assert entries(cli, f"open/{filled}-some") == {"cam": 2}
    cli("cp", f"open/{filled}", "./out", "--with-meta")
    assert {path.name: path.read_text() for path in (tmp_path / "out" / "cam").glob("*.txt")} == {
        f"{n}.txt": f"text {n}" for n in range(1, 7)
    }
    assert json.loads((tmp_path / "out" / "cam" / "3-meta.json").read_text())["labels"] == {"n": "3", "kind": "x"}
    assert [path.read_text() for path in (tmp_path / "out" / "line" / "sub").glob("*.txt")] == ["deep"]


def test_records_are_removed(cli, filled):
    cli("rm", f"closed/{filled}", "-n", "cam", "-w", '{"&n": {"$lt": 3}}')
    assert entries(cli, f"closed/{filled}") == {"cam": 4, "line/sub": 1}
    cli("rm", f"closed/{filled}", "-n", "cam", "-t", "5")
    assert entries(cli, f"closed/{filled}") == {"cam": 3, "line/sub": 1}
    cli("rm", f"closed/{filled}", "-n", "cam", "--start", "4")
    assert entries(cli, f"closed/{filled}") == {"cam": 1, "line/sub": 1}


def test_attachments(cli, filled):
    cli("attachment", "write", f"closed/{filled}/cam", "lens", '{"mm": 35}')
    assert cli("attachment", "ls", f"closed/{filled}/cam").split() == ["lens"]
    assert cli("attachment", "read", f"closed/{filled}/cam").strip() == 'lens: {"mm":35}'
    cli("attachment", "rm", f"closed/{filled}/cam", "lens")
    assert cli("attachment", "ls", f"closed/{filled}/cam").split() == []


def test_tokens(cli, filled, secured):
    name = f"reader-{uuid4().hex[:8]}"
    limits = ("--expires-in", "1h", "--ip-allow", "127.0.0.1")
    created = cli("token", "create", f"closed/{name}", "--read-bucket", filled, *limits)
    value = created.strip().rpartition(" ")[2]
    cli("alias", "add", "reader", "--url", secured.url, "--token", value)
    assert entries(cli, f"reader/{filled}") == {"cam": 6, "line/sub": 1}
    assert "orbidden" in cli("write", f"reader/{filled}/cam", "-s", "no", fails=True)
    shown = cli("token", "show", f"closed/{name}")
    assert f'Read Buckets: ["{filled}"]' in shown
    assert 'IP Allowlist: ["127.0.0.1"]' in shown
    cli("token", "rotate", f"closed/{name}")
    assert "nauthorized" in cli("bucket", "show", f"reader/{filled}", fails=True)
    cli("token", "rm", f"closed/{name}", "--yes")
    assert name not in cli("token", "ls", "closed")


def test_replications_and_lifecycle_policies(cli, filled):
    cli("bucket", "create", f"open/{filled}")
    name = f"rep-{uuid4().hex[:8]}"
    cli("replica", "create", f"closed/{name}", filled, f"open/{filled}", "-n", "cam", "--prefix", "far/", "-c", "zstd")
    shown = cli("replica", "show", f"closed/{name}")
    for part in (f"Destination Bucket: {filled}", 'Entries: ["cam"]', "Compression: Zstd", "Destination Prefix: far/"):
        assert part in shown
    for mode in ("pause", "enable", "disable"):
        cli("replica", mode, f"closed/{name}")
    assert "Disabled" in cli("replica", "show", f"closed/{name}")
    cli("replica", "rm", f"closed/{name}", "--yes")
    policy = ("--older-than", "30d", "--interval", "1h", "-n", "cam*", "-w", '{"&kind": {"$eq": "x"}}')
    cli("lifecycle", "create", f"closed/{name}", filled, *policy)
    assert "Older Than: 30d" in cli("lifecycle", "show", f"closed/{name}")
    cli("lifecycle", "dry-run", f"closed/{name}")
    cli("lifecycle", "rm", f"closed/{name}", "--yes")
    assert name not in cli("lifecycle", "ls", "closed")
