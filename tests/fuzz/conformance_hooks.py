"""Read by schemathesis: most requests name what is there (see conformance.furnish), or hardly any would get far."""

from __future__ import annotations

import random
from typing import Any

import schemathesis

KNOWN: dict[str, tuple[str, ...]] = {
    "bucket": ("b", "b", "c"),
    "entry": ("e", "e", "e/f", "e/$meta"),
    "name": ("it", "it", "new"),
}


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    if path_parameters:
        choose = random.Random(repr(sorted(path_parameters.items())))
        for name, known in KNOWN.items():
            if name in path_parameters and choose.random() < 0.7:
                path_parameters[name] = choose.choice(known)
    return path_parameters


@schemathesis.hook
def map_query(context: Any, query: dict[str, Any] | None) -> dict[str, Any] | None:
    if query and "q" in query and random.Random(repr(query)).random() < 0.7:
        query["q"] = 1
    return query
