"""Where settings come from, and which win."""

import pytest

from lamina.errors import InvalidArgument
from lamina.server.config import ReplicationConfig, SystemEvents, is_loopback, resolve
from lamina.server.limits import BatchLimits, HttpLimits
from lamina.server.ratelimit import Rate, RateLimits


def test_defaults_bind_to_loopback_only():
    config = resolve({"path": "d"}, {})
    assert config.host == "127.0.0.1"
    assert (config.http_port, config.grpc_port, config.grpc_tls_port) == (8383, 4410, 4411)
    assert (config.api_token, config.no_auth, config.durability) == ("", False, "group")


@pytest.mark.parametrize(
    ("flags", "environment", "expected"),
    [
        ({"http_port": 1}, {"LAMINA_HTTP_PORT": "2", "RS_PORT": "3"}, 1),
        ({"http_port": None}, {"LAMINA_HTTP_PORT": "2", "RS_PORT": "3"}, 2),
        ({}, {"RS_PORT": "3"}, 3),
        ({}, {"LAMINA_HTTP_PORT": "", "RS_PORT": ""}, 8383),
        ({"http_port": 0}, {"RS_PORT": "3"}, 0),
    ],
)
def test_flags_win_over_lamina_variables_over_rs_variables_over_defaults(flags, environment, expected):
    assert resolve({"path": "d", **flags}, environment).http_port == expected


def test_every_variable_of_the_contract_is_read():
    config = resolve(
        {},
        {
            "RS_DATA_PATH": "/data",
            "RS_HOST": "0.0.0.0",
            "RS_PORT": "80",
            "RS_API_TOKEN": "secret",
            "RS_CERT_PATH": "c.pem",
            "RS_CERT_KEY_PATH": "k.pem",
            "RS_LOG_LEVEL": "WARN",
            "RS_AUDIT_ENABLED": "whatever",
        },
    )
    assert (config.path, config.host, config.http_port) == ("/data", "0.0.0.0", 80)
    assert config.api_token == "secret"
    assert (config.cert, config.cert_key, config.log_level) == ("c.pem", "k.pem", "warning")


@pytest.mark.parametrize(
    ("flags", "environment", "token", "no_auth"),
    [
        ({"api_token": "a"}, {"RS_DISABLE_AUTH": "true", "RS_API_TOKEN": "b"}, "a", False),
        ({"no_auth": True}, {"LAMINA_API_TOKEN": "b"}, "", True),
        ({"no_auth": False}, {"LAMINA_NO_AUTH": "1", "RS_API_TOKEN": "b"}, "", True),
        ({}, {"RS_API_TOKEN": "b"}, "b", False),
        ({}, {"RS_API_TOKEN": "", "RS_DISABLE_AUTH": "true"}, "", True),
        ({}, {"RS_DISABLE_AUTH": "false", "RS_API_TOKEN": "b"}, "b", False),
    ],
)
def test_the_first_source_that_speaks_of_authentication_decides_it(flags, environment, token, no_auth):
    config = resolve({"path": "d", **flags}, environment)
    assert (config.api_token, config.no_auth) == (token, no_auth)


@pytest.mark.parametrize(
    ("flags", "environment", "names"),
    [
        ({"path": None}, {}, ["DIR", "LAMINA_DIR", "RS_DATA_PATH"]),
        ({"http_port": 65536}, {}, ["--http-port", "65536", "65535"]),
        ({}, {"RS_PORT": "http"}, ["RS_PORT", "'http'"]),
        ({"api_token": ""}, {}, ["--api-token", "empty"]),
        ({"api_token": "a", "no_auth": True}, {}, ["--api-token", "--no-auth"]),
        ({}, {"RS_API_TOKEN": "a", "RS_DISABLE_AUTH": "true"}, ["RS_API_TOKEN", "RS_DISABLE_AUTH"]),
        ({}, {"RS_DISABLE_AUTH": "perhaps"}, ["RS_DISABLE_AUTH", "'perhaps'", "true or false"]),
        ({"durability": "maybe"}, {}, ["--durability", "'maybe'", "group, os, strict"]),
        ({"log_level": "loud"}, {}, ["--log-level", "'loud'", "debug"]),
        ({"cert": "c.pem"}, {}, ["--cert-key"]),
    ],
)
def test_bad_settings_name_their_source_and_what_is_allowed(flags, environment, names):
    with pytest.raises(InvalidArgument) as caught:
        resolve({"path": "d", **flags}, environment)
    assert all(name in str(caught.value) for name in names)


def test_a_key_without_certificate_means_plain_text():
    assert resolve({"path": "d"}, {"RS_CERT_PATH": "", "RS_CERT_KEY_PATH": "k.pem"}).cert_key == ""


def test_the_token_is_not_in_the_representation():
    assert "hush-hush" not in repr(resolve({"path": "d", "api_token": "hush-hush"}, {}))


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("", False),
        ("no such host", False),
    ],
)
def test_loopback_is_what_only_this_machine_reaches(host, expected):
    assert is_loopback(host) is expected


