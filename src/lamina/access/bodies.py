"""Tokens as HTTP carries them (contract reductstore 13)."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any, NamedTuple

from lamina.access.tokens import Issued, TokenInfo
from lamina.errors import InvalidArgument
from lamina.time import to_ns

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_RIGHTS = {"full_access", "read", "write"}


class Create(NamedTuple):
    """What the body of a creation asks for; not checked beyond its form."""

    permissions: dict[str, Any]  # as Permissions.of takes it
    expires: int | None  # ns
    ttl_s: int | None
    ip_allowlist: list[str]


def parse_create(body: bytes) -> Create:
    """The body of `POST /tokens/:name`, in the shape of today or the permissions alone, as old clients send them.

    Raises InvalidArgument("Invalid body") for anything malformed and for members that are not known.
    """
    try:
        return _create(json.loads(body.decode()))
    except (ValueError, TypeError, RecursionError):  # ours, of the JSON, of the UTF-8, of the time
        raise InvalidArgument("Invalid body") from None


def _create(members: Any) -> Create:
    if type(members) is not dict:
        raise TypeError
    whole = "permissions" in members
    if members.keys() - ({"permissions", "expires_at", "ttl", "ip_allowlist"} if whole else {*_RIGHTS, "ip_allowlist"}):
        raise ValueError
    permissions = members["permissions"] if whole else {name: members[name] for name in _RIGHTS & members.keys()}
    if type(permissions) is not dict or permissions.keys() - _RIGHTS:
        raise ValueError
    if type(permissions.get("full_access", False)) is not bool:
        raise TypeError
    checked = {"full_access": permissions.get("full_access", False)} | {
        name: _texts(permissions.get(name)) for name in ("read", "write")
    }
    expires_at, ttl = members.get("expires_at"), members.get("ttl")
    if expires_at is not None and type(expires_at) is not str:
        raise TypeError
    if ttl is not None and (type(ttl) is not int or not 0 <= ttl < 1 << 64):
        raise TypeError
    expires = None if expires_at is None else to_ns(expires_at)
    return Create(checked, expires, ttl, _texts(members.get("ip_allowlist")))


def _texts(value: Any) -> list[str]:
    """A list of texts that have a UTF-8 form; null counts as empty."""
    if value is None:
        return []
    if type(value) is not list:
        raise TypeError
    for text in value:
        if type(text) is not str:
            raise TypeError
        text.encode()
    return value


def token_json(info: TokenInfo) -> dict[str, Any]:
    """The object `Token`: exactly the members of the contract. The value is never shown."""
    return {
        "name": info.name,
        "value": "",
        "created_at": time_text(info.created_us),
        "permissions": info.permissions.to_json(),
        "is_provisioned": info.provisioned,
        "expires_at": time_text(info.expires_us) if info.expires_us else None,
        "ttl": info.ttl_s or None,
        "last_access": time_text(info.last_access_us) if info.last_access_us else None,
        "ip_allowlist": list(info.ip_allowlist),
        "is_expired": info.is_expired,
    }


def issued_json(issued: Issued) -> dict[str, Any]:
    """The answer to a creation or rotation; `created_at` is the text that token_json shows from then on."""
    return {"value": issued.value, "created_at": time_text(issued.created_us)}


def time_text(us: int) -> str:
    """ISO 8601 in UTC with six digits of fraction and a Z."""
    return (_EPOCH + dt.timedelta(microseconds=us)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
