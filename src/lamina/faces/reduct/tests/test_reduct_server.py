"""The server, its buckets and what is outside the API (contract 1, 3, 4)."""

from __future__ import annotations

import json
import re

import pytest

from lamina.faces.reduct import FaceConfig
from lamina.faces.reduct.tests.asgi import Client


def test_info_of_an_empty_server(client):
    info = client.get("/info").json
    assert info.pop("uptime") >= 0
    assert info == {
        "version": "1.21.0",
        "instance_name": "localhost",
        "instance_role": "STANDALONE",
        "bucket_count": 0,
        "usage": 0,
        "oldest_record": 0,
        "latest_record": 0,
        "defaults": {
            "bucket": {
                "max_block_size": 64_000_000,
                "max_block_records": 1024,
                "quota_type": "NONE",
                "quota_size": 0,
            }
        },
        "license": None,
    }


def test_empty_buckets_have_no_say_in_the_times(client):
    """Contract 21 item 5."""
    client.bucket("a")
    client.bucket("b")
    client.write("b/e", 1_000_000, b"x" * 11)
    client.write("b/e", 6_000_000, b"x" * 11)
    info = client.get("/info").json
    assert (info["oldest_record"], info["latest_record"], info["bucket_count"]) == (1_000_000, 6_000_000, 2)
    assert info["usage"] == 88


def test_a_record_at_time_zero_counts(client):
    client.bucket("b")
    client.bucket("c")
    client.write("b/e", 0, b"x")
    client.write("c/e", 9, b"x")
    assert client.get("/info").json["oldest_record"] == 0


def test_a_bucket_tells_everything_of_itself(client):
    client.bucket("b", quota_type="FIFO", quota_size=5000, max_block_size=None)
    client.write("b/e/sub", 5_000_000, b"x" * 11)
    client.write("b/e/sub", 6_000_000, b"x" * 11)
    empty = {"size": 0, "block_count": 0, "record_count": 0, "oldest_record": 0, "latest_record": 0, "status": "READY"}
    info = {
        "name": "b",
        "entry_count": 2,
        "size": 88,
        "oldest_record": 5_000_000,
        "latest_record": 6_000_000,
        "is_provisioned": False,
        "status": "READY",
    }
    times = {"oldest_record": 5_000_000, "latest_record": 6_000_000}
    assert client.get("/b/b").json == {
        "info": info,
        "settings": {
            "quota_type": "FIFO",
            "quota_size": 5000,
            "max_block_size": 64_000_000,
            "max_block_records": 1024,
        },
        "entries": [
            {"name": "e", **empty},
            {"name": "e/sub", **empty, "size": 88, "block_count": 1, "record_count": 2, **times},
        ],
    }
    assert client.get("/list").json == {"buckets": [info]}


def test_settings_change_one_by_one(client):
    client.bucket("b", max_block_records=7)
    assert client.put("/b/b", {"quota_type": "HARD", "max_block_records": None}).status == 200
    assert client.put("/b/b").status == 200, "an empty body changes nothing"
    settings = client.get("/b/b").json["settings"]
    assert (settings["quota_type"], settings["max_block_records"]) == ("HARD", 7)


def test_buckets_are_made_found_and_removed(client):
    assert client.post("/b/b").status == 200, "an empty body means the defaults"
    again = client.post("/b/b", {})
    assert (again.status, again.error) == (409, "Bucket 'b' already exists")
    assert client.head("/b/b").status == 200
    assert client.delete("/b/b").status == 200
    missing = client.get("/b/b")
    assert (missing.status, missing.error) == (404, "Bucket 'b' is not found")
    head = client.head("/b/b")
    assert (head.status, head.error) == (404, "Bucket 'b' is not found")
    assert client.delete("/b/b").status == 404


