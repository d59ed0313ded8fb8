"""One life of a real server with hostile callers: what it says, writes and logs, and where it opens files.

Under strace where that is installed, which shows every file that is opened for writing.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest

from lamina.faces.reduct.routes import ROUTES
from lamina.server.tests.running import LONG_S, READY, environment
from tests.security.test_names import HOSTILE

CANARY = "0badc0de" * 4
"""Part of every secret of this life; it must never be seen again."""

ROOT_TOKEN, TARGET_TOKEN = f"root-{CANARY}", f"target-{CANARY}"


class Life(NamedTuple):
    said: str  # stdout and stderr
    answers: list[str]
    made: list[str]  # answers that show a value, once
    secrets: list[str]
    calls: str  # of the system, "" without strace
    root: Path


@pytest.fixture(scope="module")
def life() -> Iterator[Life]:
    with tempfile.TemporaryDirectory() as folder:
        yield _live(Path(folder).resolve())


def _live(folder: Path) -> Life:
    root, trace, errors = folder / "data", folder / "calls", folder / "stderr"
    command = [
        sys.executable,
        "-B",
        "-m",
        "lamina.cli.main",
        "serve",
        str(root),
        "--http-port",
        "0",
        "--grpc-port",
        "0",
    ]
    command += ["--log-level", "debug"]
    strace = shutil.which("strace")
    if strace is not None:
        watch = (
            "open,openat,openat2,creat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,"
        )
        watch += "unlinkat,rmdir,truncate,chmod,mknod,mknodat,execve"
        command = [
            strace,
            "-f",
            "-qq",
            "-s",
            "4096",
            "-e",
            "signal=none",
            "-e",
            f"trace={watch}",
            "-o",
            str(trace),
            *command,
        ]
    with errors.open("wb") as stderr:
        child = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            cwd=folder,
            env=environment(LAMINA_API_TOKEN=ROOT_TOKEN, RS_LOG_LEVEL="DEBUG"),
        )
        answers: list[str] = []
        made: list[str] = []
        secrets = [CANARY]
        try:
            assert child.stdout is not None
            line = child.stdout.readline()
            ready = READY.match(line)
            assert ready, line + errors.read_text()
            host, _, port = ready[1].rpartition(":")
            _trouble(host, int(port), answers, made, secrets)
        finally:
            if strace is not None:  # strace hands signals on to nobody: the server is its child
                children = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
                for pid in children:
                    with contextlib.suppress(ProcessLookupError):
                        signal_process(int(pid))
            else:
                child.send_signal(signal.SIGTERM)
            try:
                out, _ = child.communicate(timeout=LONG_S)
            except subprocess.TimeoutExpired:
                child.kill()
                out, _ = child.communicate()
    said = out + errors.read_text()
    return Life(said, answers, made, secrets, trace.read_text() if strace is not None else "", root)


def signal_process(pid: int) -> None:
    import os

    os.kill(pid, signal.SIGTERM)


def _trouble(host: str, port: int, answers: list[str], made: list[str], secrets: list[str]) -> None:
    """Requests of every kind, with good, bad and misplaced secrets."""
    connection = http.client.HTTPConnection(host, port, timeout=LONG_S)

    def ask(method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None, token: str = ROOT_TOKEN,
            keep: bool = True) -> str:  # fmt: skip
        own = {"authorization": f"Bearer {token}"} if token else {}
        try:
            connection.request(method, f"/api/v1{path}", body, {**own, **(headers or {})})
            answer = connection.getresponse()
            text = f"{answer.status} {answer.getheaders()} {answer.read()!r}"
        except (http.client.HTTPException, ValueError) as error:  # refused by this client: not a request
            connection.close()
            text = f"0 {type(error).__name__}"
        if keep:
            answers.append(text)
        return text

    ask("POST", "/b/b", b'{"quota_type":"FIFO","quota_size":1000000}')
    ask("POST", "/b/b/e?ts=1", b"x" * 100_000, {"x-reduct-label-a": "b"})
    for name in ("mine", "other"):
        text = ask("POST", f"/tokens/{name}", b'{"permissions":{"read":["b"]}}', keep=False)
        made.append(text)
        value = re.search(rf"{name}-[0-9a-f]{{32}}", text)
        assert value, text
        secrets.append(value[0].rpartition("-")[2])
    mine = f"mine-{secrets[1]}"
    target = {"src_bucket": "b", "dst_bucket": "d", "dst_host": "http://127.0.0.1:1", "dst_token": TARGET_TOKEN}
    ask("POST", "/replications/r", json.dumps(target).encode())
    ask("PUT", "/replications/r", json.dumps({**target, "dst_bucket": "f"}).encode())
    ask("POST", "/replications/bad", json.dumps({**target, "dst_host": "ftp://h"}).encode())
    made.append(ask("POST", "/tokens/other/rotate", keep=False))
    found = re.search(r"other-([0-9a-f]{32})", made[-1])
    assert found, made[-1]
    secrets.append(found[1])
    for token in (ROOT_TOKEN, mine, f"mine-{CANARY}", f"nobody-{CANARY}", CANARY, ""):
        for route in ROUTES:
            if route.method == "DELETE" and "{name}" in route.pattern:
                continue
            path = route.pattern
            for part, value in (("{bucket}", "b"), ("{entry*}", "e"), ("{name}", "mine"), ("{file*}", "f")):
                path = path.replace(part, value)
            if path in ("/b/b", "/tokens/mine/rotate", "/b/b/rename") and route.method in ("DELETE", "POST", "PUT"):
                continue
            ask(route.method, path, b"{}" if route.method in ("POST", "PUT", "PATCH") else b"", token=token)
    for headers in ({"authorization": f"Basic {mine}"}, {"authorization": f"Bearer  {mine}"}, {"x-api-key": mine},
                    {"cookie": mine}, {"authorization": mine}):  # fmt: skip
        ask("GET", "/list", headers=headers, token="")
    for name in HOSTILE.values():
        coded = quote(name.encode("utf-8", "surrogateescape"), safe="")
        for method, path in (("POST", f"/b/{coded}"), ("POST", f"/b/b/{coded}?ts=1"), ("POST", f"/tokens/{coded}"),
                             ("GET", f"/links/{coded}"), ("GET", f"/../../{coded}")):  # fmt: skip
            ask(method, path, b"{}", keep=method == "GET")
    ask("GET", "/replications/r")
    ask("GET", "/replications")
    ask("GET", "/tokens")
    query = ask("POST", "/io/$system/q", b'{"query_type":"QUERY"}')
    id = re.search(r'"id":(\d+)', query)
    while id and (text := ask("GET", "/io/$system/read", headers={"x-reduct-query-id": id[1]})).startswith("200"):
        assert text
    for junk in (
        f"GET /{CANARY} HTTP/1.1\r\n\r\n",
        f"\x00\x01{CANARY}",
        f"GET / HTTP/1.1\r\nhost: a\r\nb{CANARY}\r\n\r\n",
    ):
        with contextlib.closing(http.client.HTTPConnection(host, port, timeout=LONG_S)) as raw:
            raw.connect()
            raw.sock.sendall(junk.encode("latin-1"))
            raw.sock.recv(4096)
    connection.close()


def test_no_secret_is_said_logged_or_told(life):
    told = "\n".join(life.answers)
    assert life.answers
    for secret in life.secrets:
        assert secret not in life.said, "in the log"
        assert secret not in told, "in an answer"
    assert all(any(secret in text for text in life.made) for secret in life.secrets[1:]), (
        "a value is shown when it is made"
    )


def test_no_value_of_a_token_is_on_the_disk(life):
    """Of other servers' tokens it must be, to use them."""
    ours = [ROOT_TOKEN, *life.secrets[1:]]
    for path in life.root.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not [secret for secret in ours if secret.encode() in content], path.name


