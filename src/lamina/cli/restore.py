"""`lamina restore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def restore(
    src: Annotated[Path, typer.Argument(help="What `lamina backup` made.", exists=True, file_okay=False)],
    dir: Annotated[Path, typer.Argument(help="New database directory; must not exist or be empty.")],
) -> None:
    """Make a database directory from a backup. The backup stays as it is."""
    from lamina.cli.progress import bar, quantity
    from lamina.ops.backup import restore as copy

    with bar("restore", "bytes") as report:
        size = copy(src, dir, report)
    print(f"restored {src} to {dir} ({quantity(size, 'bytes')}); serve it with: lamina serve {dir}")
