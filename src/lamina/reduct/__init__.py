"""ReductStore's own classes, on a server or on a directory: `reduct-py` programs run with this import instead.

    from lamina.reduct import Client

    async with Client("./data") as client:                   # or "http://127.0.0.1:8383"
        bucket = await client.create_bucket("my-bucket", exist_ok=True)
        await bucket.write("entry", b"content", labels={"score": 0.9})
        async for record in bucket.query("entry", when={"&score": {"$gt": 0.5}}):
            print(record.timestamp, await record.read_all())

`client` -> `bucket` -> `query`, `batch` say what is asked for; `connection` makes requests of it, and `transport` takes
them to a server or to the HTTP application of this process. So both answer alike. Needs the extra `client`.
"""

try:
    import pydantic  # noqa: F401  # the first of the extra that is missed
except ModuleNotFoundError as missing:
    hint = "lamina.reduct needs more packages: pip install 'lamina[client]'"
    raise ModuleNotFoundError(hint, name=missing.name) from None

from lamina.reduct.batch import Batch, RecordBatch
from lamina.reduct.bucket import Bucket
from lamina.reduct.client import Client
from lamina.reduct.error import ReductError
from lamina.reduct.msg.bucket import BucketFullInfo, BucketInfo, BucketSettings, EntryInfo, QuotaType, Status
from lamina.reduct.msg.lifecycle import (
    LifecycleDetailInfo,
    LifecycleInfo,
    LifecycleMode,
    LifecycleSettings,
    LifecycleType,
)
from lamina.reduct.msg.replication import (
    ReplicationCompression,
    ReplicationDetailInfo,
    ReplicationInfo,
    ReplicationMode,
    ReplicationSettings,
)
from lamina.reduct.msg.server import BucketList, Defaults, LicenseInfo, ServerInfo
from lamina.reduct.msg.token import FullTokenInfo, Permissions, Token, TokenCreateRequest, TokenList
from lamina.reduct.record import Record

__all__ = [
    "Batch",
    "Bucket",
    "BucketFullInfo",
    "BucketInfo",
    "BucketList",
    "BucketSettings",
    "Client",
    "Defaults",
    "EntryInfo",
    "FullTokenInfo",
    "LicenseInfo",
    "LifecycleDetailInfo",
    "LifecycleInfo",
    "LifecycleMode",
    "LifecycleSettings",
    "LifecycleType",
    "Permissions",
    "QuotaType",
    "Record",
    "RecordBatch",
    "ReductError",
    "ReplicationCompression",
    "ReplicationDetailInfo",
    "ReplicationInfo",
    "ReplicationMode",
    "ReplicationSettings",
    "ServerInfo",
    "Status",
    "Token",
    "TokenCreateRequest",
    "TokenList",
]
