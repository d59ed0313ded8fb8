"""Programs in Rust that tests use: built where one asks for it, for that takes minutes; what was built is run."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

BUILD_S = 1800


def built(name: str, folder: Path, binary: Path, *arguments: str, source: Path | None = None) -> Path:
    """The binary, which `cargo` makes with these arguments in a folder that git ignores. `source`: a program of
    ours, of which it works on a copy, for it leaves its lock there. Skips with the reason where it cannot be had."""
    if not os.environ.get("LAMINA_BUILD_RUST"):
        if binary.exists():
            return binary
        pytest.skip(f"{name} builds for minutes: set LAMINA_BUILD_RUST=1")
    cargo = shutil.which("cargo")
    if cargo is None:
        pytest.skip(f"{name} needs Cargo, which is not here")
    folder.mkdir(exist_ok=True)
    (folder / ".gitignore").write_text("*\n")
    place = folder
    if source is not None:
        place = shutil.copytree(source, folder / "program", dirs_exist_ok=True)
    done = subprocess.run([cargo, *arguments], cwd=place, capture_output=True, text=True, timeout=BUILD_S, check=False)
    if done.returncode and "error[" not in done.stderr:  # not of the program: no network, no C compiler
        pytest.skip(f"{name} cannot be built: {done.stderr.strip()[-300:]}")
    assert done.returncode == 0, done.stderr
    return binary
