"""What `lamina serve` was asked to do: flags win over LAMINA_* variables, then RS_* ones, then defaults.

RS_* names: contract reductstore section 19; each is also read as LAMINA_*. An empty variable counts as not set, unknown
ones are ignored. Objects to be there from the start (RS_BUCKET_* etc.): provision.py.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast, get_args
from urllib.parse import urlsplit

from lamina.errors import InvalidArgument
from lamina.server.cors import Cors
from lamina.server.limits import BatchLimits, HttpLimits
from lamina.server.provision import Provisioned, provisioned
from lamina.server.quantities import parse_choice, parse_count, parse_seconds, parse_size, parse_switch
from lamina.server.ratelimit import RateLimits, parse_byte_rate, parse_request_rate
from lamina.settings import Durability

T = TypeVar("T")
U = TypeVar("U")

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

_AUTH_VARIABLES = (  # token, token written once, no authentication
    ("LAMINA_API_TOKEN", "LAMINA_INIT_API_TOKEN", ("LAMINA_NO_AUTH", "LAMINA_DISABLE_AUTH")),
    ("RS_API_TOKEN", "RS_INIT_API_TOKEN", ("RS_DISABLE_AUTH",)),
)

_FLAGS = {"path": "DIR", "cert_key": "--cert-key"}


@dataclass(frozen=True, slots=True)
class ReplicationConfig:
    """How replications are carried out (contract reductstore 14)."""

    timeout_s: float = 5.0  # of a connection, and between attempts: long enough for a slow link
    log_size: int = 1_000_000  # transactions kept per entry while the destination is away; the oldest are dropped
    verify_ssl: bool = True
    ca_path: str = ""  # PEM file with further authorities; "": the system's
    allow_loopback: bool = False  # destinations on this machine, also where the server listens beyond it


@dataclass(frozen=True, slots=True)
class SystemEvents:
    """What goes to the bucket `$system` (contract reductstore 16)."""

    enabled: bool = True
    log_level: str = "warning"  # and above: less is what a log is for
    quota_size: int = 10_000_000_000  # bytes, FIFO


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
    init_token: str = field(default="", repr=False)  # written once, into a directory without tokens
    api_base: str = "/"  # paths begin with this and `api/v1`; with a slash at both ends
    public_url: str = ""  # what query links begin with; "": the address that the request names
    cors: Cors = field(default_factory=Cors)  # none: pages of other origins cannot read answers
    instance_name: str = ""  # "": the host's
    instance_role: str = "STANDALONE"
    http: HttpLimits = field(default_factory=HttpLimits)
    batch: BatchLimits = field(default_factory=BatchLimits)
    rates: RateLimits = field(default_factory=RateLimits)
    replication: ReplicationConfig = field(default_factory=ReplicationConfig)
    system_events: SystemEvents = field(default_factory=SystemEvents)
    provisioned: Provisioned = field(default_factory=lambda: Provisioned({}))  # objects to be there from the start
    max_storage: int | None = None  # bytes of all buckets together; None: no limit but the disk's


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
    api_token, init_token, no_auth = _authentication(flags, environment)
    variables = _Variables(environment)
    batch = _batch(variables)
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
        init_token=init_token,
        api_base=variables.get("API_BASE_PATH", _base, "/"),
        public_url=variables.get("PUBLIC_URL", _url, ""),
        cors=variables.get("CORS_ALLOW_ORIGIN", lambda _, text: Cors.parse(text), Cors()),
        instance_name=variables.get("INSTANCE_NAME", _text, socket.gethostname()),
        instance_role=variables.get("INSTANCE_ROLE", _role, "STANDALONE"),
        http=_http(variables, batch),
        batch=batch,
        rates=RateLimits(
            api=variables.get("RATE_LIMIT_API", parse_request_rate, None),
            ingress=variables.get("RATE_LIMIT_INGRESS", parse_byte_rate, None),
            egress=variables.get("RATE_LIMIT_EGRESS", parse_byte_rate, None),
        ),
        replication=ReplicationConfig(
            timeout_s=variables.get("REPLICATION_TIMEOUT", parse_seconds, ReplicationConfig().timeout_s),
            log_size=variables.get("REPLICATION_LOG_SIZE", parse_count, ReplicationConfig().log_size),
            verify_ssl=variables.get("REPLICATION_VERIFY_SSL", parse_switch, True),
            ca_path=variables.get("REPLICATION_CA_PATH", _text, ""),
            allow_loopback=variables.get("REPLICATION_ALLOW_LOOPBACK", parse_switch, False),
        ),
        system_events=SystemEvents(
            enabled=variables.get("SYSTEM_EVENTS_ENABLED", parse_switch, True),
            log_level=variables.get("SYSTEM_EVENTS_LOG_LEVEL", _log_level, SystemEvents().log_level),
            quota_size=variables.get("SYSTEM_EVENTS_QUOTA_SIZE", parse_size, SystemEvents().quota_size),
        ),
        provisioned=provisioned(environment),
        max_storage=variables.get("ENGINE_MAX_STORAGE_SIZE", parse_size, None),
    )


class _Variables:
    """Settings that have no flag, by the rest of their name."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def get(self, name: str, parse: Callable[[str, str], T], default: U) -> T | U:
        for variable in ("LAMINA_" + name, "RS_" + name):
            if self._environment.get(variable):
                return parse(variable, self._environment[variable])
        return default


