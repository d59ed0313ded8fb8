"""Objects that are there from the start: RS_BUCKET_*, RS_TOKEN_*, RS_REPLICATION_*, RS_LIFECYCLE_* as plain values.

Contract reductstore section 19: `<PREFIX>_<id>_<MEMBER>`, the id is any text that ties variables together. Also as
LAMINA_*, which wins. Names, conditions and durations are checked where the objects are made.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lamina.errors import InvalidArgument
from lamina.server.quantities import parse_choice, parse_count, parse_list, parse_size, parse_switch

Parse = Callable[[str, str], Any]


@dataclass(frozen=True, slots=True)
class BucketSpec:
    """Settings hold the given members only."""

    name: str
    settings: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TokenSpec:
    name: str
    value: str = field(repr=False)
    full_access: bool = False
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    expires_at: str | None = None  # text as in the body of a token's creation


@dataclass(frozen=True, slots=True)
class ReplicationSpec:
    """Settings hold the given members, as the body of its creation would."""

    name: str
    settings: dict[str, Any] = field(repr=False)  # dst_token is a secret


@dataclass(frozen=True, slots=True)
class LifecycleSpec:
    """Settings hold the given members, as the body of its creation would."""

    name: str
    settings: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Provisioned:
    """Everything that the environment asks for, each list by id."""

    defaults: dict[str, Any]  # settings of new buckets that say nothing else
    buckets: tuple[BucketSpec, ...] = ()
    tokens: tuple[TokenSpec, ...] = ()
    replications: tuple[ReplicationSpec, ...] = ()
    lifecycles: tuple[LifecycleSpec, ...] = ()


def _text(name: str, value: str) -> str:
    return value


def _list(name: str, value: str) -> list[str]:
    return list(parse_list(value))


def _json(name: str, value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError as error:
        raise InvalidArgument(f"{name}={value!r}: expected JSON: {error}") from None


def _one_of(*allowed: str) -> Parse:
    return lambda name, value: parse_choice(name, value, allowed)


_BUCKET: dict[str, Parse] = {
    "QUOTA_TYPE": _one_of("NONE", "FIFO", "HARD"),
    "QUOTA_SIZE": parse_size,
    "MAX_BLOCK_SIZE": parse_size,
    "MAX_BLOCK_RECORDS": parse_count,
}

_TOKEN: dict[str, Parse] = {
    "VALUE": _text,
    "FULL_ACCESS": parse_switch,
    "READ": _list,
    "WRITE": _list,
    "EXPIRES_AT": _text,
}

_REPLICATION: dict[str, Parse] = {
    "SRC_BUCKET": _text,
    "DST_BUCKET": _text,
    "DST_HOST": _text,
    "DST_TOKEN": _text,
    "DST_PREFIX": _text,
    "ENTRIES": _list,
    "WHEN": _json,
    "MODE": _one_of("enabled", "paused", "disabled"),
    "COMPRESSION": _one_of("none", "zstd", "gzip"),
}

_LIFECYCLE: dict[str, Parse] = {
    "TYPE": _one_of("delete", "compress"),
    "BUCKET": _text,
    "OLDER_THAN": _text,
    "INTERVAL": _text,
    "PROCESSING_INTERVAL": _text,
    "ENTRIES": _list,
    "WHEN": _json,
    "MODE": _one_of("enabled", "disabled", "dry_run"),
}


def provisioned(environment: Mapping[str, str]) -> Provisioned:
    """What the environment asks for. An empty variable counts as not set, members nobody knows are ignored.

    Raises InvalidArgument naming the variable: a value that does not parse, a member that is missing, two objects of
    one name.
    """
    buckets = [BucketSpec(name, settings) for name, settings in _objects(environment, "BUCKET", _BUCKET, required=())]
    tokens = [
        TokenSpec(
            name,
            members["value"],
            members.get("full_access", False),
            tuple(members.get("read", ())),
            tuple(members.get("write", ())),
            members.get("expires_at"),
        )
        for name, members in _objects(environment, "TOKEN", _TOKEN, required=("VALUE",))
    ]
    required = ("SRC_BUCKET", "DST_BUCKET", "DST_HOST")
    replications = [
        ReplicationSpec(name, settings)
        for name, settings in _objects(environment, "REPLICATION", _REPLICATION, required=required)
    ]
    lifecycles = [
        LifecycleSpec(name, settings)
        for name, settings in _objects(environment, "LIFECYCLE", _LIFECYCLE, required=("BUCKET", "OLDER_THAN"))
    ]
    return Provisioned(_defaults(environment), tuple(buckets), tuple(tokens), tuple(replications), tuple(lifecycles))


def _defaults(environment: Mapping[str, str]) -> dict[str, Any]:
    found = {}
    for member, parse in _BUCKET.items():
        for prefix in ("LAMINA", "RS"):
            variable = f"{prefix}_DEFAULTS_BUCKET_{member}"
            if environment.get(variable):
                found[member.lower()] = parse(variable, environment[variable])
                break
    return found


def _objects(
    environment: Mapping[str, str], kind: str, members: dict[str, Parse], *, required: tuple[str, ...]
) -> list[tuple[str, dict[str, Any]]]:
    """(name, members by lower-case name) of each object, by id.

    An object begins with its name: without RS_<kind>_<id>_NAME other members of that id stand for nothing.
    """
    found = []
    owners: dict[str, str] = {}
    for id in sorted(_ids(environment, kind)):
        variable, name = _member(environment, kind, id, "NAME")
        assert name, "an id is one because it has a name"
        if name in owners:
            raise InvalidArgument(f"{variable}={name!r}: {owners[name]} has the same name")
        owners[name] = variable
        values = {}
        for member, parse in members.items():
            source, value = _member(environment, kind, id, member)
            if value:
                values[member.lower()] = parse(source, value)
            elif member in required:
                raise InvalidArgument(f"{source} is missing: {variable}={name!r} needs it")
        found.append((name, values))
    return found


def _ids(environment: Mapping[str, str], kind: str) -> set[str]:
    ids = set()
    for variable, value in environment.items():
        for prefix in (f"LAMINA_{kind}_", f"RS_{kind}_"):
            if value and variable.startswith(prefix) and variable.endswith("_NAME"):
                id = variable[len(prefix) : -len("_NAME")]
                if id:
                    ids.add(id)
    return ids


def _member(environment: Mapping[str, str], kind: str, id: str, member: str) -> tuple[str, str]:
    """(variable, its value or ""); the RS_ variable's name if there is none."""
    for prefix in ("LAMINA", "RS"):
        variable = f"{prefix}_{kind}_{id}_{member}"
        if environment.get(variable):
            return variable, environment[variable]
    return f"RS_{kind}_{id}_{member}", ""
