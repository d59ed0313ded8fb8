"""Which entries a list of names and patterns selects (contract 8.5)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

from lamina.errors import InvalidArgument
from lamina.records.names import is_meta, parent_of_meta

Segments: TypeAlias = tuple[tuple[str, ...], ...]
"""Neighbouring segments of a pattern, each as the pieces between its stars."""


class EntryPatterns(NamedTuple):
    """Names and patterns, included and excluded. Matching is linear in pattern and name for each pattern.

    `$meta` entries match by their exact name only; with `meta_with_parent` also where their parent matches.
    """

    exact: frozenset[str]
    wild: tuple[_Wild, ...]
    not_exact: frozenset[str]
    not_wild: tuple[_Wild, ...]
    meta_with_parent: bool

    @classmethod
    def of(cls, patterns: Sequence[str] | None, *, meta_with_parent: bool = False) -> EntryPatterns:
        """No patterns and only exclusions both start from everything. Raises InvalidArgument for what is no text."""
        exact: tuple[set[str], set[str]] = (set(), set())
        wild: tuple[list[_Wild], list[_Wild]] = ([], [])
        included = False
        for pattern in patterns or ():
            if not isinstance(pattern, str):
                raise InvalidArgument(f"Entry pattern must be a string, not {type(pattern).__name__}")
            excludes = pattern.startswith("!")
            included |= not excludes
            name = pattern[excludes:].removeprefix("/")
            if "*" in name:
                wild[excludes].append(_Wild.of(name))
            else:
                exact[excludes].add(name)
        if not included:
            wild[0].append(_Wild.of("*"))
        return cls(frozenset(exact[0]), tuple(wild[0]), frozenset(exact[1]), tuple(wild[1]), meta_with_parent)

    def matches(self, name: str) -> bool:
        if name in self.not_exact:
            return False
        if is_meta(name):
            return name in self.exact or (self.meta_with_parent and self.matches(parent_of_meta(name)))
        if name not in self.exact and not any(wild.matches(name) for wild in self.wild):
            return False
        return not any(wild.matches(name) for wild in self.not_wild)

    def select(self, names: Iterable[str]) -> list[str]:
        """Those that match, in the order given."""
        return [name for name in names if self.matches(name)]


class _Wild(NamedTuple):
    """A pattern with a star in it."""

    prefix: str | None  # every name that begins so, slashes included; None: segment by segment
    groups: tuple[Segments, ...]  # runs of segments between `**`

    @classmethod
    def of(cls, pattern: str) -> _Wild:
        if pattern == "**" or (pattern.find("*") == len(pattern) - 1 and "/" not in pattern):
            return cls(pattern.rstrip("*"), ())
        groups: list[list[tuple[str, ...]]] = [[]]
        for segment in pattern.split("/"):
            if segment == "**":
                groups.append([])
            else:
                groups[-1].append(tuple(segment.split("*")))
        return cls(None, tuple(map(tuple, groups)))

    def matches(self, name: str) -> bool:
        if self.prefix is not None:
            return name.startswith(self.prefix)
        segments = name.split("/")
        first, last = self.groups[0], self.groups[-1]
        if len(self.groups) == 1:
            return len(segments) == len(first) and _matches_at(first, segments, 0)
        end = len(segments) - len(last)
        at = len(first)
        if at > end or not _matches_at(first, segments, 0) or not _matches_at(last, segments, end):
            return False
        for group in self.groups[1:-1]:  # the earliest place leaves the most to those that follow
            while at + len(group) <= end and not _matches_at(group, segments, at):
                at += 1
            at += len(group)
            if at > end:
                return False
        return True


def _matches_at(group: Segments, segments: list[str], at: int) -> bool:
    return len(segments) - at >= len(group) and all(map(_matches_segment, group, segments[at : at + len(group)]))


def _matches_segment(pieces: tuple[str, ...], segment: str) -> bool:
    """Whether the pieces occur in this order, the first at the start and the last at the end."""
    first, last = pieces[0], pieces[-1]
    if len(pieces) == 1:
        return segment == first
    at, end = len(first), len(segment) - len(last)
    if at > end or not segment.startswith(first) or not segment.endswith(last):
        return False
    for piece in pieces[1:-1]:
        at = segment.find(piece, at, end)
        if at < 0:
            return False
        at += len(piece)
    return True
