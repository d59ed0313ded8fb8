"""The typer application: all commands, and how their errors end the process."""

from __future__ import annotations

import os
import sys
import threading
from typing import Annotated

import typer

from lamina.cli import backup, demo, doctor, export, import_, inspect, restore, serve, token, version
from lamina.errors import LaminaError
from lamina.time import SystemClock

LINGER_S = 0.5
"""For threads that are about to end. The interpreter would wait for all of them, as long as they take: a call that
still computes would keep an ended server from ending in time."""

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
app.add_typer(export.app, name="export")
app.add_typer(import_.app, name="import")
app.add_typer(token.app, name="token")
app.command("version")(version.version)


def _version(asked: bool) -> None:
    if asked:
        version.version()
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="The same as `lamina version`.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    """What goes before a command."""


def run() -> None:
    """Run the command line of this process. What a user can cause ends in one line and exit code 2."""
    try:
        app()
    except (LaminaError, OSError) as error:
        print(f"lamina: {_said(error)}", file=sys.stderr)
        _leave(2)
    except KeyboardInterrupt:
        print("lamina: interrupted", file=sys.stderr)
        _leave(130)
    except SystemExit as end:
        _leave(end.code)


def _said(error: BaseException) -> str:
    """The text of an error; of one of the system without its number, which tells a user nothing."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


def _leave(code: str | int | None) -> None:
    """End the process with this code, whatever its other threads do. Every database is closed by now.

    Daemon threads count: grpc's workers are some, and the interpreter joins those of an executor all the same.
    """
    clock = SystemClock()
    deadline = clock.monotonic_ns() + int(LINGER_S * 1e9)
    for thread in threading.enumerate():
        if thread is threading.main_thread():
            continue
        thread.join(max(0.0, (deadline - clock.monotonic_ns()) / 1e9))
        if thread.is_alive() and (code is None or isinstance(code, int)):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code or 0)
    sys.exit(code)
