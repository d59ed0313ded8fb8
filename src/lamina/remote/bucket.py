"""One bucket on a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lamina.engine.records.settings import BucketInfo, BucketSettings, EntryInfo
from lamina.errors import LaminaError, NotFound
from lamina.remote.entry import Entry
from lamina.remote.record import Source, selection
from lamina.remote.selection import Selection
from lamina.time import TimeLike

if TYPE_CHECKING:
    from lamina.remote.database import Database


class Bucket:
    """A handle on a bucket of a server, as `lamina.Bucket`; it stays with its bucket where that is renamed or removed.
    `name` is what the bucket was called when the handle was asked for; `settings`, `provisioned` and `size` are a round
    trip each."""

    def __init__(self, db: Database, id: int, name: str, created_us: int) -> None:
        self._db = db
        self._link = db._link
        self.id = id
        self.name = name
        self.created_us = created_us
        self._place = [id, name]
        self._contents = "record", {"bucket": self._place}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bucket) and other.id == self.id and other._db is self._db

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<lamina.remote.Bucket {self.name!r}>"

    def _repr_html_(self) -> str:
        from lamina.notebook import bucket_html

        return bucket_html(self)

    def _call(self, method: str, **arguments: Any) -> Any:
        return self._link.call(f"bucket/{method}", bucket=self._place, **arguments)

    # -- entries -------------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Names of all entries, attachments too, sorted by bytes."""
        found: list[str] = self._call("names")
        return found

    def entry(self, name: str) -> Entry:
        """A handle on an entry by name; reading one that does not exist raises NotFound, writing makes it. No round
        trip."""
        return Entry(self, name)

    def find_entry(self, name: str) -> Entry | None:
        """The entry of a name, None if there is none."""
        return Entry(self, name) if self._call("has_entry", name=name) else None

    def existing_entry(self, name: str) -> Entry:
        """Raises NotFound."""
        entry = self.find_entry(name)
        if entry is None:
            raise NotFound(f"Entry '{name}' not found in bucket '{self.name}'")
        return entry

    def ensure_entries(self, names: Sequence[str]) -> list[Entry]:
        """The entries of these names; missing ones and their parents are made, durably, in one change."""
        self._call("ensure_entries", names=list(names))
        return [Entry(self, name) for name in names]

    def remove_entry(self, name: str) -> None:
        """Remove an entry with everything below it. Raises NotFound, InvalidArgument."""
        self._call("remove_entry", name=name)

    def rename_entry(self, old: str, new: str) -> None:
        """Move an entry with everything below it. Raises InvalidArgument (name), AlreadyExists, NotFound."""
        self._call("rename_entry", old=old, new=new)

    # -- what it is ----------------------------------------------------------------------------------------------

    def update(self, settings: Mapping[str, Any]) -> None:
        """Change the given settings, None and absent ones stay. Full access. Raises Conflict (provisioned)."""
        self._db.buckets.update(self, settings)

    @property
    def settings(self) -> BucketSettings:
        """Its settings now."""
        found: BucketSettings = self._call("settings")
        return found

    @property
    def provisioned(self) -> bool:
        """Whether it is one of the server's configuration."""
        return self.info().is_provisioned

    @property
    def size(self) -> int:
        """Bytes of contents and metadata, as `info` reports them."""
        return self.info().size

    def info(self) -> BucketInfo:
        """Sizes and times now. Attachments count in the size alone."""
        found: BucketInfo = self._call("info")
        return found

    def entry_infos(self) -> list[EntryInfo]:
        """By name (bytes), without attachments."""
        found: list[EntryInfo] = self._call("entry_infos")
        return found

    def query(
        self,
        entries: Sequence[str] | None = None,
        start: TimeLike | None = None,
        stop: TimeLike | None = None,
        *,
        when: Mapping[str, Any] | str | None = None,
        strict: bool = False,
    ) -> Selection:
        """Records of several entries, merged by time, then name: names and patterns (`line-*`, `**/camera`, `!test`),
        None or [] all. As `lamina.Bucket.query`."""
        source = Source(self._link, "bucket", {"bucket": self._place}, self.name, self._contents)
        wanted = None if entries is None else list(entries)
        return Selection(source, entries=wanted, **selection(start, stop, when, strict))

    # -- changing ------------------------------------------------------------------------------------------------

    def update_labels(self, updates: Sequence[tuple[str, int, Mapping[str, str]]]) -> list[LaminaError | None]:
        """Change labels of records, given as (entry, time, {label: new value, "" removes it}); durable when it returns.
        Per update None, or what was wrong with it."""
        found: list[LaminaError | None] = self._call(
            "update_labels", updates=[(entry, time, dict(labels)) for entry, time, labels in updates]
        )
        return found

    def remove_records(self, records: Sequence[tuple[str, int]]) -> list[LaminaError | None]:
        """Remove records, given as (entry, time); durable when it returns. Per record None, or what was wrong."""
        found: list[LaminaError | None] = self._call("remove_records", records=list(records))
        return found
