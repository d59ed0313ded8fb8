"""gRPC as BTrDB clients speak it: the services /v5api.BTrDB and /grpcinterface.BTrDB over one open database.

Read in this order: `server.py` (listeners), `calls.py` (what every call goes through), `v5.py` and `v4.py` (methods
by name), then the methods: `reads.py`, `joins.py`, `csv.py`, `writes.py`, `metadata.py`, `metadata_4.py`, `info.py`,
`subscribe.py`. They decode and encode; what the calls mean, without a wire, is in `service`. `wire.py` and `arrow.py`
turn columns into bytes and back, `errors.py` turns errors into status codes.
No state but the calls under way. What clients rely on: contracts/btrdb.md.
"""