def test_what_has_no_flag_is_read_from_the_environment():
    config = resolve(
        {"path": "d"},
        {
            "RS_API_BASE_PATH": "store",
            "RS_PUBLIC_URL": "https://db.example/store/",
            "RS_CORS_ALLOW_ORIGIN": "https://a.example, https://b.example",
            "RS_INSTANCE_NAME": "robot",
            "RS_INSTANCE_ROLE": "standalone",
            "RS_IO_BATCH_MAX_SIZE": "4MB",
            "RS_IO_BATCH_MAX_RECORDS": "50",
            "RS_IO_BATCH_MAX_METADATA_SIZE": "8KB",
            "RS_IO_BATCH_TIMEOUT": "2",
            "RS_IO_BATCH_RECORDS_TIMEOUT": "0.5",
            "RS_IO_OPERATION_TIMEOUT": "7",
            "RS_RATE_LIMIT_API": "100req/s",
            "RS_RATE_LIMIT_INGRESS": "10MB/s",
            "RS_RATE_LIMIT_EGRESS": "1GiB",
            "RS_REPLICATION_TIMEOUT": "9",
            "RS_REPLICATION_LOG_SIZE": "1000",
            "RS_REPLICATION_VERIFY_SSL": "false",
            "RS_REPLICATION_CA_PATH": "ca.pem",
            "LAMINA_REPLICATION_ALLOW_LOOPBACK": "true",
            "RS_SYSTEM_EVENTS_ENABLED": "false",
            "RS_SYSTEM_EVENTS_LOG_LEVEL": "INFO",
            "RS_SYSTEM_EVENTS_QUOTA_SIZE": "1GB",
            "RS_INIT_API_TOKEN": "first",
            "RS_EXT_PATH": "/ignored",
        },
    )
    assert (config.api_base, config.public_url) == ("/store/", "https://db.example/store")
    assert config.cors.allows(b"https://b.example")
    assert (config.instance_name, config.instance_role) == ("robot", "STANDALONE")
    assert config.batch == BatchLimits(4_000_000, 50, 8000, 2.0, 0.5)
    assert config.http == HttpLimits(body_idle_s=7.0)
    assert config.rates == RateLimits(Rate(100, 1), Rate(10_000_000, 1), Rate(1 << 30, 3600))
    assert config.replication == ReplicationConfig(9.0, 1000, False, "ca.pem", True)
    assert config.system_events == SystemEvents(False, "info", 10**9)
    assert (config.init_token, config.api_token, config.no_auth) == ("first", "", False)
    assert "first" not in repr(config)


def test_defaults_are_those_of_the_contract_and_empty_means_not_set():
    names = ("API_BASE_PATH", "CORS_ALLOW_ORIGIN", "IO_BATCH_MAX_SIZE", "RATE_LIMIT_API", "INIT_API_TOKEN")
    config = resolve({"path": "d"}, {prefix + name: "" for name in names for prefix in ("RS_", "LAMINA_")})
    assert config == resolve({"path": "d"}, {})
    assert (config.api_base, config.public_url, config.init_token) == ("/", "", "")
    assert not config.cors
    assert not config.rates
    assert config.batch == BatchLimits(8_000_000, 85, 512_000, 5.0, 1.0)
    assert config.replication == ReplicationConfig(5.0, 1_000_000, True, "", False)
    assert config.system_events == SystemEvents(True, "warning", 10**10)
    assert config.instance_name


def test_every_such_variable_has_a_name_of_ours_which_wins():
    assert resolve({"path": "d"}, {"LAMINA_API_BASE_PATH": "/a", "RS_API_BASE_PATH": "/b"}).api_base == "/a/"


def test_the_timeout_between_records_has_two_names():
    documented = {"RS_IO_BATCH_RECORD_TIMEOUT": "3"}
    assert resolve({"path": "d"}, documented).batch.record_timeout_s == 3
    both = documented | {"RS_IO_BATCH_RECORDS_TIMEOUT": "4"}
    assert resolve({"path": "d"}, both).batch.record_timeout_s == 4


def test_batches_that_may_be_read_can_be_written():
    environment = {"RS_IO_BATCH_MAX_RECORDS": "2000", "RS_IO_BATCH_MAX_METADATA_SIZE": "1MiB"}
    http = resolve({"path": "d"}, environment).http
    assert (http.header_lines, http.head_bytes) == (2100, 1 << 20)


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        ({"RS_PUBLIC_URL": "db.example"}, ["RS_PUBLIC_URL", "http"]),
        ({"RS_API_BASE_PATH": "/a?b"}, ["RS_API_BASE_PATH", "/a?b"]),
        ({"RS_INSTANCE_ROLE": "REPLICA"}, ["RS_INSTANCE_ROLE", "STANDALONE"]),
        ({"LAMINA_IO_BATCH_MAX_SIZE": "huge"}, ["LAMINA_IO_BATCH_MAX_SIZE", "huge"]),
        ({"RS_RATE_LIMIT_API": "fast"}, ["RS_RATE_LIMIT_API", "fast"]),
        ({"RS_INIT_API_TOKEN": "a", "RS_DISABLE_AUTH": "true"}, ["RS_INIT_API_TOKEN", "RS_DISABLE_AUTH"]),
    ],
)
def test_bad_variables_are_named(environment, names):
    with pytest.raises(InvalidArgument) as caught:
        resolve({"path": "d"}, environment)
    assert all(name in str(caught.value) for name in names)


def test_authentication_can_be_switched_off_under_both_names():
    assert resolve({"path": "d"}, {"LAMINA_DISABLE_AUTH": "true"}).no_auth
    assert resolve({"path": "d"}, {"LAMINA_NO_AUTH": "true", "RS_API_TOKEN": "b"}).no_auth
