"""reduct-js 1.20.0 from the package registry under Node, unmodified, in a directory of its own, against our server."""

import json
import re
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.wire

PROGRAM = Path(__file__).parent / "programs" / "reduct_js_session.mjs"
CHECKS = re.findall(r"^  async (\w+)\(", PROGRAM.read_text(), re.M)


@pytest.fixture(scope="module")
def results(reduct_js, reduct, secured):
    done = subprocess.run(
        ["node", str(PROGRAM), reduct.url, secured.url, "my-token"],
        cwd=reduct_js,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("check", CHECKS)
def test_session(results, check):
    assert results[check] is None, results[check]
