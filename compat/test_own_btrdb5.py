"""What is asserted of BTrDB's own client, asserted of `lamina.btrdb`: the same program with one import changed, on a
directory and on a server."""

import re
from pathlib import Path

import pytest

from lamina import btrdb as own

ORIGINAL = Path(__file__).with_name("test_btrdb5.py")
IMPORTS = ((r"^import btrdb$", "from lamina import btrdb"), (r"^from btrdb\.", "from lamina.btrdb."))

program = ORIGINAL.read_text()
for written, instead in IMPORTS:
    program, changed = re.subn(written, instead, program, flags=re.MULTILINE)
    assert changed
exec(compile(program, f"{ORIGINAL} on lamina.btrdb", "exec"), globals())


@pytest.fixture(params=["directory", "server"])
def conn(request, db, address):
    """A connection to the database that the server serves: past it, and through it."""
    with own.connect(db if request.param == "directory" else address) as connected:
        yield connected
