"""Query links: a URL that leads to one record of a query's result, without a token (contract 12)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import msgspec

from lamina.access import Principal
from lamina.errors import InvalidArgument, Unauthenticated
from lamina.faces.reduct import contents, records
from lamina.faces.reduct.call import Call, decode
from lamina.faces.reduct.headers import LAST_TIME, Header
from lamina.faces.reduct.queries import Asked, QueryEntry, find_in_result, refuse_extension
from lamina.faces.reduct.ranges import parse_range
from lamina.faces.reduct.sealing import link_key, seal, unseal

if TYPE_CHECKING:
    from lamina.engine.records.record import Record
    from lamina.faces.reduct.app import Face

CACHED = 8
CACHED_NS = 600 * 1_000_000_000
"""A player fetches a file in dozens of ranges: the query runs once for them."""

US_PER_S = 1_000_000

WITHOUT_IDENTITY = "Both 'record_entry' and 'record_timestamp' must be provided in payload"


class LinkRequest(msgspec.Struct):
    """What a client asks for."""

    bucket: str
    query: msgspec.Raw  # a QueryEntry
    expire_at: int  # Unix seconds; may be over already
    entry: str = ""
    record_entry: str | None = None
    record_timestamp: int | None = None
    base_url: str | None = None


class Sealed(msgspec.Struct):
    """What a link carries."""

    bucket: str
    entries: list[str]
    query: msgspec.Raw  # as it was asked for
    record_entry: str
    record_timestamp: int
    expire_at: int
    issued_us: int  # when the issuer's value was made; 0: no authentication


class Links:
    """Key and recent results of one face. The cache belongs to the event loop."""

    def __init__(self, face: Face) -> None:
        self._face = face
        self._key: bytes | None = None
        self._recent: OrderedDict[tuple[str, str, int], tuple[int, Record]] = OrderedDict()

    def key(self) -> bytes:
        """Blocks the first time."""
        if self._key is None:
            self._key = link_key(self._face.db)
        return self._key

    def recall(self, place: tuple[str, str, int]) -> Record | None:
        found = self._recent.get(place)
        if found is None or found[0] < self._face.clock.monotonic_ns():
            return None
        return found[1]

    def remember(self, place: tuple[str, str, int], record: Record) -> None:
        self._recent[place] = self._face.clock.monotonic_ns() + CACHED_NS, record
        self._recent.move_to_end(place)
        while len(self._recent) > CACHED:
            self._recent.popitem(last=False)


async def create(call: Call) -> None:
    """POST /links/:file."""
    asked = await call.json(LinkRequest)
    call.principal.require_read_bucket(asked.bucket)
    query = decode(bytes(asked.query), QueryEntry)
    if query.query_type != "QUERY":
        raise InvalidArgument("Only 'Query' type is supported for query links")
    if asked.record_entry is None or asked.record_timestamp is None:
        raise InvalidArgument(WITHOUT_IDENTITY)
    if not 0 <= asked.record_timestamp <= LAST_TIME:
        raise InvalidArgument(f"Invalid JSON: 'record_timestamp' is {asked.record_timestamp}")
    base = _base(call, asked.base_url)
    call.face.db.buckets.get(asked.bucket)
    refuse_extension(Asked(query).ext, 0)
    sealed = await call.run(_seal, call, asked, query.entries or [asked.entry])
    await call.answer_json({"link": f"{base}api/v1/links/{quote(call.values[0])}?{sealed}"})


def _seal(call: Call, asked: LinkRequest, entries: list[str]) -> str:
    face, issuer = call.face, call.principal.name
    assert asked.record_entry is not None, "checked before"
    assert asked.record_timestamp is not None, "checked before"
    sealed = Sealed(
        asked.bucket,
        entries,
        asked.query,
        asked.record_entry,
        asked.record_timestamp,
        asked.expire_at,
        face.tokens.get(issuer).created_us if face.tokens is not None else 0,
    )
    return seal(face.links.key(), msgspec.json.encode(sealed), issuer, face.random)


def _base(call: Call, base_url: str | None) -> str:
    """What the URL begins with. Raises InvalidArgument."""
    if base_url is not None:
        try:
            parts = urlsplit(base_url)
            host = parts.hostname
            _ = parts.port  # looked at only when asked for
        except ValueError as error:
            raise InvalidArgument(f"Invalid base_url provided for query link: {error}") from None
        if not host or parts.scheme not in ("http", "https"):
            raise InvalidArgument(f"Invalid base_url provided for query link: no host in {base_url!r}")
        if not (base_url.isascii() and base_url.isprintable()) or " " in base_url:  # urlsplit overlooks line ends
            raise InvalidArgument("Invalid base_url provided for query link: not all of it is visible ASCII")
        return base_url if base_url.endswith("/") else f"{base_url}/"
    config = call.face.config
    if config.public_url:
        return config.public_url
    host = (call.header(b"host") or b"localhost").decode("latin-1")
    return f"{call.scope.get('scheme', 'http')}://{host}{config.base_path}"


async def follow(call: Call) -> None:
    """GET or HEAD the link: the record, or a range of it."""
    face = call.face
    payload, issuer = unseal(await call.run(face.links.key), call.query)
    sealed = decode(payload, Sealed)
    if sealed.expire_at * US_PER_S <= face.clock.wall_us():
        raise InvalidArgument("Query link has expired")
    await _admit_as(call, issuer, sealed)
    entry, time_us = _identity(call, sealed)
    place = call.query["s"], entry, time_us
    record = face.links.recall(place)
    if record is None:
        record = await call.run(_find, face, sealed, entry, time_us)
        face.links.remember(place, record)
    call.values = (sealed.bucket, entry)
    await _answer(call, record)


def _identity(call: Call, sealed: Sealed) -> tuple[str, int]:
    entry, time_us = call.query.get("e"), call.time()
    if entry is None and time_us is None:
        return sealed.record_entry, sealed.record_timestamp
    if entry is None or time_us is None:
        raise InvalidArgument("Both 'e' and 'ts' parameters must be provided")
    return entry, time_us


async def _admit_as(call: Call, issuer: str, sealed: Sealed) -> None:
    """A link is worth what its issuer's token is worth now. Raises NotFound (removed), Unauthenticated (expired),
    PermissionDenied, InvalidArgument (rotated)."""
    tokens = call.face.tokens
    if tokens is None:
        return
    info = await call.run(tokens.get, issuer)
    if info.is_expired:
        raise Unauthenticated("Token has expired")
    if info.created_us != sealed.issued_us:
        raise InvalidArgument("Query link is damaged or its token was rotated")
    call.principal = Principal(info.name, info.permissions)
    call.principal.require_read_bucket(sealed.bucket)


def _find(face: Face, sealed: Sealed, entry: str, time_us: int) -> Record:
    bucket = face.db.buckets.get(sealed.bucket)
    entries: Sequence[str] = sealed.entries
    return find_in_result(bucket, entries, Asked(decode(bytes(sealed.query), QueryEntry)), entry, time_us)


async def _answer(call: Call, record: Record) -> None:
    ranges: Header = (b"accept-ranges", b"bytes")
    direct = call.direct is not None
    wanted = parse_range(call.header(b"range"), record.size)
    if wanted is None:
        content = contents.NOTHING if call.method == "HEAD" else await call.run(contents.read, [record], direct)
        await records.answer_record(call, record, content, ranges)
        return
    start, stop = wanted
    if start >= stop:
        message = "Requested range is not satisfiable"
        call.message = message
        await call.answer(
            416, [ranges, (b"content-range", b"bytes */%d" % record.size), (b"x-reduct-error", message.encode())]
        )
        return
    content = contents.NOTHING
    if call.method != "HEAD":
        content = await call.run(contents.read_range, record, start, stop, direct)
    await call.start(
        206,
        [
            *records.record_headers(record),
            ranges,
            (b"content-range", b"bytes %d-%d/%d" % (start, stop - 1, record.size)),
            (b"content-length", b"%d" % (stop - start)),
        ],
    )
    if call.method == "HEAD":
        await call.end()
    else:
        await contents.send(call, content)
    if call.face.observer is not None:
        call.face.observer.read(call.values[0], record.entry, 1, 0 if call.method == "HEAD" else stop - start)
