"""Long bodies that a thread moves between the connection's socket and where they belong.

On the loop's way a body is handed from thread to thread and copied from buffer to buffer, piece by piece. Here the
loop lends the socket for a *turn*: a thread of the application reads the disk, verifies and sends, or receives, sums
and writes, one piece after the other in a buffer that stays in the processor's cache. A turn ends after TURN_BYTES, so
that others get the thread, or when the client keeps it waiting: waiting is the loop's affair. The connection's
transport then sends what is left over, or gathers what comes, and the next turn begins behind that.

An application finds this as `scope["extensions"]["lamina.direct"]`, where the connection is not encrypted. While the
socket is lent the transport neither reads nor writes. The thread works on a duplicate of the descriptor: should the
connection end meanwhile, its number does not become another's under it.
"""

from __future__ import annotations

import asyncio
import os
import select
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lamina.server.exchange import Exchange
    from lamina.server.protocol import Protocol

EXTENSION = "lamina.direct"

PIECE_BYTES = 1 << 20
"""Received before it is handed on. 256 KiB take a tenth more CPU, 4 MiB nothing less."""

TURN_BYTES = 8 << 20
"""5 ms of work: a longer body stands in line again."""

GATHER_BYTES = 1 << 20
"""Of a body that comes slowly: gathered by the loop before a thread writes it."""

WORTH_BYTES = 256 << 10
"""Moved between two waits of a thread; who is slower is waited for by the loop."""

PATIENCE_MS = 2
"""How long a thread waits: longer than a client on this machine or network needs to make room for so much."""

_IOV_MAX = 1024

Parts = Sequence[bytes | memoryview]
Run = Callable[[Callable[[], None]], "asyncio.Future[None]"]
"""Calls on a thread; a call that was begun is finished whatever becomes of the future."""

_own = threading.local()  # a thread's buffer


class Direct:
    """Of one connection; for the request that is being answered. On the loop's thread, but for the turns."""

    __slots__ = ("_protocol",)

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    # -- an answer

    async def send(self, run: Run, parts: Iterator[Parts]) -> None:
        """The whole body of an answer whose start was sent: what an iterator gives that is advanced on threads, as
        many bytes as were announced. What it gave may change when it is advanced again.

        Returns when everything is sent, or nobody listens any more. Raises what the iterator raises; see `begun`."""
        protocol, exchange = self._protocol, self._protocol.active
        if exchange is None or exchange.disconnected:
            return
        head = await exchange.prepare()
        if exchange.disconnected:
            return
        size = exchange.plain_left
        if not size:
            await _send_copies(run, exchange, parts)
            return
        transport = protocol.transport
        limits = transport.get_write_buffer_limits()
        transport.set_write_buffer_limits(0)  # so that draining means that everything is sent, and parts may change
        turn = _Sending(head, parts, size)
        try:
            await self._send_in_turns(run, exchange, turn)
        finally:
            if not transport.is_closing():
                transport.set_write_buffer_limits(limits[1], limits[0])
        if turn.ended:
            exchange.passed(size - turn.room)
            await exchange.send({"type": "http.response.body", "body": b""})

    def begun(self) -> bool:
        """Whether anything of the answer was sent. If nothing was, another may be."""
        exchange = self._protocol.active
        return exchange is None or exchange.started

    async def _send_in_turns(self, run: Run, exchange: Exchange, turn: _Sending) -> None:
        protocol = self._protocol
        while not turn.ended:
            await protocol.flow.drain()
            if exchange.disconnected:
                return
            try:
                await self._lend(run, turn)
            finally:
                exchange.prepared(begun=not turn.head)
            if turn.lost:
                protocol.transport.abort()
                exchange.disconnect()
            elif turn.left and not exchange.disconnected:
                left, turn.left = turn.left, []
                protocol.transport.writelines(left)

    # -- a request's body

    def available(self) -> int:
        """Bytes of body to come that can be received this way; 0 where it does not pay."""
        protocol, exchange = self._protocol, self._protocol.active
        if exchange is None or exchange is not protocol.cycle or exchange.disconnected or not protocol.raw_left:
            return 0
        return protocol.raw_left + exchange.buffered

    async def receive(self, run: Run, first: Parts, size: int, take: Callable[[memoryview], None]) -> bool:
        """Hand `first`, then the next `size` bytes of body, no more than are available, piece by piece to a function
        that is called on threads; a piece is valid during the call. Whether all came: False, the client went.

        Raises what the function raises; how much of the body was read by then is not said."""
        protocol, exchange = self._protocol, self._protocol.active
        if exchange is None:
            return False
        turn = _Receiving(take)
        turn.pieces += map(memoryview, first)
        turn.wanted = size
        try:
            while turn.pieces or turn.wanted:
                if exchange.disconnected:
                    return False
                exchange.invite()
                for piece in exchange.queued(turn.wanted):
                    turn.pieces.append(memoryview(piece))
                    turn.wanted -= len(piece)
                protocol.flow.pause_reading()
                turn.moved, turn.dry = 0, False
                try:
                    await self._lend(run, turn)
                finally:
                    protocol.passed_raw(turn.moved)
                turn.wanted -= turn.moved
                if turn.dry and turn.wanted:
                    await exchange.gather(min(turn.wanted, GATHER_BYTES))
        finally:
            if exchange.more:
                protocol.flow.resume_reading()
        return True

    async def _lend(self, run: Run, turn: _Turn) -> None:
        """One turn. Who is cancelled waits for its end all the same: nobody else may have the socket before."""
        turn.descriptor = os.dup(self._protocol.transport.get_extra_info("socket").fileno())
        try:
            future = run(turn)
            try:
                await asyncio.shield(future)
            except asyncio.CancelledError:
                turn.stop = True
                while not future.done():
                    with suppress(asyncio.CancelledError):
                        await asyncio.wait([future])
                future.exception()  # it is not told, the cancellation is
                raise
        finally:
            os.close(turn.descriptor)


