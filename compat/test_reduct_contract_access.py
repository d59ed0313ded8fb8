"""The wire contract, sections 1.4 and 13: authorization and tokens."""

import re
import time
from datetime import UTC, datetime, timedelta

import pytest

pytestmark = pytest.mark.wire

NULLS = {"expires_at": None, "ttl": None, "last_access": None}


@pytest.fixture
def admin(secured_api):
    return secured_api()


@pytest.fixture
def made(admin):
    """made(name, **body): the answer to making a token; it is removed at the end."""
    names = []

    def make(name, body=None, **members):
        names.append(name)
        return admin("POST", f"/tokens/{name}", members if body is None else body)

    yield make
    for name in names:
        admin("DELETE", f"/tokens/{name}")


def iso(**ago):
    return (datetime.now(UTC) + timedelta(**ago)).isoformat().replace("+00:00", "Z")


# 1.4


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (None, "No bearer token in request header"),
        ("Basic abc", "No bearer token in request header"),
        ("Bearer nonsense", "Invalid token"),
        ("Bearer None", "Invalid token"),
    ],
)
def test_401(secured_api, header, message):
    stranger = secured_api(None)
    headers = {} if header is None else {"Authorization": header}
    for method, path in (
        ("GET", "/info"),
        ("GET", "/b/none"),
        ("POST", "/b/none/x?ts=1"),
        ("GET", "/tokens"),
        ("POST", "/links/x"),
    ):
        assert stranger(method, path, headers=headers).error == (401, message), path
    assert stranger("HEAD", "/b/none", headers=headers).error == (401, message)


def test_an_empty_bearer_is_401(secured_api):
    assert secured_api(None)("GET", "/info", headers={"Authorization": "Bearer "}).status == 401


@pytest.mark.parametrize("header", ["Bearer ", "Bearer None", "Bearer undefined", "Basic x", "Bearer anything"])
def test_without_authentication_everything_is_allowed(api, header):
    assert api("GET", "/info", headers={"Authorization": header}).status == 200
    assert api("GET", "/tokens", headers={"Authorization": header}).json == {"tokens": []}


def test_rights(admin, made, secured_api):
    admin("POST", "/b/open")
    admin.write("open", "x", 1)
    reader = secured_api(made("reader", permissions={"read": ["open"]}).json["value"])
    writer = secured_api(made("writer", permissions={"write": ["op*"]}).json["value"])
    nobody = secured_api(made("nobody", {}).json["value"])

    def read(name):
        return 403, f"Token '{name}' doesn't have read access to bucket 'open'"

    def write(name):
        return 403, f"Token '{name}' doesn't have write access to bucket 'open'"

    def full(name):
        return 403, f"Token '{name}' doesn't have full access"

    for client, name in ((writer, "writer"), (nobody, "nobody")):
        for method, path in (
            ("GET", "/b/open"),
            ("GET", "/b/open/x"),
            ("GET", "/b/open/x/batch?q=1"),
            ("GET", "/io/open/read"),
        ):
            assert client(method, path).error == read(name), path
    for client, name in ((reader, "reader"), (nobody, "nobody")):
        for method, path in (
            ("POST", "/b/open/x?ts=9"), ("PATCH", "/b/open/x?ts=1"), ("DELETE", "/b/open/x?ts=1"),
            ("DELETE", "/b/open/x"),
            ("PUT", "/b/open/x/rename"), ("POST", "/b/open/x/batch"), ("PATCH", "/b/open/x/batch"),
            ("POST", "/io/open/write"), ("PATCH", "/io/open/update"), ("DELETE", "/io/open/remove"),
        ):  # fmt: skip
            assert client(method, path).error == write(name), path
    for client, name in ((reader, "reader"), (writer, "writer")):
        for method, path in (
            ("POST", "/b/new"), ("PUT", "/b/open"), ("DELETE", "/b/open"), ("PUT", "/b/open/rename"),
            ("GET", "/tokens"),
            ("POST", "/tokens/x"), ("GET", "/tokens/x"), ("DELETE", "/tokens/x"), ("POST", "/tokens/x/rotate"),
            ("GET", "/replications"), ("POST", "/replications/x"), ("GET", "/lifecycles"), ("DELETE", "/lifecycles/x"),
        ):  # fmt: skip
            assert client(method, path).error == full(name), path
        assert client("GET", "/info").status == client("GET", "/list").status == client("HEAD", "/b/open").status == 200
        assert client("GET", "/me").json["name"] == name
    assert reader("GET", "/b/open/x").status == 200
    assert writer("POST", "/b/open/x?ts=2", b"").status == 200
    # rights come before existence
    assert nobody("GET", "/b/none").error == (403, "Token 'nobody' doesn't have read access to bucket 'none'")
    admin("DELETE", "/b/open")


