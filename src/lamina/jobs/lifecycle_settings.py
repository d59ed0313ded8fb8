"""What a lifecycle policy is told to do, checked (contract reductstore 15)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, get_args

from lamina.errors import InvalidArgument, NotFound
from lamina.jobs import members
from lamina.records.condition import Condition, compile_condition
from lamina.records.condition.literal import parse_duration
from lamina.records.patterns import EntryPatterns

Type = Literal["delete", "compress"]
Mode = Literal["enabled", "disabled", "dry_run"]
TYPES: tuple[Type, ...] = get_args(Type)
MODES: tuple[Mode, ...] = get_args(Mode)

MINUTE_US = 60_000_000
LEAST_AGE_US, LEAST_INTERVAL_US = 60 * MINUTE_US, 10 * MINUTE_US
INTERVAL = "3600s"
PROCESSING_INTERVALS = 24
"""So many intervals of data are worked on in a run, if nothing else is said."""


class LifecycleSettings(NamedTuple):
    """Durations are texts, as they were given."""

    type: Type
    bucket: str
    entries: list[str]
    older_than: str
    interval: str
    processing_interval: str | None
    when: Any  # JSON as it was given
    mode: Mode

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> LifecycleSettings:
        """From a request's object, or from a catalog row. Raises InvalidArgument for members that are missing or of
        the wrong type."""
        return cls(
            members.word(given, "type", TYPES),
            members.text(given, "bucket"),
            members.texts(given, "entries"),
            members.text(given, "older_than"),
            members.text(given, "interval", INTERVAL),
            None if given.get("processing_interval") is None else members.text(given, "processing_interval"),
            given.get("when"),
            members.word(given, "mode", MODES),
        )

    @property
    def older_than_us(self) -> int:
        return _duration("older_than", self.older_than)

    @property
    def interval_us(self) -> int:
        return _duration("interval", self.interval)

    @property
    def processing_us(self) -> int:
        if self.processing_interval is None:
            return PROCESSING_INTERVALS * self.interval_us
        return _duration("processing_interval", self.processing_interval)

    @property
    def patterns(self) -> EntryPatterns:
        return EntryPatterns.of(self.entries)

    @property
    def condition(self) -> Condition:
        """Raises InvalidArgument."""
        try:
            return compile_condition(self.when)
        except InvalidArgument as error:
            raise InvalidArgument(f"Invalid lifecycle condition: {error}") from None

    def check(self, name: str, bucket_exists: Callable[[str], bool]) -> None:
        """In the contract's order. Raises InvalidArgument, NotFound (bucket)."""
        if not bucket_exists(self.bucket):
            raise NotFound(f"Bucket '{self.bucket}' for lifecycle '{name}' does not exist")
        if self.older_than_us < LEAST_AGE_US:
            raise InvalidArgument(
                f"Lifecycle older_than '{self.older_than}' is shorter than minimum allowed value of 1h"
            )
        if self.interval_us < LEAST_INTERVAL_US:
            raise InvalidArgument(f"Lifecycle interval '{self.interval}' is shorter than minimum allowed value of 10m")
        if self.processing_us <= 0:
            raise InvalidArgument(f"Lifecycle processing_interval '{self.processing_interval}' must be positive")
        if self.type == "compress" and self.when is not None:
            raise InvalidArgument("Lifecycle type 'compress' does not support 'when' condition")
        if self.condition.directives.ext is not None:
            raise InvalidArgument("Lifecycle condition cannot use '#ext' directive")
        _ = self.patterns


def _duration(member: str, text: str) -> int:
    """µs. Raises InvalidArgument."""
    try:
        found = parse_duration(text)
    except InvalidArgument as error:
        raise InvalidArgument(f"Invalid lifecycle {member} '{text}': {error}") from None
    if found is None:
        raise InvalidArgument(f"Invalid lifecycle {member} '{text}': expected a duration such as 90m, 1h or 1d 12h")
    return found.us
