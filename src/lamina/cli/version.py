"""`lamina version`."""

from __future__ import annotations


def version() -> None:
    """Print the version of Lamina and of what it runs on."""
    import platform

    import lamina

    system = f"{platform.system()} {platform.machine()}"
    print(f"lamina {lamina.__version__} (Python {platform.python_version()}, {system})")
