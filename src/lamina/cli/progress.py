"""Progress of long work on stderr: how much, how fast, how long still. Silent where stderr is no terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Report = Callable[[int, int], None]
"""(done, total), both in the unit of the bar; total 0 while unknown."""


@contextmanager
def bar(description: str, unit: str) -> Iterator[Report]:
    """A progress bar; `unit` is "points", "rows", "streams", "bytes" and so on."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Amount(ProgressColumn):
        def render(self, task: Task) -> Text:
            total = f" / {quantity(task.total, unit)}" if task.total else ""
            return Text(f"{quantity(task.completed, unit)}{total}")

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{quantity(speed, unit)}/s" if speed else "", style="cyan")

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), Amount(), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(description, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total or None)


def quantity(n: float, unit: str) -> str:
    """A number of things in three digits: "12.3 M points", "456 kB"."""
    word = "B" if unit == "bytes" else " " + unit
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if n >= factor:
            return f"{n / factor:.3g} {prefix}{word}"
    return f"{n:.0f} B" if unit == "bytes" else f"{n:.0f}{word}"
