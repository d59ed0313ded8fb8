"""Libraries that are imported when they are needed; one that is missing is told with what to install."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def needed(module: str, package: str, what: str, extra: str = "") -> Any:
    """The module, imported now. `what` needs it; `package` is what pip knows it by, `extra` that of Lamina which brings
    it and what else `what` needs. Raises ModuleNotFoundError."""
    try:
        return import_module(module)
    except ModuleNotFoundError as missing:
        if missing.name not in (module, module.partition(".")[0]):
            raise  # something that it needs itself
        hint = f"pip install {package}" + (f" (the extra lamina[{extra}] brings all)" if extra else "")
        raise ModuleNotFoundError(f"{what} needs {package}: {hint}", name=module) from None
