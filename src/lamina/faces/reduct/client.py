"""The way of a replication to another server: batch protocol v1 over HTTP/1.1 (contract 7, 14).

A destination is whatever somebody with full access wrote down, so it is checked when it is connected to: a name is
resolved once and that very address is used, link-local and metadata addresses are refused always, loopback where this
server is open to others; answers that point elsewhere are not followed.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import ipaddress
import socket
import ssl
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote, urlsplit

from lamina.faces.reduct.batch1 import ERROR_PREFIX
from lamina.faces.reduct.headers import DEFAULT_TYPE, number
from lamina.jobs.sender import CONNECTION_ERROR, TIMEOUT, Destination, Failure, Outgoing, Sender, Unreachable
from lamina.records.labels import LabelSet
from lamina.storage.files import Buffer

RETRIED = (429, 502, 503, 504)
"""Answers that decide nothing."""

IO_TIMEOUT_S = 30.0
"""For an answer: a destination may be busy with what it was sent, and what times out is sent once more."""

DRAINED = 1 << 20
"""Bytes of an answer's body that are read; no answer of this protocol has more than a message."""

PIECE = 64 << 10
"""Compressed bytes sent together."""

_METADATA = tuple(
    ipaddress.ip_network(network)
    for network in ("169.254.0.0/16", "fe80::/10", "fd00:ec2::/32", "100.100.100.200/32", "192.0.0.192/32")
)
"""Link-local, and where clouds tell a machine its secrets."""

_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class SenderConfig(NamedTuple):
    """Of all connections of a server."""

    timeout_s: float = 5.0  # to connect
    verify_ssl: bool = True
    ca_path: str = ""  # PEM file with further authorities
    allow_loopback: bool = False


def sender_factory(config: SenderConfig) -> Connect:
    """Makes senders; the certificates are loaded once, when a destination needs them."""
    return Connect(config)


class Connect:
    def __init__(self, config: SenderConfig) -> None:
        self._config = config
        self._tls: ssl.SSLContext | None = None

    def __call__(self, destination: Destination) -> Sender:
        return HttpSender(destination, self._config, self)

    def tls(self) -> ssl.SSLContext:
        """Raises OSError if the authorities cannot be read."""
        if self._tls is None:
            context = ssl.create_default_context()
            if self._config.ca_path:
                context.load_verify_locations(self._config.ca_path)
            if not self._config.verify_ssl:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            self._tls = context
        return self._tls


def allowed_address(text: str, allow_loopback: bool) -> bool:
    """Whether a replication may connect there."""
    address: Address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        elif address in _NAT64:
            address = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if any(address in network for network in _METADATA) or address.is_link_local or address.is_multicast:
        return False
    if address.is_loopback or address.is_unspecified:  # to connect to 0.0.0.0 is to connect to oneself
        return allow_loopback
    return True


class _Lines(io.BufferedReader):
    """What an answer is read from. http.client takes the end of the connection for the end of a head, and the errors of
    records may be in what is missing of it."""

    _begun = False

    def readline(self, size: int | None = -1) -> bytes:
        line = super().readline(size)
        if not line.endswith(b"\n") and (line or self._begun) and len(line) != size:
            raise http.client.IncompleteRead(line)
        self._begun = True
        return line


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, **named: Any) -> None:
        super().__init__(sock, *arguments, **named)
        self.fp = _Lines(self.fp.detach())


class _Connection(http.client.HTTPConnection):
    """To an address that was looked at; the name is for the Host header and the certificate."""

    response_class = _Response

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None, config: SenderConfig) -> None:
        super().__init__(host, port, timeout=config.timeout_s)
        self._tls = tls
        self._config = config
        self.default_port = 443 if tls is not None else 80  # left out of the Host header

    def connect(self) -> None:
        address = self._resolve()
        try:
            self.sock = socket.create_connection((address, self.port), self._config.timeout_s)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                self.sock = self._tls.wrap_socket(self.sock, server_hostname=self.host)
            self.sock.settimeout(max(IO_TIMEOUT_S, self._config.timeout_s))
        except BaseException:
            self.close()
            raise

    def _resolve(self) -> str:
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        found.sort(key=lambda info: info[0] != socket.AF_INET)
        address = str(found[0][4][0])
        if not allowed_address(address, self._config.allow_loopback):
            raise Unreachable(CONNECTION_ERROR, f"destination {self.host} is not allowed: it is at {address}")
        return address


