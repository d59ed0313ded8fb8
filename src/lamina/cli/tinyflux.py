"""`lamina import tinyflux` and `lamina export tinyflux`."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer

Encoding = Annotated[str, typer.Option(help="Of the text.")]


def import_tinyflux(
    file: Annotated[Path, typer.Argument(help="FILE.csv of TinyFlux.", exists=True, dir_okay=False)],
    dir: Annotated[str, typer.Argument(help="Database directory, not in use; made if absent.")],
    encoding: Encoding = "utf-8",
) -> None:
    """Insert the points of a TinyFlux file, each into the measurement it names, behind those that are there. What was
    inserted before an error stays."""
    import lamina
    from lamina.cli.progress import bar, quantity
    from lamina.errors import InvalidArgument
    from lamina.tinyflux.transfer import import_csv

    with lamina.open(dir) as db, bar("import", "bytes") as report, warnings.catch_warnings(record=True) as warned:
        before = db.measurements.count()
        try:
            import_csv(db.measurements, file, encoding, report)
        except lamina.LaminaError:
            raise
        except (LookupError, ValueError) as error:  # as TinyFlux raises them: a row that is none, an encoding
            raise InvalidArgument(str(error)) from error
        finally:
            done = db.measurements.count() - before
            print(f"{quantity(done, 'points')} inserted, of {quantity(len(db.measurements), 'measurements')} now")
    for warning in warned:
        print(f"lamina: {warning.message}", file=sys.stderr)


def export_tinyflux(
    dir: Annotated[str, typer.Argument(help="Database directory, not in use.")],
    file: Annotated[Path, typer.Argument(help="FILE.csv, which must not exist.")],
    measurement: Annotated[str | None, typer.Option(help="Only the points of this one.")] = None,
    encoding: Encoding = "utf-8",
) -> None:
    """Write points, in the order of insertion, to a file that TinyFlux reads. Such files hold no text and no bools."""
    import lamina
    from lamina.cli.progress import bar, quantity
    from lamina.errors import NotFound
    from lamina.tinyflux.transfer import export_csv

    with lamina.open(dir, create=False) as db, bar("export", "points") as report:
        if measurement is not None and measurement not in db.measurements:
            there = ", ".join(db.measurements.list()[:10]) or "none"
            raise NotFound(f"measurement {measurement!r} has no points; there are {there}")
        chosen = db.measurements if measurement is None else db.measurements[measurement]
        done = export_csv(chosen, file, encoding, report)
    print(f"{quantity(done, 'points')} written to {file}", file=sys.stderr)
