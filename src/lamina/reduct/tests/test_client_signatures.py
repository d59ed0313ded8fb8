"""Every public name of reduct-py 1.21.0: the same parameters, kinds, defaults, fields and values here.

Exceptions stand in the tables below, each with its reason.
"""

import asyncio
import dataclasses
import enum
import importlib
import inspect

import pydantic
import pytest
import reduct

import lamina.reduct

MODULES = ("msg.bucket", "msg.lifecycle", "msg.replication", "msg.server", "msg.token", "time")

PUBLIC = sorted(name for name, value in vars(reduct).items() if inspect.isclass(value))

WIDER = {
    # QueryEntry sends the parameters that the package documents and drops
    ("QueryEntry", "include"), ("QueryEntry", "exclude"), ("QueryEntry", "each_s"), ("QueryEntry", "each_n"),
    ("QueryEntry", "limit"),
}  # fmt: skip
"""(class, field) that only ours has."""

OWN_DEFAULTS = {
    # the package declares no default by `= None` where None is not allowed; a link without an end is refused
    ("CreateQueryLinkRequest", "expire_at"),
}

ADDED = {
    "Client": {"close"},  # what was opened outside of `async with` has to be closed somehow
    "Batch": {"held"},  # what is sent; `items` is the view that programs know
    "RecordBatch": {"held"},
}
"""Methods that the package lacks."""


def parameters(function):
    return [(item.name, item.kind, item.default) for item in inspect.signature(function).parameters.values()]


def plain(default):
    """A default that compares across the two packages."""
    return default.value if isinstance(default, enum.Enum) else default


def comparable(function):
    return [(name, kind, plain(default)) for name, kind, default in parameters(function)]


def methods(cls):
    found = {}
    for base in reversed(cls.__mro__[:-1]):
        if base is pydantic.BaseModel or base.__module__.startswith("pydantic"):
            continue
        found |= {
            name: value
            for name, value in vars(base).items()
            if (not name.startswith("_") or name == "__init__") and not name.startswith("model_")
            and isinstance(value, property | staticmethod) | inspect.isfunction(value)
        }  # fmt: skip
    return found


@pytest.mark.parametrize("name", PUBLIC)
def test_public_classes_are_here(name):
    assert getattr(lamina.reduct, name).__name__ == name
    assert name in lamina.reduct.__all__


@pytest.mark.parametrize(
    "name", [name for name in PUBLIC if not issubclass(getattr(reduct, name), pydantic.BaseModel | enum.Enum)]
)
def test_methods_have_the_same_parameters(name):
    theirs, ours = methods(getattr(reduct, name)), methods(getattr(lamina.reduct, name))
    assert set(theirs) <= set(ours)
    added = set(ours) - set(theirs)
    assert added <= ADDED.get(name, set())
    for method, found in theirs.items():
        mine = ours[method]
        assert type(found) is type(mine), method
        if isinstance(found, property):
            continue
        if isinstance(found, staticmethod):
            found, mine = found.__func__, mine.__func__
        assert comparable(found) == comparable(mine), method
        for kind in (inspect.iscoroutinefunction, inspect.isasyncgenfunction):
            assert kind(found) == kind(mine), (method, kind.__name__)


@pytest.mark.parametrize("name", PUBLIC)
def test_models_enumerations_and_records_have_the_same_fields(name):
    same_fields(getattr(reduct, name), getattr(lamina.reduct, name))


def same_fields(theirs, ours):
    name = theirs.__name__
    if issubclass(theirs, enum.Enum):
        assert {item.name: item.value for item in theirs} == {item.name: item.value for item in ours}
        assert issubclass(theirs, str) == issubclass(ours, str)
        assert [str(item) for item in theirs] == [str(item) for item in ours]
    elif issubclass(theirs, pydantic.BaseModel):
        mine = {field: info for field, info in ours.model_fields.items() if (name, field) not in WIDER}
        assert list(theirs.model_fields) == list(mine)
        for field, info in theirs.model_fields.items():
            if (name, field) in OWN_DEFAULTS:
                continue
            assert info.is_required() == mine[field].is_required(), field
            assert plain(info.get_default(call_default_factory=True)) == plain(
                mine[field].get_default(call_default_factory=True)
            ), field
    elif dataclasses.is_dataclass(theirs):
        assert [field.name for field in dataclasses.fields(theirs)] == [
            field.name for field in dataclasses.fields(ours)
        ]


@pytest.mark.parametrize("module", MODULES)
def test_modules_have_the_same_names(module):
    theirs = importlib.import_module(f"reduct.{module}")
    ours = importlib.import_module(f"lamina.reduct.{module}")
    for name, found in vars(theirs).items():
        if name.startswith("_") or getattr(found, "__module__", "") != theirs.__name__:
            continue
        if inspect.isclass(found):
            same_fields(found, getattr(ours, name))
        elif inspect.isfunction(found):
            assert comparable(found) == comparable(getattr(ours, name))


def test_both_are_async_context_managers():
    for client in (reduct.Client("http://x"), lamina.reduct.Client("http://x")):
        assert inspect.iscoroutinefunction(client.__aenter__)
        assert inspect.iscoroutinefunction(client.__aexit__)


def test_reading_is_an_async_context_manager_and_a_query_an_iterator():
    async def kinds(client):
        bucket = client.Bucket("b", None)
        return [
            (hasattr(found, "__aenter__"), hasattr(found, "__anext__"))
            for found in (bucket.read("e"), bucket.query("e"), bucket.subscribe("e"))
        ]

    assert (
        asyncio.run(kinds(reduct)) == asyncio.run(kinds(lamina.reduct)) == [(True, False), (False, True), (False, True)]
    )
