"""`lamina`: one command per file. What a command needs beyond its own signature is imported when it runs."""

from __future__ import annotations

import sys


def main() -> None:
    """The console script. Exit codes: 0 done, 1 findings, 2 wrong usage or cannot, 130 interrupted."""
    try:
        import typer  # noqa: F401  # the first thing that is missing without the extra
    except ModuleNotFoundError:
        sys.exit("lamina: the command line needs more packages: pip install 'lamina[server]'")
    from lamina.cli.app import run

    run()


if __name__ == "__main__":
    main()