def _batch(variables: _Variables) -> BatchLimits:
    default = BatchLimits()
    documented = variables.get("IO_BATCH_RECORD_TIMEOUT", parse_seconds, default.record_timeout_s)
    return BatchLimits(
        size=variables.get("IO_BATCH_MAX_SIZE", parse_size, default.size),
        records=variables.get("IO_BATCH_MAX_RECORDS", parse_count, default.records),
        metadata_size=variables.get("IO_BATCH_MAX_METADATA_SIZE", parse_size, default.metadata_size),
        timeout_s=variables.get("IO_BATCH_TIMEOUT", parse_seconds, default.timeout_s),
        record_timeout_s=variables.get("IO_BATCH_RECORDS_TIMEOUT", parse_seconds, documented),
    )


def _http(variables: _Variables, batch: BatchLimits) -> HttpLimits:
    """A batch as large as one that may be read can also be written."""
    default = HttpLimits()
    return replace(
        default,
        header_lines=max(default.header_lines, batch.records + 100),
        head_bytes=max(default.head_bytes, batch.metadata_size),
        body_idle_s=variables.get("IO_OPERATION_TIMEOUT", parse_seconds, default.body_idle_s),
    )


def _authentication(flags: Mapping[str, Any], environment: Mapping[str, str]) -> tuple[str, str, bool]:
    """(token, token written once, no authentication): the first of flags, LAMINA_*, RS_* that says one decides all."""
    levels: list[tuple[str, str | None, str, str | None, str, bool]] = [
        ("--api-token", flags.get("api_token"), "", None, "--no-auth", bool(flags.get("no_auth")))
    ]
    for token_name, init_name, off_names in _AUTH_VARIABLES:
        off_name = next((name for name in off_names if environment.get(name)), off_names[0])
        switch = environment.get(off_name, "")
        off = switch != "" and parse_switch(off_name, switch)
        token, init = environment.get(token_name) or None, environment.get(init_name) or None
        levels.append((token_name, token, init_name, init, off_name, off))
    for token_name, token, init_name, init, off_name, off in levels:
        if off and (token is not None or init is not None):
            given = token_name if token is not None else init_name
            raise InvalidArgument(f"{given} and {off_name} contradict each other: give one of them")
        if token is not None or init is not None:
            return "" if token is None else _text(token_name, token), init or "", False
        if off:
            return "", "", True
    return "", "", False


def _text(name: str, value: str) -> str:
    if not value:  # `--api-token "$UNSET"` must not open the server
        raise InvalidArgument(f"{name} is empty")
    return value


def _port(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and int(value) <= 65535):
        raise InvalidArgument(f"{name}={value!r}: expected a port, 0 to 65535 (0: pick one)")
    return int(value)


def _base(name: str, value: str) -> str:
    """With one slash at both ends."""
    inner = value.strip().strip("/")
    if not inner.isascii() or any(character in " ?#%" for character in inner):
        raise InvalidArgument(f"{name}={value!r}: expected a path such as /store/")
    return f"/{inner}/" if inner else "/"


def _url(name: str, value: str) -> str:
    """Without a slash at its end."""
    try:
        parts = urlsplit(value)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and not (parts.query or parts.fragment)
    except ValueError:
        valid = False
    if not valid:
        raise InvalidArgument(f"{name}={value!r}: expected http:// or https:// and a host")
    return value.rstrip("/")


def _role(name: str, value: str) -> str:
    """Other roles share a remote backend, which there is none of."""
    return parse_choice(name, value, ("STANDALONE",))


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
