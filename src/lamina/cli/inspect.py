"""`lamina inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def inspect(
    path: Annotated[Path, typer.Argument(help="A database directory, or one file of it.", exists=True)],
) -> None:
    """Show what is on disk, readable. Takes no lock: works on a directory in use."""
    from lamina.ops.inspect import inspect as lines

    for line in lines(path):
        print(line)