def test_no_caller_writes_lines_into_the_log(life):
    """Whatever is in a name or a path, a line of the log is one of the server's."""
    lines = [line for line in life.said.splitlines() if line and not line.startswith("ready ")]
    assert lines
    assert not [line for line in lines if not re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z (DEBUG|INFO|WARNING|ERROR) ", line)]
    assert not [line for line in lines if "\x1b" in line]


def test_nothing_that_a_caller_does_is_a_defect(life):
    assert not [text for text in life.answers if text.startswith("500")]
    assert "Traceback" not in life.said


def test_answers_tell_nothing_of_the_machine(life):
    for text in life.answers:
        for word in (str(life.root), "Traceback", "site-packages", ".py", "sqlite", "object at 0x", "lamina."):
            assert word not in text, text


_WRITES = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND")
_PATH = re.compile(r'"((?:[^"\\]|\\.)*)"')


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_nothing_outside_the_data_directory_is_written(life):
    changed, run = set(), []
    for line in life.calls.splitlines():
        found = re.match(r"\d+\s+(\w+)\((.*)", line)
        if found is None or " = -1 " in line:
            continue
        name, arguments = found.groups()
        if name == "execve":
            run.append(line)
        elif not name.startswith("open") or _WRITES.search(arguments):
            changed.update(_PATH.findall(arguments))
    inside = {path for path in changed if Path(path).is_relative_to(life.root)}
    assert inside, "the trace shows what it is looked at for"
    outside = sorted(path for path in changed - inside if not path.startswith(("/dev/", "/proc/self/")))
    assert outside == []
    assert len(run) == 1, "no other program is started"
    assert not [path for path in changed if any(part in path for part in ("passwd", "escaped", "system32", "$meta"))]