class _Answer(NamedTuple):
    status: int
    message: str
    failed: dict[int, Failure]


class HttpSender:
    """A keep-alive connection to one destination, opened when it is first needed."""

    def __init__(self, destination: Destination, config: SenderConfig, connect: Connect) -> None:
        parts = urlsplit(destination.host)
        assert parts.hostname is not None, "checked when the replication was made"
        self._secure = parts.scheme == "https"
        self._host = parts.hostname
        self._port = parts.port or (443 if self._secure else 80)
        self._base = f"{parts.path.rstrip('/')}/api/v1"
        self._destination = destination
        self._config = config
        self._connect = connect
        self._connection: _Connection | None = None

    # -- what is asked for ---------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """See Sender.prepare. A token that may only write is not told whether the bucket is there: go on."""
        path = f"/b/{quote(self._destination.bucket, safe='')}"
        if self._call("GET", path).status == 404:
            self._call("POST", path)

    def reach(self) -> None:
        self._call("GET", "/alive")

    def write(self, entry: str, records: Sequence[Outgoing]) -> Mapping[int, Failure]:
        """See Sender.write. A bucket that went missing is made again."""
        failed = self._write(entry, records)
        if any(failure.status == 404 for failure in failed.values()):
            self.prepare()
            again = [record for record in records if (found := failed.get(record.time_us)) and found.status == 404]
            failed = {time_us: failure for time_us, failure in failed.items() if failure.status != 404}
            failed |= self._write(entry, again)
        return failed

    def _write(self, entry: str, records: Sequence[Outgoing]) -> dict[int, Failure]:
        headers = [_time_header(each.time_us, each.size, each.content_type, each.labels) for each in records]
        size = sum(record.size for record in records)
        content = (piece for record in records for piece in record.content())
        return self._batch("POST", entry, [record.time_us for record in records], headers, size, content)

    def update(self, entry: str, updates: Sequence[tuple[int, Mapping[str, str]]]) -> Mapping[int, Failure]:
        headers = [_time_header(time_us, 0, "", tuple(changes.items())) for time_us, changes in updates]
        return self._batch("PATCH", entry, [time_us for time_us, _ in updates], headers, 0, ())

    def _batch(
        self,
        method: str,
        entry: str,
        times: Sequence[int],
        headers: list[tuple[bytes, bytes]],
        size: int,
        content: Iterable[Buffer],
    ) -> dict[int, Failure]:
        path = f"/b/{quote(self._destination.bucket, safe='')}/{quote(entry, safe='/$')}/batch"
        coding = self._destination.compression
        if coding == "none" or not size:
            headers.append((b"content-length", b"%d" % size))
            body, chunked = content, False
        else:
            headers += [
                (b"content-encoding", coding.encode()),
                (b"x-reduct-content-length", b"%d" % size),
                (b"transfer-encoding", b"chunked"),
            ]
            body, chunked = _compressed(coding, content), True
        answer = self._call(method, path, headers, body, chunked=chunked)
        if answer.status >= 300:
            return dict.fromkeys(times, Failure(answer.status, answer.message))
        failed = {time_us: answer.failed[time_us] for time_us in times if time_us in answer.failed}
        for failure in failed.values():
            if failure.status in RETRIED:  # it began to end within the request
                raise Unreachable(failure.status, failure.message)
        return failed

    # -- how it is asked for -------------------------------------------------------------------------------------

    def _call(
        self,
        method: str,
        path: str,
        headers: Sequence[tuple[bytes, bytes]] = ((b"content-length", b"0"),),
        body: Iterable[Buffer] = (),
        *,
        chunked: bool = False,
    ) -> _Answer:
        """One request. Raises Unreachable, and what `body` raises; the connection is closed then."""
        connection = self._open()
        try:
            sent = self._send(connection, method, self._base + path, headers, body, chunked)
            answer = self._receive(connection, sent)
        except Unreachable:
            self._drop()
            raise
        except TimeoutError:
            self._drop()
            raise Unreachable(TIMEOUT, "timed out: the destination does not answer") from None
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            self._drop()
            raise Unreachable(CONNECTION_ERROR, f"{type(error).__name__}: {error}") from None
        except BaseException:  # a content that cannot be read: the request is broken off
            self._drop()
            raise
        if answer.status in RETRIED:
            raise Unreachable(answer.status, answer.message)
        return answer

    def _open(self) -> _Connection:
        if self._connection is None:
            try:
                tls = self._connect.tls() if self._secure else None
            except OSError as error:
                raise Unreachable(CONNECTION_ERROR, f"certificates do not load: {error.strerror}") from None
            self._connection = _Connection(self._host, self._port, tls, self._config)
        return self._connection

    def _send(
        self,
        connection: _Connection,
        method: str,
        path: str,
        headers: Sequence[tuple[bytes, bytes]],
        body: Iterable[Buffer],
        chunked: bool,
    ) -> OSError | None:
        """None, or why it could not be sent to its end: the answer may be there all the same."""
        token = self._destination.token
        if not (token.isascii() and token.isprintable()):  # http.client would show it in its error
            raise Unreachable(CONNECTION_ERROR, "the destination's token holds characters that no header takes")
        connection.putrequest(method, path, skip_accept_encoding=True)
        if token:
            connection.putheader("authorization", f"Bearer {token}")
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders()
        try:
            for piece in body:
                if len(piece):
                    connection.send(b"%x\r\n%b\r\n" % (len(piece), bytes(piece)) if chunked else piece)
            if chunked:
                connection.send(b"0\r\n\r\n")
        except TimeoutError:
            raise
        except OSError as error:
            if not isinstance(error, ConnectionError):
                raise
            return error
        return None

    def _receive(self, connection: _Connection, sent: OSError | None) -> _Answer:
        try:
            response = connection.getresponse()
        except (OSError, http.client.HTTPException):
            if sent is not None:
                raise sent from None
            raise
        response.read(DRAINED)
        if not response.isclosed() or sent is not None:
            self._drop()
        failed = {}
        prefix = ERROR_PREFIX.decode()
        for name, value in response.getheaders():
            if name.lower().startswith(prefix):
                time_us = number(name[len(prefix) :].encode("latin-1"))
                status, _, message = value.partition(",")
                if time_us is not None:
                    failed[time_us] = Failure(int(status) if status.strip().isdigit() else 500, message)
        message = response.getheader("x-reduct-error") or response.reason or ""
        return _Answer(response.status, message, failed)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def close(self) -> None:
        connection = self._connection
        if connection is not None and connection.sock is not None:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits for it
        self._drop()


