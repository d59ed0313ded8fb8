"""The ReductStore face of a server: made of the configuration, with what the environment provisions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from lamina.access import Tokens
from lamina.access.bootstrap import Provision
from lamina.access.permissions import Permissions
from lamina.errors import AlreadyExists
from lamina.server.provision import Provisioned, TokenSpec
from lamina.time import to_ns

if TYPE_CHECKING:
    from lamina.engine.database import Database
    from lamina.faces.reduct.app import Face
    from lamina.jobs import Jobs
    from lamina.server.config import Config

SAVE_S = 5.0
"""Last uses of tokens are looked at so often; each is written at most once a minute."""


def provision_of(spec: TokenSpec) -> Provision:
    """Raises InvalidArgument (time)."""
    expires_us = 0 if spec.expires_at is None else to_ns(spec.expires_at) // 1000
    permissions = Permissions.of({"full_access": spec.full_access, "read": spec.read, "write": spec.write})
    return Provision(spec.name, spec.value, permissions, expires_us)


def provision_buckets(db: Database, provisioned: Provisioned) -> None:
    """Make or change the buckets that the environment asks for; those of an earlier start that it does not ask for
    any more live on as ordinary ones. Raises InvalidArgument (name, setting)."""
    db.buckets.defaults = db.buckets.defaults.changed(provisioned.defaults)
    wanted = {spec.name: spec.settings for spec in provisioned.buckets}
    for name, settings in wanted.items():
        try:
            db.buckets.create(name, settings, provisioned=True)
        except AlreadyExists:
            db.buckets.update(db.buckets.get(name), settings, provisioned=True)
    for bucket in db.buckets:
        if bucket.provisioned and bucket.name not in wanted and not bucket.name.startswith("$"):
            db.buckets.update(bucket, {}, provisioned=False)


@asynccontextmanager
async def open_face(db: Database, tokens: Tokens | None, config: Config, jobs: Jobs) -> AsyncIterator[Face]:
    """The face of an open database."""
    from lamina.faces.reduct.app import Face
    from lamina.faces.reduct.config import BatchLimits, FaceConfig

    limits = BatchLimits()
    face = Face(
        db,
        tokens,
        FaceConfig(
            base_path=config.api_base,
            public_url=f"{config.public_url}/" if config.public_url else "",
            instance_name=config.instance_name,
            instance_role=config.instance_role,
            batch=BatchLimits(
                records=config.batch.records,
                content_bytes=config.batch.size,
                header_bytes=min(config.batch.metadata_size, limits.header_bytes),
            ),
        ),
        replications=jobs.replications,
        lifecycles=jobs.lifecycles,
        observer=jobs.observer,
    )
    saving = asyncio.create_task(_save_uses(tokens)) if tokens is not None else None
    try:
        yield face
    finally:
        if saving is not None:
            saving.cancel()
        await asyncio.to_thread(face.close)
        if tokens is not None:
            await asyncio.to_thread(tokens.close)


async def _save_uses(tokens: Tokens) -> None:
    while True:
        await asyncio.sleep(SAVE_S)
        await asyncio.to_thread(tokens.save_uses)
