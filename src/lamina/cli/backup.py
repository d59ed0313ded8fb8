"""`lamina backup`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def backup(
    dir: Annotated[Path, typer.Argument(help="Database directory, in use or not.", exists=True, file_okay=False)],
    dest: Annotated[Path, typer.Argument(help="New directory for the copy; must not exist or be empty.")],
) -> None:
    """Copy a database as it is at one moment, while it is in use. The copy is a database of its own."""
    from lamina.cli.progress import bar, quantity
    from lamina.ops.backup import backup as copy

    with bar("backup", "bytes") as report:
        size = copy(dir, dest, report)
    print(
        f"backed up {dir} to {dest} ({quantity(size, 'bytes')}); "
        f"bring it back into a new directory with: lamina restore {dest} NEW_DIR"
    )
