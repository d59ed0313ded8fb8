"""Where to connect and with which key: arguments, the environment, profiles in a file; the first that says it
counts."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from typing import Any

from lamina.btrdb.exceptions import CredentialsFileNotFound, ProfileNotFound
from lamina.btrdb.optional import needed

CONFIG_DIR = ".predictivegrid"
CREDENTIALS_FILENAME = "credentials.yaml"
CREDENTIALS_PATH = os.path.join(os.path.expanduser("~"), CONFIG_DIR, CREDENTIALS_FILENAME)
"""YAML: {PROFILE: {btrdb: {endpoints: HOST:PORT, api_key: KEY}}}."""

Credentials = dict[str, str]
"""`endpoints`: HOST:PORT or a path. `apikey`."""


def filter_none(f: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """`f`, whose result lacks the entries that are None."""

    @wraps(f)
    def filtered(*args: Any, **kwargs: Any) -> dict[str, Any]:
        return {key: value for key, value in f(*args, **kwargs).items() if value is not None}

    return filtered


def load_credentials_from_file() -> dict[str, Any]:
    """All profiles. Raises CredentialsFileNotFound; ModuleNotFoundError without PyYAML."""
    try:
        with open(CREDENTIALS_PATH) as file:
            text = file.read()
    except FileNotFoundError as error:
        raise CredentialsFileNotFound(f"Could not find `{CREDENTIALS_PATH}`") from error
    return dict(needed("yaml", "pyyaml", "a file of profiles").safe_load(text) or {})


@filter_none
def credentials_by_profile(name: str | None = None) -> dict[str, Any]:
    """Of a profile, by default that of BTRDB_PROFILE, else "default", which may be missing. Raises ProfileNotFound."""
    chosen = name or os.environ.get("BTRDB_PROFILE", "default")
    profiles = load_credentials_from_file()
    if chosen not in profiles:
        if chosen == "default":
            return {}
        raise ProfileNotFound(f"Profile `{chosen}` not found in credentials file.")
    found = dict(profiles[chosen].get("btrdb", {}))
    if "api_key" in found:
        found["apikey"] = found.pop("api_key")
    return found


@filter_none
def credentials_by_env() -> dict[str, Any]:
    """Of BTRDB_ENDPOINTS and BTRDB_API_KEY."""
    return {"endpoints": os.environ.get("BTRDB_ENDPOINTS"), "apikey": os.environ.get("BTRDB_API_KEY")}


def credentials(endpoints: str | None = None, apikey: str | None = None) -> dict[str, Any]:
    """Arguments before the environment before the profile, entry by entry; what nobody says is missing."""
    found = credentials_by_profile() if os.path.exists(CREDENTIALS_PATH) else {}
    found |= credentials_by_env()
    given = {"endpoints": endpoints, "apikey": apikey}
    return found | {key: value for key, value in given.items() if value is not None}
