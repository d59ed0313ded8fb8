#!/usr/bin/env python3
"""Sets up .venv beside this file and runs the project in it. Needs Python 3.11 or later, nothing else.

    python3 dev.py demo [...]    set up, then `lamina demo [...]`: real-looking data, stored, shown and served
    python3 dev.py check [...]   set up, then format, lint, types, import floors, tests ([...] goes to pytest)

The environment is made once and reused until pyproject.toml, constraints.txt or the Python version change.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
STAMP = VENV / "dev-stamp.json"
BIN = VENV / "bin"
OLDEST = (3, 11)
DEMO = "server,client,pandas"  # the demo serves; what README shows next connects to it, and makes a DataFrame


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] not in ("demo", "check"):
        print(__doc__.strip())
        return 0 if not arguments or arguments[0] in ("-h", "--help", "help") else 2
    if sys.version_info < OLDEST:
        found = ".".join(map(str, sys.version_info[:3]))
        print(f"dev.py: Python 3.11 or later is needed, this is {found}: {sys.executable}", file=sys.stderr)
        return 2
    command, rest = arguments[0], arguments[1:]
    try:
        set_up(DEMO if command == "demo" else "dev")
    except SetUpFailed as failure:
        print(f"dev.py: {failure}", file=sys.stderr)
        return 2
    if command == "demo":
        os.execv(BIN / "lamina", ["lamina", "demo", *rest])
    return check(rest)


class SetUpFailed(Exception):
    """The environment cannot be made; the message says what to do."""


def set_up(extra: str) -> None:
    """Make or reuse .venv with lamina[extra] in it; `dev` contains DEMO."""
    digest = hashlib.sha256(sys.version.encode())
    for name in ("pyproject.toml", "constraints.txt"):
        digest.update((ROOT / name).read_bytes())
    wanted = {"digest": digest.hexdigest(), "root": str(ROOT)}
    installed = _read_stamp()
    same = {name: installed.get(name) for name in wanted} == wanted
    if same and installed.get("extra") in (extra, "dev"):
        return
    if same:
        print(f"dev.py: adding what {extra!r} needs to .venv", flush=True)
    else:
        print(f"dev.py: making {VENV} (once; takes a minute)", flush=True)
    began = time.monotonic()
    STAMP.unlink(missing_ok=True)  # a set-up that stops half way is done again
    _make_venv()
    install = [str(BIN / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run(
        [*install, "-c", str(ROOT / "constraints.txt"), "-e", f"{ROOT}[{extra}]"],
        "the packages cannot be installed",
    )
    STAMP.write_text(json.dumps({**wanted, "extra": extra}))
    print(f"dev.py: ready after {time.monotonic() - began:.0f} s", flush=True)


def _read_stamp() -> dict[str, str]:
    try:
        return dict(json.loads(STAMP.read_text()))
    except (OSError, ValueError):
        return {}


def _make_venv() -> None:
    try:
        import ensurepip  # noqa: F401  # Debian and Ubuntu leave it out of python3
        import venv  # noqa: F401
    except ModuleNotFoundError as missing:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        raise SetUpFailed(
            f"this Python lacks {missing.name}; on Debian and Ubuntu: apt-get install python{version}-venv"
        ) from None
    made_with = _run([str(BIN / "python"), "-V"]) if (BIN / "python").exists() else ""
    clear = ["--clear"] if made_with != f"Python {sys.version.split()[0]}" else []
    _run([sys.executable, "-m", "venv", *clear, str(VENV)], "the environment cannot be made")


def _run(command: list[str], otherwise: str = "") -> str:
    """The command's output. With `otherwise` it is shown instead, and a failure raises SetUpFailed."""
    done = subprocess.run(command, cwd=ROOT, stdout=None if otherwise else subprocess.PIPE, text=True, check=False)
    if done.returncode and otherwise:
        raise SetUpFailed(f"{otherwise}; failed with exit code {done.returncode}: {' '.join(command)}")
    return (done.stdout or "").strip()


def check(pytest_arguments: list[str]) -> int:
    """Run every tool, also after one failed; 0 if all passed, else 1."""
    tools = {
        "format": ["ruff", "format", "--check", "."],
        "lint": ["ruff", "check", "."],
        "types": ["mypy"],
        "floors": ["lint-imports"],
        "tests": ["pytest", "-n", "2", *pytest_arguments],
    }
    results = {}
    for name, command in tools.items():
        print(f"\n== {name}: {' '.join(command)}", flush=True)
        began = time.monotonic()
        code = subprocess.run([str(BIN / command[0]), *command[1:]], cwd=ROOT, check=False).returncode
        results[name] = f"{'ok' if code == 0 else f'FAILED ({code})'} in {time.monotonic() - began:.0f} s"
    failed = [name for name, result in results.items() if not result.startswith("ok")]
    print("\n== " + ", ".join(f"{name} {result}" for name, result in results.items()))
    print("check failed: " + ", ".join(failed) if failed else "check passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
