"""Many records in one request: `Batch` for one entry (protocol v1), `RecordBatch` for several (v2)."""

from lamina.reduct.batch.common import Batch, RecordBatch

__all__ = ["Batch", "RecordBatch"]
