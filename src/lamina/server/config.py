"""What `lamina serve` was asked to do: flags win over LAMINA_* variables, then RS_* ones, then defaults.

RS_* names: contract reductstore section 19. An empty variable counts as not set; unknown ones are ignored.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast, get_args

from lamina.errors import InvalidArgument
from lamina.settings import Durability

T = TypeVar("T")

LOG_LEVELS = ("debug", "info", "warning", "error")

_VARIABLES: dict[str, tuple[str, ...]] = {
    "path": ("LAMINA_DIR", "RS_DATA_PATH"),
    "host": ("LAMINA_HOST", "RS_HOST"),
    "http_port": ("LAMINA_HTTP_PORT", "RS_PORT"),
    "grpc_port": ("LAMINA_GRPC_PORT",),
    "grpc_tls_port": ("LAMINA_GRPC_TLS_PORT",),
    "cert": ("LAMINA_CERT_PATH", "RS_CERT_PATH"),
    "cert_key": ("LAMINA_CERT_KEY_PATH", "RS_CERT_KEY_PATH"),
    "log_level": ("LAMINA_LOG_LEVEL", "RS_LOG_LEVEL"),
    "durability": ("LAMINA_DURABILITY",),
}

_AUTH_VARIABLES = (("LAMINA_API_TOKEN", "LAMINA_NO_AUTH"), ("RS_API_TOKEN", "RS_DISABLE_AUTH"))

_FLAGS = {"path": "DIR", "cert_key": "--cert-key"}


@dataclass(frozen=True, slots=True)
class Config:
    """Checked settings of one server."""

    path: str
    host: str = "127.0.0.1"  # overrules the contract's 0.0.0.0: loopback needs no token
    http_port: int = 8383  # 0: the system picks one, here and below
    grpc_port: int = 4410
    grpc_tls_port: int = 4411  # used with a certificate only; BTrDB clients use TLS on exactly this number
    api_token: str = field(default="", repr=False)  # "": none configured
    no_auth: bool = False  # tokens are ignored, any bind is allowed
    cert: str = ""  # PEM files; "": no TLS
    cert_key: str = ""
    log_level: str = "info"
    durability: Durability = "group"


def resolve(flags: Mapping[str, Any], environment: Mapping[str, str]) -> Config:
    """The configuration of these flags (None: not given) in this environment.

    Raises InvalidArgument naming the flag or variable, its value and what is allowed.
    """

    def get(name: str, parse: Callable[[str, str], T], default: T) -> T:
        if flags.get(name) is not None:
            return parse(_FLAGS.get(name, "--" + name.replace("_", "-")), str(flags[name]))
        for variable in _VARIABLES[name]:
            if environment.get(variable):
                return parse(variable, environment[variable])
        return default

    path = get("path", _text, "")
    if not path:
        raise InvalidArgument("no directory: give DIR, or set LAMINA_DIR or RS_DATA_PATH")
    cert, cert_key = get("cert", _text, ""), get("cert_key", _text, "")
    if cert and not cert_key:
        raise InvalidArgument("a certificate needs its key: --cert-key, LAMINA_CERT_KEY_PATH or RS_CERT_KEY_PATH")
    api_token, no_auth = _authentication(flags, environment)
    return Config(
        path=path,
        host=get("host", _text, "127.0.0.1"),
        http_port=get("http_port", _port, 8383),
        grpc_port=get("grpc_port", _port, 4410),
        grpc_tls_port=get("grpc_tls_port", _port, 4411),
        api_token=api_token,
        no_auth=no_auth,
        cert=cert,
        cert_key=cert_key if cert else "",  # a key alone means plain text: the contract's test matrix does that
        log_level=get("log_level", _log_level, "info"),
        durability=get("durability", _durability, "group"),
    )


def _authentication(flags: Mapping[str, Any], environment: Mapping[str, str]) -> tuple[str, bool]:
    """(token, no authentication): the first of flags, LAMINA_*, RS_* that says either decides both."""
    levels: list[tuple[str, str | None, str, bool]] = [
        ("--api-token", flags.get("api_token"), "--no-auth", bool(flags.get("no_auth")))
    ]
    for token_name, off_name in _AUTH_VARIABLES:
        switch = environment.get(off_name, "")
        off = switch != "" and _bool(off_name, switch)
        levels.append((token_name, environment.get(token_name) or None, off_name, off))
    for token_name, token, off_name, off in levels:
        if token is not None and off:
            raise InvalidArgument(f"{token_name} and {off_name} contradict each other: give one of them")
        if token is not None:
            return _text(token_name, token), False
        if off:
            return "", True
    return "", False


def _text(name: str, value: str) -> str:
    if not value:  # `--api-token "$UNSET"` must not open the server
        raise InvalidArgument(f"{name} is empty")
    return value


def _port(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and int(value) <= 65535):
        raise InvalidArgument(f"{name}={value!r}: expected a port, 0 to 65535 (0: pick one)")
    return int(value)


def _bool(name: str, value: str) -> bool:
    words = {
        "true": True,
        "1": True,
        "yes": True,
        "on": True,
        "false": False,
        "0": False,
        "no": False,
        "off": False,
    }
    found = words.get(value.lower())
    if found is None:
        raise InvalidArgument(f"{name}={value!r}: expected true or false")
    return found


def _log_level(name: str, value: str) -> str:
    level = {"warn": "warning", "trace": "debug"}.get(value.lower(), value.lower())  # as RS_LOG_LEVEL spells them
    if level not in LOG_LEVELS:
        raise InvalidArgument(f"{name}={value!r}: expected one of {', '.join(LOG_LEVELS)}")
    return level


def _durability(name: str, value: str) -> Durability:
    if value not in get_args(Durability):
        raise InvalidArgument(f"{name}={value!r}: expected one of {', '.join(get_args(Durability))}")
    return cast(Durability, value)


def is_loopback(host: str) -> bool:
    """Whether a server bound to this host can be reached from this machine only. A name must mean loopback
    addresses and nothing else."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        pass  # a name
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return bool(found) and all(ipaddress.ip_address(info[4][0]).is_loopback for info in found)
