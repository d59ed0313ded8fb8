"""What is asserted of BTrDB's own client of version 4, asserted of `lamina.btrdb4`: the same program with one import
changed, on a directory and on a server; and its signatures."""

import inspect
import json
import re
import subprocess
from pathlib import Path

import pytest

from lamina import btrdb4 as own
from lamina.btrdb4 import endpoint, utils

PROGRAM = Path(__file__).parent / "programs" / "btrdb4_session.py"
IMPORTS = ((r"^import btrdb4$", "from lamina import btrdb4"), (r"^from btrdb4\.", "from lamina.btrdb4."))

text = PROGRAM.read_text()
for written, instead in IMPORTS:
    text, changed = re.subn(written, instead, text, flags=re.MULTILINE)
    assert changed
program = {"__name__": "session"}
exec(compile(text, f"{PROGRAM} on lamina.btrdb4", "exec"), program)

SERVER_ONLY = {"info_gives_an_address_to_connect_to": "a directory has no address"}


@pytest.fixture(params=["directory", "server"])
def mode(request):
    return request.param


@pytest.mark.parametrize("check", program["CHECKS"], ids=lambda check: check.__name__)
def test_session_of_the_version_4_client(mode, check, db, address):
    if mode == "directory" and check.__name__ in SERVER_ONLY:
        pytest.skip(SERVER_ONLY[check.__name__])
    with own.connect(db if mode == "directory" else address) as connected:
        check(connected, address)


LIST = """
import inspect, json, btrdb4, btrdb4.endpoint, btrdb4.utils

found = {}
for module in (btrdb4, btrdb4.endpoint, btrdb4.utils):
    for name, value in vars(module).items():
        if inspect.isclass(value) and value.__module__ == module.__name__:
            for member, function in vars(value).items():
                function = getattr(function, "__func__", function)
                if inspect.isfunction(function) and (member == "__init__" or not member.startswith("_")):
                    found[f"{module.__name__}.{name}.{member}"] = str(inspect.signature(function))
        elif inspect.isfunction(value) and value.__module__ == module.__name__:
            found[f"{module.__name__}.{name}"] = str(inspect.signature(value))
        elif isinstance(value, (int, str)) and not name.startswith("_") and module is not btrdb4.endpoint:
            found[f"{module.__name__}.{name}"] = value
print(json.dumps(found))
"""

SEED = {
    "BTrDB.windowsToCSV": "(self, csvFile, start, end, width, depth, includeVersions, *streams)",
    "Stream.changes": "(self, fromVersion, toVersion, resolution)",
    "Stream.patch": "(self, vals)",
    "isCorrect": "()",
}
"""What the founding document has and no release does."""


def plain(function):
    """A signature without annotations."""
    signature = inspect.signature(function)
    bare = [each.replace(annotation=inspect.Parameter.empty) for each in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))


def test_signatures_and_constants_are_the_same(btrdb4):
    theirs = json.loads(subprocess.run([*btrdb4, "-c", LIST], capture_output=True, check=True, timeout=60).stdout)
    assert len(theirs) > 80
    homes = {"btrdb4": own, "btrdb4.endpoint": endpoint, "btrdb4.utils": utils}
    for path, expected in theirs.items():
        home = next(name for name in sorted(homes, key=len, reverse=True) if path.startswith(name + "."))
        found = homes[home]
        for name in path.removeprefix(home + ".").split("."):
            found = getattr(found, name)
        assert (plain(found) if callable(found) else found) == expected, path


@pytest.mark.parametrize(("path", "expected"), SEED.items())
def test_what_the_founding_document_has_besides(path, expected):
    found = own
    for name in path.split("."):
        found = getattr(found, name)
    assert plain(found) == expected
