"""A condition of a query, compiled once; queries over several entries start it once for each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from lamina.errors import InvalidArgument
from lamina.records.condition import prune
from lamina.records.condition.directives import Directives, parse_directives
from lamina.records.condition.evaluation import Evaluation
from lamina.records.condition.expression import And, Node, Nodes
from lamina.records.condition.legacy import Legacy, filters, thinning
from lamina.records.condition.literal import check_text, shown
from lamina.records.condition.parse import parse_members


class Condition(NamedTuple):
    """Immutable; may be shared by threads and queries."""

    directives: Directives
    steps: Nodes
    """All of these must be true, in this order; the first that is not decides."""

    def start(self, strict: bool) -> Evaluation:
        """State of one query over one entry. `strict`: an error ends the query instead of counting as false."""
        return Evaluation(self.steps, self.directives, strict)

    def may_match(self, stats: prune.Stats, t_min: int, t_max: int, *, strict: bool = True) -> bool:
        """False if no record of a section can pass, and a query that leaves the section out gives the same results.

        `stats` gives what the section knows of a label, None if none of its records has it; `t_min`, `t_max` are the
        times of its first and last record, µs. `strict` as the query runs; True holds for both. Always true where the
        condition has context, which may lie in the section.
        """
        return self.directives.has_context or prune.may_match(self.steps, prune.Section(stats, t_min, t_max), strict)


def compile_condition(when: object, *, legacy: Legacy | None = None) -> Condition:
    """From parsed JSON, whose members keep their order; None and {} pass everything.

    Legacy filters come before `when`, what thins out and limits after it. Raises InvalidArgument with the contract's
    messages (10.1 to 10.3, 10.7), beyond a depth of 32 operators and beyond 1,000 operators and operands. Cost:
    microseconds for each.
    """
    if when is None:
        when = {}
    if not isinstance(when, dict):
        raise InvalidArgument(f"Condition must be a JSON object: {shown(when)}")
    members = {check_text(name): value for name, value in when.items()}
    directives = parse_directives({name: value for name, value in members.items() if name.startswith("#")})
    nodes = parse_members({name: value for name, value in members.items() if not name.startswith("#")})
    if legacy is not None:
        nodes = (*filters(legacy), *nodes, *thinning(legacy))
    return Condition(directives, tuple(_flat(nodes)))


def _flat(nodes: Iterable[Node]) -> Iterator[Node]:
    """With the operands of each $and in its place: they are evaluated in the same order, with the same stops."""
    for node in nodes:
        if isinstance(node, And):
            yield from _flat(node.operands)
        else:
            yield node
