"""Where settings come from, and which win."""

import pytest

from lamina.errors import InvalidArgument
from lamina.server.config import is_loopback, resolve


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
