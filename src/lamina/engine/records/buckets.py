"""All buckets of a database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from lamina.catalog.catalog import CatalogSnapshot
from lamina.catalog.rows import BucketRow
from lamina.engine.metadata import Change
from lamina.engine.records.settings import BucketSettings
from lamina.engine.records.store import bucket_row
from lamina.errors import AlreadyExists, Conflict, InvalidArgument, NotFound
from lamina.records.names import check_bucket_name

if TYPE_CHECKING:
    from lamina.engine.records.bucket import Bucket
    from lamina.engine.records.entry_slot import EntrySlot
    from lamina.engine.records.store import RecordStore


class Buckets:
    """`db.buckets`: create, look up, rename and remove buckets. Thread-safe.

    `len(db.buckets)` is their number, iterating gives all by name, `db.buckets[name]` is the one of that name.
    `defaults` are the settings of new buckets where nothing else is said.
    """

    def __init__(self, store: RecordStore) -> None:
        self._store = store
        self.defaults = BucketSettings()
        store.facade = self

    def __repr__(self) -> str:
        return f"<lamina.Buckets n={len(self)}>"

    def create(
        self,
        name: str,
        settings: Mapping[str, Any] | None = None,
        *,
        exist_ok: bool = False,
        provisioned: bool = False,
        system: bool = False,
        **members: Any,
    ) -> Bucket:
        """A new, empty bucket; durable when this returns. With `exist_ok` one that exists is returned as it is.

        Settings, as a mapping or by keyword: quota_type ("NONE", "FIFO", "HARD"), quota_size (bytes), max_block_size
        (bytes of content), max_block_records; None and absent ones are the defaults. `system`: a name that begins
        with `$`. Raises AlreadyExists, InvalidArgument, Unavailable, NoSpace.
        """
        store = self._store
        check_bucket_name(name, system=system)
        _check_names(members)
        chosen = self.defaults.changed({**(settings or {}), **members})
        store.check_writable(0)
        made: list[BucketRow] = []

        def decide(_: CatalogSnapshot) -> Change:
            if name in store.by_name:
                raise AlreadyExists(f"Bucket '{name}' already exists")
            made.append(BucketRow(store.next_id(), name, chosen._asdict(), provisioned, store.clock.wall_us(), 0))
            return Change(made)

        try:
            store.metadata.change(decide, applied=lambda: store.add_bucket(made[0]))
        except AlreadyExists:
            if not exist_ok:
                raise
        return self.get(name)

    def get(self, name: str) -> Bucket:
        """Raises NotFound."""
        bucket = self._store.by_name.get(name)
        if bucket is None:
            raise NotFound(f"Bucket '{name}' is not found")
        return bucket

    __getitem__ = get

    def find(self, name: str) -> Bucket | None:
        """The bucket of a name, None if there is none."""
        return self._store.by_name.get(name)

    def __contains__(self, name: str) -> bool:
        return name in self._store.by_name

    def list(self) -> list[Bucket]:
        """All buckets by name (bytes)."""
        with self._store.lock:
            return sorted(self._store.by_name.values(), key=lambda bucket: bucket.name.encode())

    def __iter__(self) -> Iterator[Bucket]:
        return iter(self.list())

    def __len__(self) -> int:
        return len(self._store.by_name)

    def update(self, bucket: Bucket, settings: Mapping[str, Any], *, provisioned: bool | None = None) -> None:
        """Change settings of a bucket; a FIFO quota that was lowered is kept at once. Raises Conflict (provisioned,
        unless that is what changes), NotFound, InvalidArgument."""
        _check_names(settings)
        store = self._store
        store.check_writable(0)
        changed: list[BucketSettings] = []

        def decide(catalog: CatalogSnapshot) -> Change:
            row = _living(catalog, bucket)
            if row.provisioned and provisioned is None:
                raise Conflict(f"Can't change settings of provisioned bucket '{bucket.name}'")
            changed.append(bucket.settings.changed(settings))
            flag = row.provisioned if provisioned is None else provisioned
            new = row._replace(settings=changed[0]._asdict(), provisioned=flag)
            return Change() if new == row else Change([new])

        def applied() -> None:
            bucket.apply(changed[0])
            if provisioned is not None:
                bucket.provisioned = provisioned

        store.metadata.change(decide, applied=applied)
        from lamina.engine.records import quota

        quota.shrink(bucket)

    def rename(self, old: str, new: str) -> None:
        """Give a bucket another name. Raises InvalidArgument (name), AlreadyExists, NotFound, Conflict
        (provisioned)."""
        store = self._store
        check_bucket_name(new)
        store.check_writable(0)

        def decide(catalog: CatalogSnapshot) -> Change:
            if new in store.by_name:
                raise AlreadyExists(f"Bucket '{new}' already exists")
            row = _living(catalog, self.get(old))
            if row.provisioned:
                raise Conflict(f"Can't rename provisioned bucket '{old}'")
            return Change([row._replace(name=new)])

        def applied() -> None:
            with store.lock:
                bucket = store.by_name.pop(old)
                bucket.name = new
                store.by_name[new] = bucket

        store.metadata.change(decide, applied=applied)

    def remove(self, name: str) -> None:
        """Remove a bucket with all it holds; gone when this returns. Raises NotFound, Conflict (provisioned)."""
        store = self._store
        store.check_writable(0, essential=True)
        bucket = self.get(name)
        bucket.load_now()
        going: list[EntrySlot] = []

        def decide(catalog: CatalogSnapshot) -> Change:
            row = _living(catalog, self.get(name))
            if row.provisioned:
                raise Conflict(f"Can't remove provisioned bucket '{name}'")
            going[:] = bucket.slots.values()
            seq, change = store.burying(going, catalog)
            if seq:
                change.puts.append(row._replace(dead=seq))
            else:
                change.deletes.append(("bucket", row.id))
            return change

        def applied() -> None:
            with store.lock:
                del store.by_name[name]
                del store.buckets[bucket.id]
                bucket.replace_slots({})
            store.bury(going)

        try:
            store.metadata.change(decide, essential=True, applied=applied)
        except BaseException:
            store.stay(going)
            raise


def _check_names(settings: Mapping[str, Any]) -> None:
    for name in settings:
        if name not in BucketSettings._fields:
            raise InvalidArgument(f"setting {name!r} of a bucket: expected one of {', '.join(BucketSettings._fields)}")


def _living(catalog: CatalogSnapshot, bucket: Bucket) -> BucketRow:
    row = bucket_row(catalog, bucket.id)
    if row is None or row.dead:
        raise NotFound(f"Bucket '{bucket.name}' is not found")
    return row
