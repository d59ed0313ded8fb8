"""Tokens, and what they allow."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field


class Permissions(BaseModel):
    """Buckets by name, or by a prefix that ends with `*`. Writing does not include reading."""

    full_access: bool = False
    read: list[str] = Field(default_factory=list)
    write: list[str] = Field(default_factory=list)


class TokenCreateRequest(BaseModel):
    """What a new token allows, and how long it lives."""

    permissions: Permissions
    expires_at: datetime | None = None
    ttl: int | None = None  # s without use
    ip_allowlist: list[str] = Field(default_factory=list)


class TokenCreateResponse(BaseModel):
    value: str  # shown this once
    created_at: datetime | None = None


class Token(BaseModel):
    """A token without its value."""

    name: str
    created_at: datetime
    is_provisioned: bool = False
    expires_at: datetime | None = None
    ttl: int | None = None  # s without use
    last_access: datetime | None = None
    is_expired: bool = False
    ip_allowlist: list[str] = Field(default_factory=list)  # addresses and CIDR blocks


class TokenList(BaseModel):
    """What `Client.get_token_list` is made of."""

    tokens: list[Token]


class FullTokenInfo(Token):
    """A token with what it allows."""

    permissions: Permissions
