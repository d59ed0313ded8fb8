"""BTrDB's classes on Lamina: what a program has from `btrdb` (5.34), in a directory or on a server.

    from lamina import btrdb

    conn = btrdb.connect("./data")              # a directory, opened in this process
    conn = btrdb.connect("127.0.0.1:4410")      # a server of Lamina's or BTrDB's

Everything behind `connect` is the same for both. Points are kept as columns; objects are made when they are looked at.
Read in this order: `conn`, `stream`, `streamset`, `transformers` (what programs use), `sequences` (points as lists),
`endpoint` (the calls one by one), `backend` (what is needed of a place with data), `embedded` and `remote` (the two).
Neither gRPC nor pandas, polars or pyarrow is loaded before it is needed.
"""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

from lamina.btrdb.conn import BTrDB, Connection
from lamina.btrdb.endpoint import Endpoint
from lamina.btrdb.exceptions import ConnectionError
from lamina.btrdb.stream import MAXIMUM_TIME, MINIMUM_TIME
from lamina.btrdb.utils.credentials import credentials, credentials_by_profile
from lamina.btrdb.utils.ray import register_serializer
from lamina.btrdb.version import get_version

if TYPE_CHECKING:
    from lamina.engine.database import Database

__all__ = [
    "BTRDB_API_KEY",
    "BTRDB_ENDPOINTS",
    "BTRDB_PROFILE",
    "MAXIMUM_TIME",
    "MINIMUM_TIME",
    "BTrDB",
    "Connection",
    "ConnectionError",
    "Endpoint",
    "connect",
    "credentials",
    "credentials_by_profile",
    "get_version",
    "register_serializer",
]

__version__ = get_version()

BTRDB_ENDPOINTS = "BTRDB_ENDPOINTS"
BTRDB_API_KEY = "BTRDB_API_KEY"
BTRDB_PROFILE = "BTRDB_PROFILE"
"""Variables of the environment that say where to connect."""


def connect(
    conn_str: str | os.PathLike[str] | Database | None = None,
    apikey: str | None = None,
    profile: str | None = None,
    shareable: bool = False,
) -> BTrDB:
    """A connection to a database.

    `conn_str`: HOST:PORT of a server (TLS on port 4411), the path of a directory, which is created if missing and
    shared with the other connections of this process, or an open `lamina.Database`. None: what BTRDB_ENDPOINTS says,
    else the profile (BTRDB_PROFILE, "default") of ~/.predictivegrid/credentials.yaml. `profile`: that profile, instead
    of `conn_str`. `apikey`: the server's, if it wants one. `shareable`: Ray may send the connection.

    Raises ConnectionError (nothing says where; no database there; the key is wrong), ValueError (neither an address nor
    a path; both conn_str and profile; what cannot be a key).
    """
    if conn_str and profile:
        raise ValueError("Received both conn_str and profile arguments.")
    if shareable:
        warnings.warn(
            "a shareable connection is potentially insecure: whoever can read Ray's objects can read the API key",
            stacklevel=2,
        )
        register_serializer(conn_str=str(conn_str) if conn_str else None, apikey=apikey, profile=profile)
    if profile:
        found: dict[str, Any] = credentials_by_profile(profile)
    elif conn_str is not None and not isinstance(conn_str, str):
        found = {"endpoints": conn_str, "apikey": apikey}
    else:
        found = credentials(conn_str, apikey)
    if "endpoints" not in found:
        raise ConnectionError("Could not determine credentials to use.")
    return BTrDB(Endpoint(Connection(found["endpoints"], apikey=found.get("apikey")).channel))
