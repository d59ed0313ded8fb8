"""A connection to a database, in a directory or on a server: streams by name and uuid, new ones, SQL over metadata."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from uuid import UUID

from lamina.btrdb import exceptions
from lamina.btrdb.endpoint import Endpoint, lines_of
from lamina.btrdb.exceptions import ConnectionError, InvalidOperation, StreamNotFoundError, retry
from lamina.btrdb.optional import needed
from lamina.btrdb.stream import Stream
from lamina.btrdb.streamset import StreamSet
from lamina.btrdb.utils.conversion import to_uuid
from lamina.time import MAX_TIME, MIN_TIME

if TYPE_CHECKING:
    from lamina.btrdb.backend import Backend, Errors
    from lamina.btrdb.channel import Channel
    from lamina.btrdb.embedded import Owned

__all__ = ["MAX_POINTWIDTH", "MAX_TIME", "MIN_TIME", "BTrDB", "Connection"]

MAX_POINTWIDTH = 63

_ADDRESS = re.compile(r"[^/\\:]+:\d+")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/|[^/\\:]+:\d+/")
"""How what is meant as a server's address, and is none, begins."""

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

T = TypeVar("T")
R = TypeVar("R")


class Connection:
    """Where a database is: `channel` is what an `Endpoint` is made of."""

    def __init__(self, addrportstr: Any, apikey: str | None = None) -> None:
        """`addrportstr`: HOST:PORT of a server (TLS on port 4411, clear text on any other), or the path of a directory,
        or an open `lamina.Database`, which stays its opener's to close. `apikey`: the server's, if it wants one.

        A directory is opened here, created if missing, and shared by all connections of this process; nothing is sent
        to a server yet. Raises ValueError (neither address nor path), ConnectionError (the directory cannot be had).
        """
        from lamina.btrdb.embedded import Embedded

        found = place(addrportstr, apikey, exceptions)
        self.channel: Backend
        if isinstance(found, tuple):
            self.channel = Embedded(found, exceptions)
        else:
            from lamina.btrdb.remote import Remote

            self.channel = Remote(found, exceptions)


def place(target: Any, apikey: str | None, refuse: Errors) -> Owned | Channel:
    """An open database in this process, or a channel to a server. Shared by the generations of classes."""
    from lamina.btrdb import embedded

    if hasattr(target, "streams") and hasattr(target, "check_open"):  # a lamina.Database
        return embedded.borrowed(target)
    text = os.fspath(target)
    if isinstance(target, str) and _ADDRESS.fullmatch(text):
        for module, package in (("grpc", "grpcio"), ("google.protobuf", "protobuf")):
            needed(module, package, f"a connection to {text}", "btrdb")
        from lamina.btrdb.channel import dial

        return dial(text, apikey)
    if isinstance(target, str) and (_URL.match(text) or _names_nothing(text)):
        raise ValueError(f"{text!r}: expecting address:port of a server, or a directory: a new one is written ./{text}")
    return embedded.opened(text, refuse)


def _names_nothing(text: str) -> bool:
    """Neither a path, nor what is there: perhaps an address without a port."""
    return "/" not in text and text != ":memory:" and not os.path.isdir(text)


