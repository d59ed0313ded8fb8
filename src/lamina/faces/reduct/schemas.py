"""JSON of requests and answers as JSON Schema, for the published document (openapi.py).

Requests ignore members that are not listed here, except in the creation of tokens; answers hold exactly what is listed.
"""

from __future__ import annotations

from typing import Any

import msgspec

from lamina.faces.reduct.buckets import NewName, Settings
from lamina.faces.reduct.managed import Mode

Schema = dict[str, Any]

U64: Schema = {"type": "integer", "minimum": 0, "maximum": (1 << 64) - 1}
TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
TEXTS: Schema = {"type": "array", "items": TEXT}
MOMENT: Schema = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$"}
STATUS: Schema = {"enum": ["READY", "DELETING"]}

NAMES: dict[str, Schema] = {
    "bucket": {"type": "string", "pattern": r"^\$?[A-Za-z0-9_-]+$", "maxLength": 255},
    "entry": {"type": "string", "pattern": r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*(/\$meta)?$", "maxLength": 1024},
    "name": {"type": "string", "minLength": 1},
    "file": {"type": "string", "minLength": 1},
}
"""Of the parts of a path."""

REF = "#/components/schemas/{name}"


def _object(**members: Schema) -> Schema:
    """With exactly these members."""
    return {"type": "object", "properties": members, "required": [*members], "additionalProperties": False}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _optional(required: tuple[str, ...], **members: Schema) -> Schema:
    """Of a request: unknown members are ignored, null is as good as absent."""
    shown = {name: schema if name in required else _or_null(schema) for name, schema in members.items()}
    return {"type": "object", "properties": shown, "required": [*required]}


def _ref(name: str) -> Schema:
    return {"$ref": REF.format(name=name)}


def _list(name: str, of: Schema) -> Schema:
    return _object(**{name: {"type": "array", "items": of}})


_WHOLE: Schema = {"type": "integer", "minimum": -(1 << 63), "maximum": (1 << 63) - 1}
_PERMISSIONS = {"full_access": FLAG, "read": TEXTS, "write": TEXTS}
_BUCKET_SETTINGS = _object(
    quota_type={"enum": ["NONE", "FIFO", "HARD"]}, quota_size=U64, max_block_size=U64, max_block_records=U64
)
_REPLICATION_MODE: Schema = {"enum": ["enabled", "paused", "disabled"]}
_LIFECYCLE_MODE: Schema = {"enum": ["enabled", "disabled", "dry_run"]}
_LIFECYCLE_TYPE: Schema = {"enum": ["delete", "compress"]}
_COMPRESSION: Schema = {"enum": ["none", "zstd", "gzip"]}
_DURATION: Schema = {"type": "string", "pattern": r"^-?\d+(us|ms|s|m|h|d)( -?\d+(us|ms|s|m|h|d))*$"}

_ERRORS = {
    "type": "object",
    "additionalProperties": {"type": "object", "properties": {"count": U64, "last_message": TEXT}},
}

COMPONENTS: dict[str, Schema] = {
    "Error": _object(detail=TEXT),
    "BucketInfo": _object(
        name=TEXT, entry_count=U64, size=U64, oldest_record=U64, latest_record=U64, is_provisioned=FLAG, status=STATUS
    ),
    "EntryInfo": _object(
        name=TEXT, size=U64, block_count=U64, record_count=U64, oldest_record=U64, latest_record=U64, status=STATUS
    ),
    "BucketSettings": _BUCKET_SETTINGS,
    "ServerInfo": _object(
        version=TEXT, instance_name=TEXT, instance_role={"enum": ["STANDALONE", "PRIMARY", "SECONDARY", "REPLICA"]},
        bucket_count=U64, usage=U64, uptime=U64, oldest_record=U64, latest_record=U64,
        defaults=_object(bucket=_ref("BucketSettings")), license={},
    ),
    "Token": _object(
        name=TEXT, value={"const": ""}, created_at=MOMENT, permissions=_object(**_PERMISSIONS), is_provisioned=FLAG,
        expires_at=_or_null(MOMENT), ttl=_or_null(U64), last_access=_or_null(MOMENT), ip_allowlist=TEXTS,
        is_expired=FLAG,
    ),
    "TokenRequest": {"anyOf": [
        {**_optional(("permissions",), permissions=_optional((), **_PERMISSIONS), expires_at=MOMENT,
                     ttl={**U64, "minimum": 1}, ip_allowlist=TEXTS), "additionalProperties": False},
        {**_optional((), **_PERMISSIONS, ip_allowlist=TEXTS), "additionalProperties": False},
    ]},
    "Issued": _object(value=TEXT, created_at=MOMENT),
    "QueryEntry": _optional(
        ("query_type",), query_type={"enum": ["QUERY", "REMOVE"]}, entries=TEXTS, start=U64, stop=U64, ttl=U64,
        only_metadata=FLAG, continuous=FLAG, when={"type": "object"}, strict=FLAG, ext={"type": ["object", "array"]},
        include={"type": "object"}, exclude={"type": "object"}, each_s={"type": "number"}, each_n=_WHOLE, limit=_WHOLE,
    ),
    "LinkRequest": _optional(
        ("bucket", "query", "expire_at"), bucket=NAMES["bucket"], query={"$ref": REF.format(name="QueryEntry")},
        expire_at=_WHOLE, entry=TEXT, record_entry=TEXT, record_timestamp=U64, base_url=TEXT,
    ),
    "ReplicationRequest": _optional(
        ("src_bucket", "dst_bucket", "dst_host"), src_bucket=NAMES["bucket"], dst_bucket=TEXT,
        dst_host={"type": "string", "pattern": r"^https?://[a-z0-9.]+(:[1-9]\d{0,3})?/?$"}, dst_token=TEXT,
        entries=TEXTS, dst_prefix=TEXT, when={"type": "object"}, mode=_REPLICATION_MODE, compression=_COMPRESSION,
    ),
    "ReplicationInfo": _object(
        name=TEXT, mode=_REPLICATION_MODE, is_active=FLAG, is_provisioned=FLAG, pending_records=U64
    ),
    "Replication": _object(
        info=_ref("ReplicationInfo"),
        settings=_object(src_bucket=TEXT, dst_bucket=TEXT, dst_host=TEXT, dst_token={"type": "null"}, entries=TEXTS,
                         dst_prefix=TEXT, when={}, mode=_REPLICATION_MODE, compression=_COMPRESSION),
        diagnostics=_object(hourly=_object(ok=U64, errored=U64, errors=_ERRORS)),
    ),
    "LifecycleRequest": _optional(
        ("bucket", "older_than"), type=_LIFECYCLE_TYPE, bucket=NAMES["bucket"], entries=TEXTS, older_than=_DURATION,
        interval=_DURATION, processing_interval=_DURATION, when={"type": "object"}, mode=_LIFECYCLE_MODE,
    ),
    "LifecycleInfo": _object(
        name=TEXT, is_provisioned=FLAG, is_running=FLAG, type=_LIFECYCLE_TYPE, mode=_LIFECYCLE_MODE,
        last_run=_or_null(MOMENT),
    ),
    "Lifecycle": _object(
        info=_ref("LifecycleInfo"),
        settings=_object(type=_LIFECYCLE_TYPE, bucket=TEXT, entries=TEXTS, older_than=TEXT, interval=TEXT,
                         processing_interval=_or_null(TEXT), when={}, mode=_LIFECYCLE_MODE),
    ),
}  # fmt: skip

_QUERY_ANSWER: Schema = {"anyOf": [_object(id=U64), _object(removed_records=U64)]}

REQUESTS: dict[str, Schema] = {
    "POST /b/{bucket}": _ref("Settings"),
    "PUT /b/{bucket}": _ref("Settings"),
    "PUT /b/{bucket}/rename": _ref("NewName"),
    "PUT /b/{bucket}/{entry*}/rename": _ref("NewName"),
    "POST /b/{bucket}/{entry*}/q": _ref("QueryEntry"),
    "POST /io/{bucket}/q": _ref("QueryEntry"),
    "POST /links/{file*}": _ref("LinkRequest"),
    "POST /tokens/{name}": _ref("TokenRequest"),
    **{f"{method} /replications/{{name}}": _ref("ReplicationRequest") for method in ("POST", "PUT")},
    **{f"{method} /lifecycles/{{name}}": _ref("LifecycleRequest") for method in ("POST", "PUT")},
    **{f"PATCH /{kind}/{{name}}/mode": _ref("Mode") for kind in ("replications", "lifecycles")},
}

ANSWERS: dict[str, Schema] = {
    "GET /info": _ref("ServerInfo"),
    "GET /list": _list("buckets", _ref("BucketInfo")),
    "GET /me": _ref("Token"),
    "GET /openapi.json": {"type": "object"},
    "GET /b/{bucket}": _object(
        info=_ref("BucketInfo"),
        settings=_ref("BucketSettings"),
        entries={"type": "array", "items": _ref("EntryInfo")},
    ),
    "POST /b/{bucket}/{entry*}/q": _QUERY_ANSWER,
    "GET /b/{bucket}/{entry*}/q": _object(id=U64),
    "DELETE /b/{bucket}/{entry*}/q": _object(removed_records=U64),
    "POST /io/{bucket}/q": _QUERY_ANSWER,
    "POST /links/{file*}": _object(link=TEXT),
    "GET /tokens": _list("tokens", _ref("Token")),
    "GET /tokens/{name}": _ref("Token"),
    "POST /tokens/{name}": _ref("Issued"),
    "POST /tokens/{name}/rotate": _ref("Issued"),
    "GET /replications": _list("replications", _ref("ReplicationInfo")),
    "GET /replications/{name}": _ref("Replication"),
    "GET /lifecycles": _list("lifecycles", _ref("LifecycleInfo")),
    "GET /lifecycles/{name}": _ref("Lifecycle"),
}
"""Of 200; what is not here has no body, or contents of records."""


def components() -> dict[str, Schema]:
    """All schemas by name."""
    _, decoded = msgspec.json.schema_components((Settings, NewName, Mode), ref_template=REF)
    return {**decoded, **COMPONENTS}
