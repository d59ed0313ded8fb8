"""The native API is the same wherever the database is: names, parameters, and a call of the table for each."""

from __future__ import annotations

import inspect
import pathlib
import re

import pytest

import lamina
from lamina.engine.points.measurements import Measurements
from lamina.engine.points.view import MeasurementView
from lamina.engine.records.buckets import Buckets
from lamina.engine.records.view import BucketView, EntryView
from lamina.engine.snapshot import Snapshot
from lamina.engine.streams import Streams
from lamina.engine.subscribe import Subscription
from lamina.remote import (
    bucket,
    buckets,
    database,
    entry,
    measurements,
    record,
    selection,
    snapshot,
    stream,
    streams,
    subscription,
)
from lamina.wire.calls import CALLS, OBJECTS

PAIRS = {
    lamina.Database: database.Database,
    Streams: streams.Streams,
    lamina.Stream: stream.Stream,
    lamina.StreamView: stream.StreamView,
    Subscription: subscription.Subscription,
    Snapshot: snapshot.Snapshot,
    Buckets: buckets.Buckets,
    lamina.Bucket: bucket.Bucket,
    lamina.Entry: entry.Entry,
    lamina.Record: record.Record,
    lamina.Selection: selection.Selection,
    Measurements: measurements.Measurements,
    lamina.Measurement: measurements.Measurement,
    MeasurementView: measurements.MeasurementView,
    BucketView: snapshot.BucketView,
    EntryView: snapshot.EntryView,
}

PARTS = "parts of an engine, which a client has none of"
FACE = "what a face of the server writes and waits with"

NOT_REMOTE = {
    lamina.Database: dict.fromkeys(
        ("abandon", "barrier", "blobs", "catalog", "check_writable", "clock", "clock_guard", "epoch", "files", "leases",
         "metadata", "points", "publisher", "queries", "random", "read", "readers", "records", "sealer", "settings",
         "slots", "submit", "tails_full", "unflushed_bytes", "upkeep"), PARTS),
    Streams: dict.fromkeys(("obliterate", "obliterated"), "Stream.obliterate is the public one"),
    lamina.Stream: {"slot": PARTS},
    Subscription: dict.fromkeys(("on_change", "waiting"), FACE),
    lamina.Bucket: dict.fromkeys(
        ("apply", "files", "load", "load_now", "loaded", "lock", "replace_slots", "slot", "slots", "store", "tables",
         "take_over"), PARTS)
    | dict.fromkeys(
        ("commit_writes", "open_write", "release", "remove_query", "try_open_batch", "try_open_write"), FACE),
    lamina.Entry: {"slot": PARTS, "id": PARTS} | dict.fromkeys(("is_claimed", "try_read"), FACE),
    lamina.Record: {"room": FACE},
    EntryView: {"marked": FACE},
}  # fmt: skip
"""What a server does not offer, and why."""

OWN_PARAMETERS = {
    (lamina.Database, "compact"): {"progress"},  # a function of the caller's
    (Buckets, "create"): {"provisioned", "system"},  # of the server's configuration, and of its own buckets
    (Buckets, "update"): {"provisioned"},
}


def attributes(kind):
    """Public ones of the class, and those that its __init__ sets."""
    source = inspect.getsource(kind.__init__)
    return {name for name in (*dir(kind), *re.findall(r"self\.(\w+)(?:: [^=\n]+)? = ", source)) if name[0] != "_"}


@pytest.mark.parametrize(("native", "remote"), PAIRS.items(), ids=lambda kind: kind.__name__)
def test_every_public_name_is_there_or_has_a_reason_not_to(native, remote):
    missing = attributes(native) - attributes(remote)
    assert missing == NOT_REMOTE.get(native, {}).keys()
    assert attributes(remote) <= attributes(native)


@pytest.mark.parametrize(("native", "remote"), PAIRS.items(), ids=lambda kind: kind.__name__)
def test_methods_take_the_same_parameters_and_say_what_they_give(native, remote):
    for name in attributes(native) & attributes(remote):
        one, other = getattr(native, name, None), getattr(remote, name, None)
        assert inspect.isfunction(one) == inspect.isfunction(other), name
        if not inspect.isfunction(one):
            continue
        assert other.__doc__, f"{name} has no docstring"
        expected = [p.replace(annotation=None) for p in inspect.signature(one).parameters.values()
                    if p.name not in OWN_PARAMETERS.get((native, name), ())]  # fmt: skip
        found = [p.replace(annotation=None) for p in inspect.signature(other).parameters.values()]
        assert found == expected, name


def test_special_methods_are_there_too():
    for native, remote in PAIRS.items():
        special = {
            "__getitem__",
            "__len__",
            "__iter__",
            "__contains__",
            "__enter__",
            "__exit__",
            "__eq__",
            "__hash__",
            "_repr_html_",
        }
        for name in special & vars(native).keys():
            assert name in vars(remote), f"{native.__name__}.{name}"


def test_the_client_makes_every_call_of_the_table():
    text = "".join(path.read_text() for path in pathlib.Path(database.__file__).parent.glob("*.py"))
    for name in CALLS:
        object, _, method = name.partition("/")
        assert f'"{name}"' in text or f'"{method}"' in text or f"/{method}" in text, name
        assert object in OBJECTS
