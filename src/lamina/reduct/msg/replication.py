"""Replications to buckets of other servers."""

from __future__ import annotations

from enum import Enum
from typing import Any

from pydantic import BaseModel


class ReplicationMode(str, Enum):  # noqa: UP042  # as texts they are told apart from their values
    """Whether a replication is at work."""

    ENABLED = "enabled"
    PAUSED = "paused"  # changes are kept, and sent later
    DISABLED = "disabled"  # changes are not kept


class ReplicationCompression(str, Enum):  # noqa: UP042  # as texts they are told apart from their values
    """Of contents on their way."""

    NONE = "none"
    ZSTD = "zstd"
    GZIP = "gzip"


class ReplicationSettings(BaseModel):
    """What is sent where."""

    src_bucket: str
    dst_bucket: str
    dst_host: str  # URL
    dst_token: str | None = None  # never shown
    entries: list[str] = []  # names and patterns; all if empty
    dst_prefix: str = ""
    when: dict[str, Any] | None = None
    mode: ReplicationMode = ReplicationMode.ENABLED
    compression: ReplicationCompression = ReplicationCompression.NONE


class ReplicationInfo(BaseModel):
    """A replication's name and state."""

    name: str
    is_provisioned: bool
    is_active: bool  # the destination is reachable
    mode: ReplicationMode = ReplicationMode.ENABLED
    pending_records: int


class ReplicationList(BaseModel):
    replications: list[ReplicationInfo]


class ReplicationDiagnosticsError(BaseModel):
    count: int
    last_message: str


class ReplicationDiagnosticsDetail(BaseModel):
    ok: int
    errored: int
    errors: dict[int, ReplicationDiagnosticsError]  # by status


class ReplicationDiagnostics(BaseModel):
    hourly: ReplicationDiagnosticsDetail


class ReplicationDetailInfo(BaseModel):
    """Errors of the last hour, state and settings of a replication."""

    diagnostics: ReplicationDiagnostics
    info: ReplicationInfo
    settings: ReplicationSettings