# 13


def test_create_and_get(admin, made):
    before = datetime.now(UTC)
    permissions = {"full_access": False, "read": ["a", "b*", "*"], "write": ["$system"]}
    answer = made("token-1", permissions=permissions)
    assert answer.status == 200
    assert re.fullmatch(r"token-1-[0-9a-f]{32}", answer.json["value"])
    assert set(answer.json) == {"value", "created_at"}
    created = answer.json["created_at"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", created)
    assert abs(datetime.fromisoformat(created) - before) < timedelta(seconds=20)
    expected = {
        "name": "token-1", "value": "", "created_at": created, "permissions": permissions, "is_provisioned": False,
        "ip_allowlist": [], "is_expired": False, **NULLS,
    }  # fmt: skip
    assert admin("GET", "/tokens/token-1").json == expected
    assert expected in admin("GET", "/tokens").json["tokens"]
    assert admin("GET", "/tokens/none").error == (404, "Token 'none' doesn't exist")


def test_list_is_sorted(admin, made):
    for name in ("zz", "aa", "mm"):
        made(name, {})
    names = [token["name"] for token in admin("GET", "/tokens").json["tokens"]]
    assert names == sorted(names)


def test_the_old_shape(admin, made):
    made("old", {"full_access": False, "read": ["a"], "write": ["b"]})
    assert admin("GET", "/tokens/old").json["permissions"] == {"full_access": False, "read": ["a"], "write": ["b"]}
    made("older", {"read": ["a"], "ip_allowlist": ["10.0.0.0/8"]})
    assert admin("GET", "/tokens/older").json["ip_allowlist"] == ["10.0.0.0/8"]
    made("oldest", {})
    assert admin("GET", "/tokens/oldest").json["permissions"] == {"full_access": False, "read": [], "write": []}


@pytest.mark.parametrize(
    "body", [b"", b"{", {"colour": "red"}, {"permissions": {}, "colour": 1}, {"permissions": 5}, b"[]"]
)
def test_invalid_bodies(made, body):
    assert made("bad", body).error == (422, "Invalid body")


def test_refusals(made):
    made("there", {})
    assert made("there", {}).error == (409, "Token 'there' already exists")
    assert made("x", permissions={}, ttl=0).error == (422, "Token TTL must be greater than zero")
    assert made("x", permissions={}, expires_at=iso(days=-1)).error == (
        422,
        "Token expiration date must not be in the past",
    )
    assert made("x", permissions={"read": ["a/b"]}).error == (
        422, "Permission can contain only bucket names or wildcard '*', got 'a/b'",
    )  # fmt: skip
    assert made("x", permissions={"write": [""]}).status == 422
    # order: name, exists, permissions, ttl, expiry
    assert made("there", permissions={"read": ["a/b"]}, ttl=0).status == 409
    bad = made("x", permissions={"read": ["a/b"]}, ttl=0, expires_at=iso(days=-1))
    assert bad["x-reduct-error"].startswith("Permission")
    assert made("x", permissions={}, ttl=0, expires_at=iso(days=-1))["x-reduct-error"].startswith("Token TTL")


def test_remove(admin, made, secured_api):
    value = made("gone", {"full_access": True}).json["value"]
    assert secured_api(value)("GET", "/me").status == 200
    assert admin("DELETE", "/tokens/gone").status == 200
    assert admin("DELETE", "/tokens/gone").error == (404, "Token 'gone' doesn't exist")
    assert secured_api(value)("GET", "/me").error == (401, "Invalid token")


def test_the_configured_token(admin):
    me = admin("GET", "/me").json
    assert (me["name"], me["is_provisioned"], me["permissions"]["full_access"]) == ("init-token", True, True)
    assert admin("DELETE", "/tokens/init-token").error == (409, "Can't remove provisioned token 'init-token'")
    assert admin("POST", "/tokens/init-token/rotate").status == 409


def test_rotate(admin, made, secured_api):
    old = made("turning", {"full_access": True}).json
    new = admin("POST", "/tokens/turning/rotate").json
    assert set(new) == {"value", "created_at"}
    assert new["value"] != old["value"]
    assert secured_api(old["value"])("GET", "/me").error == (401, "Invalid token")
    me = secured_api(new["value"])("GET", "/me").json
    assert (me["name"], me["created_at"], me["permissions"]["full_access"]) == ("turning", new["created_at"], True)
    assert admin("POST", "/tokens/none/rotate").status == 404


def test_expiry(admin, made, secured_api):
    soon = made("short", permissions={"full_access": True}, expires_at=iso(seconds=1)).json["value"]
    idle = made("idle", permissions={"full_access": True}, ttl=1).json["value"]
    assert secured_api(soon)("GET", "/me").status == secured_api(idle)("GET", "/me").status == 200
    time.sleep(1.2)
    for value, name in ((soon, "short"), (idle, "idle")):
        assert secured_api(value)("GET", "/me").error == (401, "Token has expired")
        assert admin("GET", f"/tokens/{name}").json["is_expired"] is True
        assert admin("POST", f"/tokens/{name}/rotate").error == (422, f"Can't rotate expired token '{name}'")
    later = made("later", permissions={}, expires_at=iso(days=1), ttl=5)
    assert later.status == 200
    token = admin("GET", "/tokens/later").json
    assert token["ttl"] == 5
    assert token["expires_at"].endswith("Z")


def test_use_shows(admin, made, secured_api):
    value = made("used", {"full_access": True}).json["value"]
    assert admin("GET", "/tokens/used").json["last_access"] is None
    secured_api(value)("GET", "/info")
    assert datetime.fromisoformat(admin("GET", "/tokens/used").json["last_access"])


def test_addresses(made, secured_api):
    def answer(name, allowed, **headers):
        value = made(name, permissions={"full_access": True}, ip_allowlist=allowed).json["value"]
        return secured_api(value)("GET", "/me", headers={k.replace("_", "-"): v for k, v in headers.items()}).error

    assert answer("ip1", ["127.0.0.0/8"])[0] == 200
    assert answer("ip2", ["10.0.0.1"]) == (401, "Token is not allowed for client IP 127.0.0.1")
    assert answer("ip3", ["nonsense"]) == (401, "Token is not allowed for client IP 127.0.0.1")
    assert answer("ip4", ["10.0.0.1"], X_Forwarded_For="10.0.0.1, 1.2.3.4")[0] == 200
    assert answer("ip5", ["2001:db8::/32"], Forwarded='for="[2001:db8::17]:4711"')[0] == 200
    assert answer("ip6", ["127.0.0.1"], Forwarded="for=10.1.1.1")[1] == "Token is not allowed for client IP 10.1.1.1"


def test_without_authentication(api):
    me = api("GET", "/me").json
    assert (me["name"], me["permissions"]["full_access"]) == ("AUTHENTICATION-DISABLED", True)
    disabled = 400, "Authentication is disabled"
    assert api("POST", "/tokens/x", {}).error == disabled
    assert api("GET", "/tokens/x").error == disabled
    assert api("POST", "/tokens/x/rotate").error == disabled
    assert api("DELETE", "/tokens/x").status == 200


def test_a_token_of_its_own_and_the_last_one(serve, http_to):
    server = serve(RS_INIT_API_TOKEN="first")
    api = http_to(server, "first")
    assert api("GET", "/me").json["is_provisioned"] is False
    name = api("GET", "/me").json["name"]
    assert api("DELETE", f"/tokens/{name}").error == (
        409, f"Can't remove token '{name}': at least one full-access token must remain",
    )  # fmt: skip
    assert api("POST", "/tokens/second", {"full_access": True}).status == 200
    assert api("DELETE", f"/tokens/{name}").status == 200


def test_provisioned_tokens(serve, http_to):
    server = serve(RS_API_TOKEN="t", RS_TOKEN_A_NAME="made", RS_TOKEN_A_VALUE="secret", RS_TOKEN_A_READ="a,b")
    token = http_to(server, "t")("GET", "/tokens/made").json
    assert (token["is_provisioned"], token["permissions"]["read"]) == (True, ["a", "b"])
    assert http_to(server, "secret")("GET", "/me").json["name"] == "made"
    assert http_to(server, "t")("DELETE", "/tokens/made").error == (409, "Can't remove provisioned token 'made'")


def test_disabled_by_the_environment(serve, http_to):
    assert http_to(serve(RS_DISABLE_AUTH="true"))("GET", "/info").status == 200