def test_bucket_is_renamed(client):
    client.bucket("a")
    client.bucket("b")
    client.write("a/e", 1, b"x")
    assert client.put("/b/a/rename", {"new_name": "b"}).status == 409
    assert client.put("/b/a/rename", {"new_name": "a b"}).status == 422
    assert client.put("/b/a/rename", {"new_name": "c"}).status == 200
    assert client.get("/b/c/e").body == b"x"
    assert client.put("/b/a/rename", {"new_name": "d"}).status == 404


@pytest.mark.parametrize(
    "body", [b"{", b'"x"', b'{"quota_type":"SOME"}', b'{"quota_size":-1}', b'{"quota_size":1.5}', b'{"quota_size":"1"}']
)
def test_settings_that_make_no_sense(client, body):
    assert client.post("/b/b", body).status == 422
    assert client.get("/list").json == {"buckets": []}


def test_json_needs_no_content_type_and_unknown_members_are_ignored(client):
    assert client.post("/b/b", {"nonsense": [1], "quota_size": 5}).status == 200


def test_json_body_has_a_limit(client):
    answer = client.request("POST", "/b/b", [b" " * 600_000, b" " * 600_000])
    assert answer.status == 422
    assert answer.error.startswith("Invalid JSON: the body has more than")


def test_bucket_name_is_checked(client):
    answer = client.post("/b/a%20b")
    assert answer.status == 422
    assert answer.error == "Bucket or entry name can contain only letters, digests and [-,_] symbols"
    assert client.post("/b/$x").status == 422


def test_alive_and_ready(client):
    for path in ("/alive", "/ready"):
        for method in ("GET", "HEAD"):
            answer = client.request(method, path)
            assert (answer.status, answer.body) == (200, b"")


def test_ready_says_when_writing_has_stopped(client):
    client.bucket("b")
    client.db._fail(OSError("disk"))
    assert client.get("/ready").status == 503
    assert client.get("/alive").status == 200
    assert client.get("/list").status == 200
    answer = client.write("b/e", 1)
    assert answer.status == 503
    assert answer.error.startswith("Not possible at present (error ")


def test_quotes_of_a_message_become_apostrophes_in_the_body(client):
    client.bucket("b")
    client.write("b/e", 1, b"", {"a": "1"})
    id = client.query("/b/b/e", when={"$exists": [{"$ref": ["x"]}]}, strict=True)
    answer = client.get(f"/b/b/e?q={id}")
    assert (answer.status, answer.error) == (404, "Label '\"x\"' not found")
    assert answer.json == {"detail": "Label ''x'' not found"}


def test_message_that_is_no_header_value(client):
    answer = client.get("/b/%C3%A9")
    assert (answer.status, answer.error) == (404, "Unparsable message")
    assert answer.json == {"detail": "Bucket 'é' is not found"}


def test_unknown_paths(client):
    for method in ("GET", "HEAD"):
        answer = client.request(method, "/nothing")
        assert (answer.status, answer.error) == (404, "Not found")
    assert client.request("GET", "/x", api=False).json == {"detail": "Not found"}
    for method, path in (("POST", "/nothing"), ("DELETE", "/info"), ("POST", "/list"), ("PUT", "/b/x/y")):
        answer = client.request(method, path)
        assert answer.status == 405
        assert "x-reduct-error" not in answer.headers
    assert client.request("POST", "/list").headers["allow"] == "GET"


def test_head_is_answered_like_get_everywhere(client):
    answer = client.head("/list")
    assert (answer.status, answer.headers["content-length"]) == (200, "14")


def test_root_leads_to_the_console(client):
    for path in ("/", "/ui"):
        answer = client.request("GET", path, api=False)
        assert (answer.status, answer.headers["location"]) == (302, "/ui/")


def test_a_browser_finds_a_page_that_says_where_things_are(client):
    page = client.request("GET", "/ui/", api=False)
    assert page.status == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for path in re.findall(r'href="(/api[^"]+)"', page.body.decode()):
        assert client.request("GET", path, api=False).status == 200


