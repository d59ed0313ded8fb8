"""The server itself: what it is, which buckets the caller may see, whether it lives (contract 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lamina.faces.reduct.config import VERSION
from lamina.faces.reduct.errors import Refused
from lamina.ops.health import health

if TYPE_CHECKING:
    from lamina.engine.records.settings import BucketInfo
    from lamina.faces.reduct.app import Face
    from lamina.faces.reduct.call import Call

NS_PER_S = 1_000_000_000


async def info(call: Call) -> None:
    await call.answer_json(await call.run(server_info, call.face))


def server_info(face: Face) -> dict[str, Any]:
    """ServerInfo. Buckets without records have no say in the times."""
    infos = [bucket.info() for bucket in face.db.buckets.list()]
    filled = [info for info in infos if info.latest_record or info.oldest_record or _has_records(face, info)]
    return {
        "version": VERSION,
        "instance_name": face.config.instance_name,
        "instance_role": face.config.instance_role,
        "bucket_count": len(infos),
        "usage": sum(info.size for info in infos),
        "uptime": (face.clock.monotonic_ns() - face.began_ns) // NS_PER_S,
        "oldest_record": min((info.oldest_record for info in filled), default=0),
        "latest_record": max((info.latest_record for info in filled), default=0),
        "defaults": {"bucket": face.db.buckets.defaults._asdict()},
        "license": None,
    }


def _has_records(face: Face, info: BucketInfo) -> bool:
    """Of a bucket whose times are both 0: a record at 0 is one, too."""
    bucket = face.db.buckets.find(info.name)
    return bucket is not None and any(entry.record_count for entry in bucket.entry_infos())


async def list_buckets(call: Call) -> None:
    infos = await call.run(lambda: [bucket.info() for bucket in call.face.db.buckets.list()])
    seen = [info._asdict() for info in infos if call.principal.may_read_bucket(info.name)]
    await call.answer_json({"buckets": seen})


async def alive(call: Call) -> None:
    await call.done()


async def ready(call: Call) -> None:
    state = health(call.face.db)
    if not state.serving:
        raise Refused(503, state.reason)
    await call.done()
