"""What one HTTP listener takes, and how long it waits. One number each (architecture, section 15)."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1 << 10
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Sizes in bytes, times in seconds. Beyond: 431, 414, 503, 400 or the end of the connection, as said."""

    header_lines: int = 1200  # batches carry a header per record, and clients do not bound a batch; then 431
    head_bytes: int = 512 * KIB  # all names and values with their separators: the contract's 512 kB; then 431
    line_bytes: int = 64 * KIB  # one header with its name; what Python's http.client can send; then 431
    target_bytes: int = 16 * KIB  # path and query: 1,024 bytes of name percent-encoded leave room; then 414
    connections: int = 4096  # those beyond get 503; twice as many and they are not listened to at all
    head_s: float = 10.0  # from the connection, or the first byte of a later request, to the end of its head
    keep_alive_s: float = 75.0  # between requests: longer than the pools of clients keep theirs
    body_idle_s: float = 30.0  # RS_IO_OPERATION_TIMEOUT: without a byte of a body somebody waits for; then 400
    body_rate: int = 1 * KIB  # bytes a second on average, after `body_rate_after_s`; then 400
    body_rate_after_s: float = 30.0  # a slow start is no attack
    buffer_bytes: int = 1 * MIB  # of a body nobody takes; then the connection is not read
    drain_bytes: int = 1 * MIB  # of a body nobody wants are read before the answer, to keep the connection
    discard_bytes: int = 256 * MIB  # of a longer one are read behind the answer's head
    discard_s: float = 30.0
    linger_s: float = 2.0  # from the last word to the end of a connection whose client still sends
    ratio: int = 100  # how often its own size a compressed body may be, if it announces no other size; then 400
    inflated_bytes: int = 64 * MIB  # and at most so much


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How a batch of records in an answer is cut (contract reductstore 8.4, 19)."""

    size: int = 8_000_000  # bytes of contents
    records: int = 85  # with 14 other headers the 99 that http.client takes
    metadata_size: int = 512_000  # bytes of headers; what clients can take is less (contract 1.6) and wins
    timeout_s: float = 5.0  # to collect a batch
    record_timeout_s: float = 1.0  # to wait for one more record