async def _send_copies(run: Run, exchange: Exchange, parts: Iterator[Parts]) -> None:
    """The same by the loop, for answers that it must write."""
    given: list[Parts] = []

    def advance() -> None:
        given[:] = [next(parts, ())]

    try:
        await run(advance)
    except BaseException:
        exchange.prepared(begun=False)
        raise
    last = b""
    while given[0]:
        for part in given[0]:
            if last:
                await exchange.send({"type": "http.response.body", "body": last, "more_body": True})
            last = bytes(part)
        await run(advance)
    await exchange.send({"type": "http.response.body", "body": last})


class _Turn:
    """What a thread does with the socket, called again for each turn."""

    def __init__(self) -> None:
        self.descriptor = -1  # during a turn
        self.stop = False  # set from outside
        self.moved = 0  # bytes through the socket
        self._since = WORTH_BYTES  # moved since it waited

    def __call__(self) -> None:
        raise NotImplementedError

    def _wait(self, event: int) -> bool:
        """Whether the socket is ready for more now."""
        if self._since < WORTH_BYTES or self.stop:
            return False
        self._since = 0
        waiting = select.poll()
        waiting.register(self.descriptor, event)
        return bool(waiting.poll(PATIENCE_MS))


class _Sending(_Turn):
    def __init__(self, head: bytes, parts: Iterator[Parts], size: int) -> None:
        super().__init__()
        self.head = head  # goes with the first part: what is wrong with that can be told instead
        self.room = size  # bytes that may follow
        self.left: list[memoryview] = []  # not sent
        self.ended = False  # nothing follows
        self.lost = False  # the connection
        self._parts = parts

    def __call__(self) -> None:
        end = self.moved + TURN_BYTES
        self._since = WORTH_BYTES
        while not self.stop:
            if not self.left and (self.moved >= end or not self._advance()):
                return
            try:
                sent = os.writev(self.descriptor, self.left[:_IOV_MAX])
            except BlockingIOError:
                if not self._wait(select.POLLOUT):
                    return
            except OSError:
                self.lost = True
                return
            else:
                self.moved += sent
                self._since += sent
                self._drop(sent)

    def _advance(self) -> bool:
        self.left = [memoryview(part) for part in next(self._parts, ())]
        self.room -= sum(map(len, self.left))
        assert self.room >= 0, "the answer is longer than its content-length"
        self.ended = not self.left
        if self.head and self.left:
            self.left.insert(0, memoryview(self.head))
            self.head = b""
        return not self.ended

    def _drop(self, sent: int) -> None:
        left = self.left
        whole = 0
        while whole < len(left) and sent >= len(left[whole]):
            sent -= len(left[whole])
            whole += 1
        del left[:whole]
        if sent:
            left[0] = left[0][sent:]


class _Receiving(_Turn):
    def __init__(self, take: Callable[[memoryview], None]) -> None:
        super().__init__()
        self.pieces: list[memoryview] = []  # that came before
        self.wanted = 0  # bytes behind them
        self.dry = False  # nothing more came
        self._take = take

    def __call__(self) -> None:
        pieces, self.pieces = self.pieces, []
        for piece in pieces:
            self._take(piece)
        self._since = WORTH_BYTES
        buffer = _buffer()
        while self.moved < min(self.wanted, TURN_BYTES) and not (self.dry or self.stop):
            filled = self._fill(buffer[: self.wanted - self.moved])
            self.moved += filled
            if filled:
                self._take(buffer[:filled])

    def _fill(self, buffer: memoryview) -> int:
        """Bytes received; fewer than there is room for where they do not come."""
        filled = 0
        while filled < len(buffer):
            try:
                got = os.readv(self.descriptor, [buffer[filled:]])
            except BlockingIOError:
                if self._wait(select.POLLIN):
                    continue
                got = 0
            except OSError:  # the transport will find out
                got = 0
            if not got:
                self.dry = True
                break
            filled += got
            self._since += got
        return filled


def _buffer() -> memoryview:
    found: memoryview | None = getattr(_own, "buffer", None)
    if found is None:
        found = _own.buffer = memoryview(bytearray(PIECE_BYTES))
    return found
