"""Lifecycle policies: what happens to records that have become old."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Any

from pydantic import BaseModel, Field


class LifecycleType(str, Enum):  # noqa: UP042  # as texts they are told apart from their values
    """What becomes of old records."""

    DELETE = "delete"
    COMPRESS = "compress"  # readers do not notice


class LifecycleMode(str, Enum):  # noqa: UP042  # as texts they are told apart from their values
    """Whether a policy is at work."""

    ENABLED = "enabled"
    DISABLED = "disabled"
    DRY_RUN = "dry_run"  # count only


class LifecycleSettings(BaseModel):
    """Durations as texts: "30d", "10m"."""

    type: LifecycleType = LifecycleType.DELETE
    bucket: str
    entries: list[str] = Field(default_factory=list)  # names and patterns; all if empty
    older_than: str
    interval: str | None = None  # between runs
    processing_interval: str | None = None  # time of data that one run may look at
    when: dict[str, Any] | None = None
    mode: LifecycleMode = LifecycleMode.ENABLED


class LifecycleInfo(BaseModel):
    """A policy's name and state."""

    name: str
    is_provisioned: bool
    is_running: bool
    type: LifecycleType = LifecycleType.DELETE
    mode: LifecycleMode = LifecycleMode.ENABLED
    last_run: datetime | None = None


class LifecycleList(BaseModel):
    lifecycles: list[LifecycleInfo]


class LifecycleDetailInfo(BaseModel):
    """State and settings of a policy."""

    info: LifecycleInfo
    settings: LifecycleSettings
