"""`lamina doctor`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def doctor(
    dir: Annotated[Path, typer.Argument(help="Database directory.", exists=True, file_okay=False)],
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Recover the log, set aside what nothing refers to. Takes the lock. Deletes nothing, mends no data.",
        ),
    ] = False,
    rebuild_catalog: Annotated[
        bool,
        typer.Option("--rebuild-catalog", help="Make the catalog anew from segments and log. Takes the lock."),
    ] = False,
) -> None:
    """Verify every file of a database: exit code 0 if sound, 1 with findings, 2 if it cannot be read at all.

    Without options nothing is changed and no lock is taken: works on a directory in use.
    """
    from lamina.cli.progress import bar
    from lamina.ops import doctor as work

    if rebuild_catalog:
        with bar("rebuild", "segments") as report:
            for line in work.rebuild_catalog(dir, report):
                print(line)
    if repair:
        for line in work.repair(dir):
            print(line)
    findings = 0
    with bar("verify", "streams and sections of records") as report:
        for finding in work.verify(dir, report, report):
            print(finding)
            findings += 1
    if findings:
        shown = "1 finding" if findings == 1 else f"{findings} findings"
        advice = (
            "left that no repair mends: bring back from a backup what is named"
            if repair
            else "(damaged contents come back from a backup only; `lamina doctor --help` tells what --repair and "
            "--rebuild-catalog mend)"
        )
        print(f"{shown} {advice}", file=sys.stderr)
        raise typer.Exit(1)
    print("sound: no findings")
