"""Lamina's own protocol, for `lamina.connect`: the native API as calls over HTTP (docs/connect.md).

`lamina.wire.calls` is the table of what may be asked; `answers` says which method of the engine answers each, `app`
takes the requests, `portions` makes answers of what the methods give, `handles` keeps what a client has open.
"""

from lamina.faces.native.app import Face, FaceConfig

__all__ = ["Face", "FaceConfig"]
