"""Which versions may go: `oldest_version` moves forward, never back; compaction takes the space later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lamina.catalog.catalog import CatalogSnapshot
from lamina.catalog.rows import SettingRow
from lamina.engine.metadata import Change
from lamina.errors import InvalidArgument, StreamNotFound, Unavailable
from lamina.streams import history
from lamina.streams.state import FIRST_VERSION
from lamina.streams.versions import version_at_seq

if TYPE_CHECKING:
    from lamina.engine.database import Database
    from lamina.engine.stream import Stream

SETTING = "retention"
"""Name of the database-wide rule among the settings."""


def check_rule(rule: Mapping[str, int]) -> dict[str, int]:
    """{"versions": n} or {"seconds": s}, both at least 1. Raises InvalidArgument."""
    checked = dict(rule)
    if len(checked) != 1 or next(iter(checked)) not in ("versions", "seconds"):
        raise InvalidArgument(f'retention {dict(rule)!r}: expected {{"versions": n}} or {{"seconds": s}}')
    value = next(iter(checked.values()))
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidArgument(f"retention {dict(rule)!r}: expected a whole number of at least 1")
    return checked


def set_default(db: Database, rule: Mapping[str, int] | None) -> None:
    """The rule for streams without one of their own, durable; None: keep all versions. Raises InvalidArgument."""
    if rule is None:
        db.metadata.delete("setting", SETTING)
    else:
        db.metadata.put([SettingRow(SETTING, dict(check_rule(rule)))])


def prune(db: Database, stream: Stream, version: int) -> int:
    """Give up the versions below `version`, as far as named snapshots allow; the oldest kept.

    Raises InvalidArgument (above the latest version), StreamNotFound."""
    slot = stream.slot
    if version > slot.state.version:
        raise InvalidArgument(f"oldest version {version} is above the latest, {slot.state.version}")

    def decide(catalog: CatalogSnapshot) -> Change:
        row = catalog.stream(slot.id)
        if row is None:
            raise StreamNotFound("stream does not exist")
        pinned = [version_at_seq(slot.state, pin.seq, db.read) for pin in catalog.pins()]
        allowed = min([version, *pinned])
        if allowed <= max(row.oldest_version, FIRST_VERSION):
            return Change()
        return Change([row._replace(oldest_version=allowed)])

    try:
        db.metadata.change(decide, essential=True)
    except Unavailable:
        slot.oldest = max(slot.oldest, stream.row().oldest_version)  # it may be in the catalog all the same
        raise
    slot.oldest = max(slot.oldest, stream.row().oldest_version)
    return slot.oldest


def due(db: Database, stream: Stream, rule: Mapping[str, int]) -> int:
    """The oldest version that a rule keeps; 0 = all."""
    state = stream.slot.state
    if "versions" in rule:
        return max(state.version - rule["versions"] + 1, 0)
    horizon_us = db.clock.wall_us() - rule["seconds"] * 1_000_000
    oldest = 0
    for entry in history.entries(state.flushed.history, db.read):
        if entry.time_us > horizon_us:
            break
        oldest = entry.version
    if state.flushed.time_us <= horizon_us:
        oldest = state.flushed.version
    return oldest


def apply_rules(db: Database, trust_clock: bool) -> int:
    """One pass over all streams with a rule; how many were pruned. Rules by age wait unless the clock is trusted."""
    from lamina.engine.stream import Stream

    with db.catalog.snapshot() as catalog:
        setting = catalog.setting(SETTING)
    default = setting.value if setting is not None else None
    pruned = 0
    for row in db.streams.find_rows():
        rule = row.retention if row.retention is not None else default
        if not rule or ("seconds" in rule and not trust_clock):
            continue
        stream = Stream(db, db.slots.get(row))
        oldest = due(db, stream, rule)
        if oldest > max(row.oldest_version, FIRST_VERSION) and prune(db, stream, oldest) > row.oldest_version:
            pruned += 1
    return pruned
