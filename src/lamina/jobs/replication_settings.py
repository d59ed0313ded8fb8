"""What a replication is told to do, checked (contract reductstore 14)."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, get_args
from urllib.parse import urlsplit

from lamina.errors import InvalidArgument, NotFound
from lamina.jobs import members
from lamina.jobs.sender import Compression, Destination
from lamina.records.condition import Condition, compile_condition
from lamina.records.patterns import EntryPatterns

Mode = Literal["enabled", "paused", "disabled"]
MODES: tuple[Mode, ...] = get_args(Mode)
COMPRESSIONS: tuple[Compression, ...] = get_args(Compression)


class ReplicationSettings(NamedTuple):
    """`id` names the queue and is never shown."""

    id: str
    src_bucket: str
    dst_bucket: str
    dst_host: str
    dst_token: str  # "": none
    entries: list[str]
    dst_prefix: str
    when: Any  # JSON as it was given
    mode: Mode
    compression: Compression

    @classmethod
    def of(cls, given: Mapping[str, Any], id: str, token: str = "") -> ReplicationSettings:
        """From a request's object, or from a catalog row. `token`: what a null one means. Raises InvalidArgument for
        members that are missing or of the wrong type."""
        return cls(
            id,
            members.text(given, "src_bucket"),
            members.text(given, "dst_bucket"),
            members.text(given, "dst_host"),
            members.text(given, "dst_token", token),
            members.texts(given, "entries"),
            members.text(given, "dst_prefix", ""),
            given.get("when"),
            members.word(given, "mode", MODES),
            members.word(given, "compression", COMPRESSIONS),
        )

    def shown(self) -> dict[str, Any]:
        """As the contract returns them: without the token."""
        shown = self._asdict() | {"dst_token": None}
        del shown["id"]
        return shown

    @property
    def patterns(self) -> EntryPatterns:
        return EntryPatterns.of(self.entries, meta_with_parent=True)

    @property
    def condition(self) -> Condition:
        """Raises InvalidArgument."""
        try:
            return compile_condition(self.when)
        except InvalidArgument as error:
            raise InvalidArgument(f"Invalid replication condition: {error}") from None

    @property
    def destination(self) -> Destination:
        return Destination(self.dst_host, self.dst_bucket, self.dst_token, self.compression)

    def target(self, entry: str) -> str:
        """What an entry is called over there."""
        prefix = self.dst_prefix.strip("/")
        return f"{prefix}/{entry}" if prefix else entry

    def check(self, name: str, own_port: int, bucket_exists: Callable[[str], bool]) -> None:
        """In the contract's order. Raises InvalidArgument, NotFound (source bucket)."""
        host, port = _host(self.dst_host)
        if not bucket_exists(self.src_bucket):
            raise NotFound(f"Source bucket '{self.src_bucket}' for replication '{name}' does not exist")
        if self.src_bucket == self.dst_bucket and port == own_port and _is_here(host):
            raise InvalidArgument("Source and destination buckets must be different")
        _ = self.condition, self.patterns


def _host(url: str) -> tuple[str, int]:
    """Host and port of a destination. Raises InvalidArgument."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
        parts = urlsplit("")
    printable = url.isprintable() and " " not in url
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment or not printable:
        raise InvalidArgument(f"Invalid destination host '{url}'")
    if parts.username is not None or parts.password is not None:  # a secret that GET would return
        raise InvalidArgument(f"Invalid destination host '{url.replace(parts.netloc, '...')}'")
    return host, port if port is not None else (443 if parts.scheme == "https" else 80)


def _is_here(host: str) -> bool:
    """Whether a host names this machine."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
