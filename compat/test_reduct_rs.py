"""reduct-rs 1.21.0 from the package registry, unmodified, against our server.

It builds for minutes and needs Cargo, so it is built only where one asks for it:
`LAMINA_BUILD_RUST=1 pytest compat/test_reduct_rs.py`. What was built once is run from then on.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = [pytest.mark.wire, pytest.mark.slow]

PROGRAM = Path(__file__).parent / "programs" / "reduct_rs"
BUILT = Path(__file__).parents[1] / ".cargo-reduct-rs"
BUILD_S = 1200


@pytest.fixture(scope="module")
def session():
    """The program, built."""
    binary = BUILT / "debug" / "reduct_session"
    if not os.environ.get("LAMINA_BUILD_RUST") and not binary.exists():
        pytest.skip("reduct-rs builds for minutes: set LAMINA_BUILD_RUST=1")
    cargo = shutil.which("cargo")
    if cargo is None:
        pytest.skip("reduct-rs needs Cargo, which is not here")
    BUILT.mkdir(exist_ok=True)
    (BUILT / ".gitignore").write_text("*\n")
    for name in ("Cargo.toml", "src"):  # a copy: Cargo writes its lock beside it
        source, target = PROGRAM / name, BUILT / "program" / name
        target.parent.mkdir(exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copy2(source, target)
    done = subprocess.run(
        [cargo, "build", "--quiet", "--target-dir", str(BUILT)],
        cwd=BUILT / "program",
        capture_output=True,
        text=True,
        timeout=BUILD_S,
        check=False,
    )
    if done.returncode and "error[" not in done.stderr:  # not of the program: no network, no C compiler
        pytest.skip(f"reduct-rs cannot be built: {done.stderr.strip()[-300:]}")
    assert done.returncode == 0, done.stderr
    return binary


def test_session(session, reduct):
    done = subprocess.run([session, reduct.url], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
