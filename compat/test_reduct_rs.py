"""reduct-rs 1.21.0 from the package registry, unmodified, against our server.

It builds for minutes and needs Cargo, so it is built only where one asks for it:
`LAMINA_BUILD_RUST=1 pytest compat/test_reduct_rs.py`. What was built once is run from then on.
"""

import subprocess
from pathlib import Path

import pytest
from compat.cargo import built

pytestmark = [pytest.mark.wire, pytest.mark.slow]

PROGRAM = Path(__file__).parent / "programs" / "reduct_rs"
FOLDER = Path(__file__).parents[1] / ".cargo-reduct-rs"


@pytest.fixture(scope="module")
def session():
    """The program, built."""
    binary = FOLDER / "debug" / "reduct_session"
    return built("reduct-rs", FOLDER, binary, "build", "--quiet", "--target-dir", str(FOLDER), source=PROGRAM)


def test_session(session, reduct):
    done = subprocess.run([session, reduct.url], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
