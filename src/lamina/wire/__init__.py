"""What a server and `lamina.connect` agree on: the table of calls, and how each kind of value travels.

`calls` is the table. Arguments are JSON (`kinds` says which values), columns are Arrow IPC streams (`arrow`), contents
are bytes, iterations come in frames (`frames`), errors as name and text (`failures`). Nothing here opens a database or
a connection, so that both sides may load it.
"""

VERSION = 1
"""Of the wire. A client and a server with different numbers do not talk; calls and members may be added to one."""

PREFIX = "api/lamina/v1/"
"""Under the base path of a server; a call is POST PREFIX + its name."""

JSON_TYPE = "application/json"
COLUMNS_TYPE = "application/vnd.apache.arrow.stream"
CONTENT_TYPE = "application/octet-stream"
FRAMES_TYPE = "application/vnd.lamina.frames"
CALL_TYPE = "application/vnd.lamina.call"
"""A body with a payload: u32 length of the JSON, the JSON, the payload."""
