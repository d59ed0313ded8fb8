"""Every public name of BTrDB's own client is in ours, with the same arguments and defaults; exceptions are listed."""

import importlib
import inspect
import pkgutil

import pytest

MODULES = (
    "", ".conn", ".endpoint", ".exceptions", ".point", ".stream", ".transformers", ".version", ".utils.buffer",
    ".utils.conversion", ".utils.credentials", ".utils.general", ".utils.ray", ".utils.timez",
)  # fmt: skip

EXCEPTIONS = {
    ".grpcinterface": "the generated messages of the wire: ours are lamina.faces.btrdb.generated",
    "IS_DEBUG": "a level of logging, taken at import",
    "RE_PATTERN": "re.Pattern under another name",
    "logger": "each module logs under its own name",
    "ver": "a leftover of an import",
}
"""Name -> why it is not in ours."""


def is_own(module, name, value):
    """Whether a public name is defined in the module, or offered by the package itself; not a mere import."""
    if name.startswith("_") or inspect.ismodule(value) or name in EXCEPTIONS:
        return False
    if inspect.isclass(value) or inspect.isfunction(value):
        return value.__module__ == module or (module == "btrdb" and value.__module__.startswith("btrdb"))
    return type(value).__module__ == "builtins" and not inspect.isbuiltin(value)


def public():
    for suffix in MODULES:
        module = importlib.import_module("btrdb" + suffix)
        for name, value in vars(module).items():
            if is_own(module.__name__, name, value):
                yield pytest.param(suffix, name, value, id=f"btrdb{suffix}.{name}")


def arguments(function):
    return [
        (each.name, each.kind, plain(each.default))
        for each in inspect.signature(function).parameters.values()
    ]  # fmt: skip


def plain(default):
    """Defaults that are classes of the package are compared by name."""
    return default.__name__ if inspect.isclass(default) else default


def members(cls):
    return {
        name: inspect.getattr_static(cls, name)
        for kind in cls.__mro__
        if kind.__module__.startswith("btrdb")
        for name in vars(kind)
        if not name.startswith("_") or name == "__init__"
    }


@pytest.mark.parametrize(("suffix", "name", "theirs"), list(public()))
def test_the_same_name_has_the_same_signature(suffix, name, theirs):
    module = importlib.import_module("lamina.btrdb" + suffix)
    ours = getattr(module, name)
    if inspect.isclass(theirs):
        assert inspect.isclass(ours)
        for member, value in members(theirs).items():
            mine = inspect.getattr_static(ours, member)
            if isinstance(value, property):
                assert isinstance(mine, property), f"{name}.{member} is a property"
                continue
            if isinstance(value, classmethod | staticmethod):
                assert type(mine) is type(value), f"{name}.{member}"
            if callable(getattr(theirs, member)):
                assert arguments(getattr(ours, member)) == arguments(getattr(theirs, member)), f"{name}.{member}"
    elif inspect.isfunction(theirs):
        assert arguments(ours) == arguments(theirs)
    else:
        assert type(ours) is type(theirs)
        if not isinstance(theirs, dict):
            assert ours == theirs


def test_classes_have_the_same_ancestors():
    """`except` clauses catch what they caught."""
    theirs = importlib.import_module("btrdb.exceptions")
    ours = importlib.import_module("lamina.btrdb.exceptions")
    for name, kind in vars(theirs).items():
        if inspect.isclass(kind) and kind.__module__ == "btrdb.exceptions":
            assert [k.__name__ for k in getattr(ours, name).__mro__] == [k.__name__ for k in kind.__mro__]
    assert {code: kind.__name__ for code, kind in ours.BTRDB_ERRORS.items()} == {
        code: kind.__name__ for code, kind in theirs.BTRDB_ERRORS.items()
    }


def test_every_module_is_covered():
    package = importlib.import_module("btrdb")
    found = {module.name.removeprefix("btrdb") for module in pkgutil.walk_packages(package.__path__, "btrdb.")}
    assert {name for name in found if not name.startswith(".grpcinterface")} == {*MODULES, ".utils"} - {""}