def test_base_path():
    client = Client(config=FaceConfig(base_path="/lamina/", instance_name="box"))
    assert client.request("GET", "/lamina/api/v1/info", api=False).json["instance_name"] == "box"
    assert client.get("/info").status == 404
    assert client.request("GET", "/lamina/", api=False).headers["location"] == "/lamina/ui/"
    client.close()


def test_internal_errors_are_told_by_a_number_that_is_in_the_log(client, caplog):
    def fail(*_):
        raise RuntimeError("/secret/path")

    client.db.buckets.list = fail
    answer = client.get("/list")
    assert answer.status == 500
    number = answer.error.rpartition(" ")[2]
    assert len(bytes.fromhex(number)) == 6
    assert "/secret" not in answer.body.decode()
    assert number in caplog.text


def test_document_is_served(client):
    document = json.loads(client.get("/openapi.json").body)
    assert document["openapi"] == "3.1.0"
    assert document["paths"]["/info"]["get"]["security"] == [{"token": []}]


# -- managed jobs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "kind"), [("replications", "Replication"), ("lifecycles", "Lifecycle")])
def test_jobs_are_managed(client, path, kind):
    settings = {"src_bucket": "a", "when": {"&x": {"$gt": 1}, "$limit": 5}}
    assert client.post(f"/{path}/j", settings).status == 200
    assert client.post(f"/{path}/j", settings).error == f"{kind} 'j' already exists"
    assert client.get(f"/{path}").json == {path: [{"name": "j", "mode": "enabled"}]}
    assert client.get(f"/{path}/j").json["settings"] == settings
    assert client.put(f"/{path}/j", {"src_bucket": "b"}).status == 200
    assert client.patch(f"/{path}/j/mode", {"mode": "disabled"}).status == 200
    assert client.get(f"/{path}/j").json["info"]["mode"] == "disabled"
    assert client.patch(f"/{path}/j/mode", {}).status == 422
    assert client.post(f"/{path}/k", b"[]").status == 422
    assert client.delete(f"/{path}/j").status == 200
    assert client.get(f"/{path}/j").error == f"{kind} 'j' does not exist"


# -- who hears of it -------------------------------------------------------------------------------------------------


class Heard:
    def __init__(self):
        self.calls, self.wrotes, self.reads = [], [], []

    def call(self, *told):
        self.calls.append(told[:-1])
        assert told[-1] >= 0

    def wrote(self, *told):
        self.wrotes.append(told)

    def read(self, *told):
        self.reads.append(told)


def test_observer_hears_of_calls_and_bytes():
    heard = Heard()
    client = Client(tokens=True, observer=heard)
    client.token = client.tokens.create("admin", {"full_access": True})
    client.bucket("b")
    client.write("b/e", 1, b"abc")
    client.post("/b/b/e/batch", b"abcd", [("x-reduct-time-1", "1,"), ("x-reduct-time-2", "3,")])
    client.get("/b/b/e?ts=2")
    client.head("/b/b/e?ts=2")
    client.get(f"/b/b/e/batch?q={client.query('/b/b/e')}")
    client.token = client.tokens.create("other", {})
    client.get("/b/b")
    client.token = "wrong"
    client.get("/list")
    client.close()
    assert heard.wrotes == [("b", "e", 1, 3), ("b", "e", 1, 3)]
    assert heard.reads == [("b", "e", 1, 3), ("b", "e", 1, 0), ("b", "e", 1, 3), ("b", "e", 1, 3)]
    assert heard.calls[0] == ("admin", "POST", "/api/v1/b/b", "127.0.0.1", 200, "")
    assert heard.calls[-1] == ("unauthorized", "GET", "/api/v1/list", "127.0.0.1", 401, "Invalid token")
    message = "Token 'other' doesn't have read access to bucket 'b'"
    assert heard.calls[-2] == ("other", "GET", "/api/v1/b/b", "127.0.0.1", 403, message)
    assert len(heard.calls) == 9
