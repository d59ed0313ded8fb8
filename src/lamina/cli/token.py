"""`lamina token`: the token list of a directory that no server has open."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from lamina.errors import InvalidArgument

if TYPE_CHECKING:
    from lamina.access import Permissions

app = typer.Typer(
    help="Make, list and remove tokens of a directory that is not in use. With tokens, a server asks for one.",
    no_args_is_help=True,
)

Dir = Annotated[str, typer.Argument(help="Database directory.")]


@app.command()
def create(
    dir: Dir,
    name: Annotated[str, typer.Argument(help="Name of the token.")],
    full_access: Annotated[bool, typer.Option("--full-access", help="May do everything.")] = False,
    read: Annotated[
        list[str] | None,
        typer.Option(help="May read: '$streams/<collection>*', '$points/<name>*', a bucket, '*'. Repeatable."),
    ] = None,
    write: Annotated[list[str] | None, typer.Option(help="May write: as --read. Does not include reading.")] = None,
    expires: Annotated[str | None, typer.Option(help="When it ends, ISO 8601; default never.")] = None,
) -> None:
    """Make a token and print its value, this once: only a hash of it is kept. Makes the directory if it is absent."""
    import lamina
    from lamina.access import Permissions, Tokens

    if not (full_access or read or write):
        raise InvalidArgument("a token without rights is of no use: give --full-access, --read or --write")
    permissions = Permissions(full_access, tuple(read or ()), tuple(write or ()))
    for entry in permissions.read + permissions.write:
        _check(entry)
    with lamina.open(dir) as db:
        value = Tokens(db).create(name, permissions, expires)
    print(value)
    print("Keep it: it cannot be shown again.", file=sys.stderr)


@app.command("list")
def list_(dir: Dir) -> None:
    """Show names and rights of all tokens."""
    from rich.console import Console
    from rich.table import Table

    import lamina
    from lamina.access import Tokens

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("name", "rights", "created", "expires"):
        table.add_column(column)
    with lamina.open(dir, create=False) as db:
        for token in Tokens(db).list():
            ends = _utc(token.expires_us) if token.expires_us else "never"
            table.add_row(token.name, _rights(token.permissions), _utc(token.created_us), ends)
    Console(highlight=False).print(table)


@app.command()
def remove(dir: Dir, name: Annotated[str, typer.Argument(help="Name of the token.")]) -> None:
    """Make a token worthless."""
    import lamina
    from lamina.access import Tokens

    with lamina.open(dir, create=False) as db:
        Tokens(db).remove(name)
    print(f"removed token {name}")


def _check(entry: str) -> None:
    """Refuse an entry that can cover nothing, with what it was likely meant to be: shells replace a bare $streams."""
    from lamina.access import Permissions
    from lamina.access.permissions import POINTS, STREAMS

    root, slash, rest = entry.partition("/")
    if entry.startswith("$") and root not in (STREAMS, POINTS) and (slash or "*" in entry):
        raise InvalidArgument(
            f"'{entry}' covers nothing: expected '{STREAMS}/{rest}' or '{POINTS}/{rest}', or a bucket's whole name"
        )
    try:
        Permissions.of({"read": [entry]})
    except InvalidArgument as error:
        meant = f"{STREAMS}/{entry.lstrip('/')}" if entry.strip("/") else STREAMS
        raise InvalidArgument(f"{error}; for streams: '{meant}', in single quotes") from None


def _rights(permissions: Permissions) -> str:
    if permissions.full_access:
        return "full access"
    entries = {"read": permissions.read, "write": permissions.write}
    return "; ".join(f"{what} {', '.join(names)}" for what, names in entries.items() if names)


def _utc(time_us: int) -> str:
    import datetime as dt

    return dt.datetime.fromtimestamp(time_us // 1_000_000, dt.UTC).strftime("%Y-%m-%d %H:%M:%SZ")
