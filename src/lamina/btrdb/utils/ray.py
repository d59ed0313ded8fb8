"""Connections as arguments of tasks of Ray: what is sent is where to connect, not the connection."""

from __future__ import annotations

from typing import Any

from lamina.btrdb.optional import needed


def register_serializer(conn_str: str | None = None, apikey: str | None = None, profile: str | None = None) -> None:
    """Let Ray send a BTrDB connection: the receiver connects anew with these arguments, which are `connect`'s.

    Whoever can read Ray's objects can read the key. Ray must be initialised. Raises ModuleNotFoundError without Ray.
    """
    from lamina.btrdb.conn import BTrDB

    ray = needed("ray", "ray", "a shareable connection")
    if not ray.is_initialized():
        raise RuntimeError("ray is not initialised: call ray.init() before registering custom serializer")

    def connected(_: Any) -> Any:
        return btrdb_deserializer(_, conn_str=conn_str, apikey=apikey, profile=profile)

    ray.util.register_serializer(BTrDB, serializer=btrdb_serializer, deserializer=connected)


def btrdb_serializer(_: Any) -> None:
    """Nothing of a connection travels."""


def btrdb_deserializer(
    _: Any, conn_str: str | None = None, apikey: str | None = None, profile: str | None = None
) -> Any:
    """A new connection."""
    from lamina.btrdb import connect

    return connect(conn_str=conn_str, apikey=apikey, profile=profile)