def _time_header(time_us: int, size: int, content_type: str, labels: LabelSet) -> tuple[bytes, bytes]:
    """A record's header. Texts go in UTF-8, as they are; what would end a value or the line is percent-encoded."""
    parts = [f"{size},{_text(content_type, ',') or (DEFAULT_TYPE if size else '')}"]
    for name, value in labels:
        quoted = "," in value or value.startswith('"')
        text = f'"{_text(value, _QUOTE)}"' if quoted else _text(value)
        parts.append(f"{_text(name, _NAME_ENDS)}={text}")
    return b"x-reduct-time-%d" % time_us, ",".join(parts).encode("utf-8", "replace")


_QUOTE, _NAME_ENDS = '"', ',="'


def _text(text: str, also: str = "") -> str:
    """Percent-encoded: control characters and those of `also`."""
    if text.isprintable() and not any(character in text for character in also):
        return text
    return "".join(
        "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "replace"))
        if ord(character) < 32 or ord(character) == 127 or character in also
        else character
        for character in text
    )


class _Compressor(Protocol):
    def compress(self, data: Buffer, /) -> bytes: ...

    def flush(self) -> bytes: ...


def _compressed(coding: str, content: Iterable[Buffer]) -> Iterator[bytes]:
    """In pieces of 64 KiB or so."""
    compressor: _Compressor
    if coding == "gzip":
        compressor = zlib.compressobj(wbits=31)
    else:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
        compressor = zstd.ZstdCompressor()
    held = bytearray()
    for piece in content:
        held += compressor.compress(piece)
        if len(held) >= PIECE:
            yield bytes(held)
            held.clear()
    held += compressor.flush()
    yield bytes(held)
