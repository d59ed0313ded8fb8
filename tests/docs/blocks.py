"""The code blocks of a page, and running them in order as a reader would.

    ```python           run in this process; names live until the end of the page
    expression  # -> x  the repr of the expression must be x
    ```python btrdb4    run by a Python that has the client of version 4; left out where there is none
    ```sh               run by bash, stopping at the first command that fails; `lamina serve` goes on in the background
    <!-- stop -->       ends that server
    <!-- certificate -->  makes cert.pem, key.pem and ca.pem for localhost

Servers choose their ports; the ports that pages name lead to them, in shell commands and in gRPC channels alike.
"""

from __future__ import annotations

import ast
import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest

ROOT = Path(__file__).parents[2]
BTRDB4 = ROOT / ".venv-btrdb4" / "bin" / "python"
LONG_S = 60

_BLOCK = re.compile(r"^```(?P<info>[^\n]*)\n(?P<code>.*?)^```$|^<!-- (?P<note>stop|certificate) -->$", re.M | re.S)
_RESULT = re.compile(r"#\s*->\s*(?P<repr>.*\S)\s*$")
_SERVE = re.compile(r"^(?:\w+=\S+ )*lamina serve\b")
_SETUP = ("pip install", "python3 dev.py", "source .venv/")  # what sets a machine up; tests run on one that is
_READY = re.compile(r"ready http=(\S+) grpc=(\S+?)(?: grpcs=(\S+))?\n")


class Block(NamedTuple):
    kind: str  # what follows ``` or the word of a comment
    code: str
    line: int  # of the first line of code, from 1


def blocks(page: Path) -> list[Block]:
    """Every block of a page, in order."""
    text = page.read_text()
    found = []
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start()) + 2
        found.append(Block(match["note"] or match["info"].strip(), match["code"] or "", line))
    return found


class Runner:
    """One page: a directory (the working directory), the names of its Python, and a server if it starts one."""

    def __init__(self, page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.page = page
        self.folder = folder
        self._names: dict[str, Any] = {"__name__": page.stem}
        self._server: subprocess.Popen[str] | None = None
        self._ports: dict[str, str] = {}  # as the page says -> as it is
        bin = folder / ".bin"
        bin.mkdir()
        (bin / "lamina").write_text(f'#!/bin/sh\nexec {sys.executable} -m lamina.cli.main "$@"\n')
        (bin / "lamina").chmod(0o755)
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("LAMINA_", "RS_", "BTRDB_"))
        } | {"PATH": f"{bin}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "src")}
        monkeypatch.chdir(folder)
        monkeypatch.delenv("BTRDB_CA_BUNDLE", raising=False)
        self._redirect(monkeypatch)

    def run(self, block: Block) -> None:
        if block.kind == "python":
            self._python(block)
        elif block.kind == "python btrdb4":
            self._btrdb4(block)
        elif block.kind == "sh":
            self._shell(block)
        elif block.kind == "stop":
            self.stop()
        elif block.kind == "certificate":
            _certificate(self.folder)

    def stop(self) -> None:
        """End the server, in order."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.send_signal(signal.SIGTERM)
        try:
            _, said = server.communicate(timeout=LONG_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.communicate()
            raise
        assert server.returncode == 0, said

    def _python(self, block: Block) -> None:
        code = re.sub(r"http://127\.0\.0\.1:8383", lambda match: self._replaced(match[0]), block.code)
        tree = ast.parse(code, str(self.page))
        ast.increment_lineno(tree, block.line - 1)
        lines = block.code.splitlines()
        checks = _Checks(lines, block.line)
        tree = ast.fix_missing_locations(checks.visit(tree))
        expected = sum(bool(_RESULT.search(line)) for line in lines)
        assert checks.found == expected, f"{self.page.name}:{block.line}: a result stands behind no expression"
        self._names["__result__"] = self._check
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            exec(compile(tree, str(self.page), "exec"), self._names)

    def _check(self, value: object, shown: str, line: int) -> None:
        assert repr(value) == shown, f"{self.page.name}:{line}: {value!r}, the page says {shown}"

    def _btrdb4(self, block: Block) -> None:
        if not BTRDB4.exists():
            return
        environment = self._environment | {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}
        done = subprocess.run(
            [BTRDB4, "-c", self._replaced(block.code)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=LONG_S,
            check=False,
        )
        assert done.returncode == 0, f"{self.page.name}:{block.line}: {done.stderr}"

    def _shell(self, block: Block) -> None:
        lines = [line for line in block.code.splitlines() if not line.startswith(_SETUP)]
        script = "\n".join(line for line in lines if not _SERVE.match(line))
        if script.strip():
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", self._replaced(script)],
                env=self._environment,
                capture_output=True,
                text=True,
                timeout=LONG_S,
                check=False,
            )
            # doctor's findings are what a page may want to show
            assert done.returncode in (0, 1), f"{self.page.name}:{block.line}: {done.stderr}{done.stdout}"
            assert done.returncode == 0 or "finding" in done.stderr, f"{self.page.name}:{block.line}: {done.stderr}"
        for line in lines:
            if _SERVE.match(line):
                self._serve(line)

    def _serve(self, line: str) -> None:
        self.stop()
        command = re.sub(r"\b(LAMINA_\w+_PORT)=\d+", r"\1=0", line.partition("  #")[0])
        for flag in ("--http-port", "--grpc-port", "--grpc-tls-port"):
            command += f" {flag} 0"
        self._server = subprocess.Popen(
            ["bash", "-c", re.sub(r"\blamina serve", "exec lamina serve", command)],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._server.stdout is not None
        ready = _READY.fullmatch(self._server.stdout.readline())
        if ready is None:
            self._server.kill()
            raise AssertionError(f"{self.page.name}: {line}: {self._server.communicate()[1]}")
        self._ports = {"127.0.0.1:8383": ready[1], "127.0.0.1:4410": ready[2]}
        if ready[3]:
            self._ports["localhost:4411"] = ready[3].replace("127.0.0.1", "localhost")

    def _replaced(self, text: str) -> str:
        for said, real in self._ports.items():
            text = text.replace(said, real)
        return text

    def _redirect(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """gRPC channels to the ports that pages name go to the page's server."""
        for name in ("insecure_channel", "secure_channel"):
            original = getattr(grpc, name)

            def channel(target: str, *args: Any, _original: Any = original, **options: Any) -> Any:
                return _original(self._ports.get(target, target), *args, **options)

            monkeypatch.setattr(grpc, name, channel)


class _Checks(ast.NodeTransformer):
    """`expression  # -> x` as `__result__(expression, "x", line)`."""

    def __init__(self, lines: list[str], first: int) -> None:
        self._lines = lines
        self._first = first
        self.found = 0

    def visit_Expr(self, node: ast.Expr) -> ast.stmt:
        line = node.end_lineno or node.lineno
        result = _RESULT.search(self._lines[line - self._first])
        if result is None:
            return node
        self.found += 1
        call = ast.Call(
            ast.Name("__result__", ast.Load()),
            [node.value, ast.Constant(result["repr"]), ast.Constant(line)],
            [],
        )
        return ast.copy_location(ast.Expr(call), node)


def _certificate(folder: Path) -> None:
    import trustme

    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
    for part in certificate.cert_chain_pems:
        part.write_to_path(str(folder / "cert.pem"), append=True)


@contextlib.contextmanager
def runner(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    running = Runner(page, folder, monkeypatch)
    try:
        yield running
    finally:
        running.stop()
