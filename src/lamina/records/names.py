"""What buckets and entries may be called (contract section 2; lengths: architecture section 15)."""

from __future__ import annotations

import re

from lamina.errors import InvalidArgument

META = "$meta"
"""Last segment of the hidden entry that holds the attachments of its parent (contract section 11)."""

MAX_SEGMENT_BYTES = 255  # what file systems allow one name: exports make a folder of each segment
MAX_NAME_BYTES = 1024

_SEGMENT = re.compile(r"[A-Za-z0-9_-]+\Z")


def check_bucket_name(name: str, *, system: bool = False) -> str:
    """The name itself. `system`: a reserved name, which begins with `$`, is right too. Raises InvalidArgument.

    An empty name is refused as well: no path of the protocol could reach such a bucket.
    """
    if not _SEGMENT.match(name[1:] if system and name.startswith("$") else name):
        raise InvalidArgument("Bucket or entry name can contain only letters, digests and [-,_] symbols")
    _check_length("Bucket", name)
    return name


def check_entry_name(name: str) -> str:
    """The name itself: segments joined by `/`, the last of which may be `$meta`. Raises InvalidArgument."""
    segments = name.split("/")
    if "" in segments:
        raise InvalidArgument("Entry name must be non-empty and must not contain empty path segments")
    if segments[-1] == META:
        segments.pop()
    if not all(_SEGMENT.match(segment) for segment in segments):
        raise InvalidArgument("Entry name can contain only letters, digits and [-,_,/] symbols or end with '/$meta'")
    _check_length("Entry", name)
    return name


def _check_length(what: str, name: str) -> None:
    """Of a name in ASCII."""
    longest = max(map(len, name.split("/")))
    if len(name) > MAX_NAME_BYTES or longest > MAX_SEGMENT_BYTES:
        raise InvalidArgument(
            f"{what} name '{name[:32]}...' has {len(name)} bytes and a segment of {longest}: "
            f"up to {MAX_NAME_BYTES} in all and {MAX_SEGMENT_BYTES} a segment are allowed"
        )


def parents(name: str) -> list[str]:
    """Names of all entries above this one, the topmost first: `a/b/c` gives `a`, `a/b`."""
    segments = name.split("/")
    return ["/".join(segments[:depth]) for depth in range(1, len(segments))]


def is_meta(name: str) -> bool:
    return name == META or name.endswith("/" + META)


def parent_of_meta(name: str) -> str:
    """The entry whose attachments a `$meta` entry holds; empty for a plain `$meta`."""
    assert is_meta(name), "only attachments have an owner"
    return name[: -len(META)].rstrip("/")
