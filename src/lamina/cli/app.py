"""The typer application: all commands, and how their errors end the process."""

from __future__ import annotations

import sys

import typer

from lamina.cli import backup, demo, doctor, export, import_, inspect, restore, serve, token, version
from lamina.errors import LaminaError

app = typer.Typer(
    name="lamina",
    help="A time-series database for everything a machine emits.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("serve")(serve.serve)
app.command("demo")(demo.demo)
app.command("inspect")(inspect.inspect)
app.command("doctor")(doctor.doctor)
app.command("backup")(backup.backup)
app.command("restore")(restore.restore)
app.command("export")(export.export)
app.command("import")(import_.import_)
app.add_typer(token.app, name="token")
app.command("version")(version.version)


def run() -> None:
    """Run the command line of this process. What a user can cause ends in one line and exit code 2."""
    try:
        app()
    except (LaminaError, OSError) as error:
        text = str(error) or type(error).__name__
        print(f"lamina: {text}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("lamina: interrupted", file=sys.stderr)
        sys.exit(130)
