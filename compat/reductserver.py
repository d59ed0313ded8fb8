"""`lamina serve` as a process, and requests to it as they stand."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

API_TOKEN = "my-token"
"""What the published examples use."""

WAIT_S = 60  # more than anything here takes, also on a busy machine
READY = re.compile(r"ready http=(\S+) grpc=\S+\n")


class ReductServer:
    """One `lamina serve`; `address` is HOST:PORT, `url` what clients are given."""

    def __init__(self, folder: Path, *arguments: str, port: int = 0, **environment: str) -> None:
        self.folder = folder
        self._said = (folder.parent / f"{folder.name}.log").open("ab")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("LAMINA_", "RS_"))}
        command = [sys.executable, "-m", "lamina.cli.main", "serve", str(folder)]
        self.process = subprocess.Popen(
            [*command, "--http-port", str(port), "--grpc-port", "0", *arguments],
            env=kept | environment,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
        )
        assert self.process.stdout is not None
        ready = READY.fullmatch(self.process.stdout.readline())
        if ready is None:
            self.process.kill()
            raise AssertionError(self.said())
        self.address = ready[1]
        self.url = f"http://{self.address}"

    def said(self) -> str:
        """What it logged so far."""
        return Path(self._said.name).read_text()

    def peak_bytes(self) -> int:
        """The most memory that the process ever had resident."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024

    def stop(self) -> None:
        """In order; fails where it does not end so."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        deadline = threading.Timer(WAIT_S, self.process.kill)
        deadline.start()
        self.process.communicate()
        deadline.cancel()
        self._said.close()
        assert self.process.returncode == 0, self.said()


class Answer(NamedTuple):
    status: int
    headers: list[tuple[str, str]]  # names as they were sent
    body: bytes

    def __getitem__(self, name: str) -> str:  # type: ignore[override]
        """The value of a header by its exact name. Raises KeyError."""
        return dict(self.headers)[name]

    def get(self, name: str) -> str | None:
        return dict(self.headers).get(name)

    def named(self, prefix: str) -> dict[str, str]:
        """Headers whose name begins so, without the prefix."""
        return {name[len(prefix) :]: value for name, value in self.headers if name.startswith(prefix)}

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, str | None]:
        """Status and message."""
        return self.status, self.get("x-reduct-error")


class Http:
    """Requests as they stand, past every client library: http("GET", "/b/x", ts=5)."""

    def __init__(self, address: str, token: str | None = None) -> None:
        self.address = address
        self.token = token
        self._connection = http.client.HTTPConnection(address, timeout=WAIT_S)

    def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | Iterable[tuple[str, str]] = (),
        **parameters: object,
    ) -> Answer:
        """A path of the API, or with // in front any path; a dict as body goes as JSON."""
        target = path[1:] if path.startswith("//") else f"/api/v1{path}"
        if parameters:
            target += f"?{urlencode(parameters)}"
        if isinstance(body, dict | list):
            body = json.dumps(body)
        if isinstance(body, str):
            body = body.encode()
        connection = self._connection
        sent = list(headers.items() if isinstance(headers, dict) else headers)
        connection.putrequest(method, target, skip_accept_encoding=True)
        names = {name.lower() for name, _ in sent}
        if self.token is not None and "authorization" not in names:
            sent.append(("Authorization", f"Bearer {self.token}"))
        if "content-length" not in names and (body is not None or method in ("POST", "PUT", "PATCH")):
            sent.append(("Content-Length", str(len(body or b""))))
        for name, value in sent:
            connection.putheader(name, value)
        try:
            connection.endheaders()
            for part in [body] if isinstance(body, bytes) else body or ():
                connection.send(part)
            answer = connection.getresponse()
            return Answer(answer.status, answer.getheaders(), answer.read())
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        self._connection.close()

    # What most tests begin with

    def write(self, bucket: str, entry: str, time_us: int, content: bytes = b"", **labels: object) -> Answer:
        named = {f"x-reduct-label-{name}": str(value) for name, value in labels.items()}
        answer = self("POST", f"/b/{bucket}/{entry}", content, named, ts=time_us)
        assert answer.status == 200, answer
        return answer

    def query(self, bucket: str, **members: object) -> Answer:
        """Open a query over entries of a bucket."""
        return self("POST", f"/io/{bucket}/q", {"query_type": "QUERY", **members})

    def read(self, bucket: str, id: int, method: str = "GET") -> Answer:
        """The next batch of such a query."""
        return self(method, f"/io/{bucket}/read", headers={"x-reduct-query-id": str(id)})