class BTrDB:
    """A database. Thread-safe; a context manager that closes it.

    On a directory and on a server everything is the same: results, versions, errors and their texts. `ep` has the calls
    of the contract one by one.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        """Raises ConnectionError, a BTrDBError, if the database does not answer, or not to this key."""
        self.ep = endpoint
        self._closed = False  # then no threads are to be had, and each call says so
        try:
            info = endpoint.info()
        except exceptions.BTrDBError as error:
            raise _also(ConnectionError(f"Could not connect to the database, error message: {error}"), error) from error
        self._ARROW_ENABLED = info.major >= 5 and info.minor >= 30

    @cached_property
    def _executor(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.ep.backend.parallel, thread_name_prefix="btrdb")

    def _map(self, do: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """`do` of each, in order; as many at a time as the database gains from."""
        if self.ep.backend.parallel == 1 or len(items) == 1 or self._closed:
            return [do(item) for item in items]
        return list(self._executor.map(do, items))

    def close(self) -> None:
        """Release the directory, or the connection: every later call raises ConnectionError. Idempotent.

        Never needed for data to be safe: what was acknowledged is durable. The end of the process closes it as well."""
        self._closed = True
        self.ep.backend.close()
        if "_executor" in self.__dict__:
            self._executor.shutdown(wait=False)

    def __enter__(self) -> BTrDB:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @retry
    def query(
        self,
        stmt: str,
        params: tuple[str, ...] | list[str] | None = None,
        auto_retry: bool = False,
        retries: int = 5,
        retry_delay: int = 3,
        retry_backoff: int = 4,
    ) -> list[dict[str, Any]]:
        """Rows of one SELECT over the relation `streams`: uuid, collection, name, unit, ingress, distiller,
        property_version, annotations (hstore). `params` are bound to $1, $2, ... Raises BadSQLValue."""
        return [json.loads(row) for page in self.ep.sql_query(stmt, list(params or ())) for row in page]

    def streams(
        self, *identifiers: Any, versions: list[int] | None = None, is_collection_prefix: bool = False
    ) -> StreamSet:
        """The streams of these uuids (UUID or text) or names ("COLLECTION/NAME"), in this order, each as often as it is
        named. `versions`: one for each, to be read at. `is_collection_prefix`: COLLECTION is the beginning of one.
        uuids are not looked up. Raises StreamNotFoundError for a name that no stream has, or several."""
        if versions is not None and not isinstance(versions, list):
            raise TypeError(f"versions argument must be of type list, is {type(versions).__name__}")
        if versions and len(versions) != len(identifiers):
            raise ValueError(f"number of versions does not match identifiers: {len(versions)}, {len(identifiers)}")
        found = [self._identified(identifier, is_collection_prefix) for identifier in identifiers]
        streamset = StreamSet(found)
        if versions:
            streamset.pin_versions({stream.uuid: version for stream, version in zip(found, versions, strict=True)})
        return streamset

    def _identified(self, identifier: Any, prefix: bool) -> Stream:
        if isinstance(identifier, UUID) or (isinstance(identifier, str) and _UUID.match(identifier)):
            return self.stream_from_uuid(identifier)
        if isinstance(identifier, str) and "/" in identifier:
            collection, _, name = identifier.rpartition("/")
            hits = self.streams_in_collection(collection, is_collection_prefix=prefix, tags={"name": name})
            if len(hits) == 1:
                return hits[0]
            raise StreamNotFoundError(f"Could not identify stream `{identifier}`")
        raise ValueError(
            f"Could not identify stream based on `{identifier}`.  Identifier must be UUID or collection/name."
        )

    def stream_from_uuid(self, uuid: Any) -> Stream:
        """The stream of a uuid (UUID or text), which is not looked up: ask `exists()`."""
        return Stream(self, to_uuid(uuid))

    @retry
    def create(
        self,
        uuid: UUID,
        collection: str,
        tags: dict[str, str] | None = None,
        annotations: dict[str, str] | None = None,
        auto_retry: bool = False,
        retries: int = 5,
        retry_delay: int = 3,
        retry_backoff: int = 4,
    ) -> Stream:
        """A new, empty stream at version 10; durable when this returns. Tags: `name`, `unit`, `ingress`, `distiller`.

        Raises InvalidCollection, InvalidTagKey, InvalidTagValue, StreamExists (the uuid), RecycledUUID, AmbiguousStream
        (same collection and tags)."""
        tags, annotations = dict(tags or {}), dict(annotations or {})
        self.ep.create(uuid, collection, tags, annotations)
        return Stream(
            self,
            uuid,
            known_to_exist=True,
            collection=collection,
            tags=tags,
            annotations=annotations,
            property_version=1,
        )

    def info(self) -> dict[str, Any]:
        """majorVersion, minorVersion, build, proxy: {"proxyEndpoints": [...]}."""
        major, minor, build, proxies = self.ep.info()
        proxy = {"proxyEndpoints": list(proxies)}
        return {"majorVersion": major, "minorVersion": minor, "build": build, "proxy": proxy}

    def list_collections(self, starts_with: str = "") -> list[str]:
        """Collections that begin with the text, sorted."""
        return lines_of(self.ep.listCollections(starts_with))

    def list_unique_annotations(self, collection: str | None = None) -> list[str]:
        """Annotation keys of the streams whose collection begins with the text; of all for None."""
        return self._list_unique("annotations", "skeys(annotations)", collection)

    def list_unique_names(self, collection: str | None = None) -> list[str]:
        """Likewise names."""
        return self._list_unique("name", "name", collection)

    def list_unique_units(self, collection: str | None = None) -> list[str]:
        """Likewise units."""
        return self._list_unique("unit", "unit", collection)

    def _list_unique(self, label: str, expression: str, collection: str | None) -> list[str]:
        statement, params = f"SELECT DISTINCT({expression}) AS {label} FROM streams", []
        if collection is not None:
            statement, params = f"{statement} WHERE collection LIKE $1", [f"{collection}%"]
        return [row[label] for row in self.query(statement, params)]

    @retry
    def streams_in_collection(
        self,
        *collection: str,
        is_collection_prefix: bool = True,
        tags: dict[str, str | None] | None = None,
        annotations: dict[str, str | None] | None = None,
        auto_retry: bool = False,
        retries: int = 5,
        retry_delay: int = 3,
        retry_backoff: int = 4,
    ) -> list[Stream]:
        """Streams of these collections (all, without any), by collection and name, that have all these tags and
        annotations; None as value: any. With their metadata, so that asking for it costs nothing."""
        wanted: Iterable[str | None] = collection or (None,)
        return [
            Stream(
                self,
                UUID(bytes=found.uuid),
                known_to_exist=True,
                collection=found.collection,
                tags=dict(found.tags),
                annotations=dict(found.annotations),
                property_version=found.property_version,
            )
            for name in wanted
            for page in self.ep.lookupStreams(name, is_collection_prefix, tags or {}, annotations or {})
            for found in page
        ]

    @retry
    def collection_metadata(
        self,
        prefix: str,
        auto_retry: bool = False,
        retries: int = 5,
        retry_delay: int = 3,
        retry_backoff: int = 4,
    ) -> tuple[dict[str, int], dict[str, int]]:
        """How many streams of the collections with this prefix have each tag, and each annotation."""
        return self.ep.getMetadataUsage(prefix)

    def __reduce__(self) -> NoReturn:
        raise InvalidOperation("BTrDB object cannot be reduced.")


def _also(error: Exception, cause: Exception) -> Exception:
    """A failed connection to a server can be caught as grpc.RpcError, as all of them."""
    if hasattr(cause, "cause"):
        from lamina.btrdb.channel import also_rpc_error

        return also_rpc_error(error, cause.cause)
    return error
