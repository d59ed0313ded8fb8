"""The wire contract, sections 3 and 4: the server's endpoints; buckets, their sizes to the byte, quotas."""

import re

import pytest

pytestmark = pytest.mark.wire

DEFAULTS = {"quota_type": "NONE", "quota_size": 0, "max_block_size": 64_000_000, "max_block_records": 1024}


# 3


def test_info_of_an_empty_and_of_a_used_server(serve, http_to):
    api = http_to(serve(RS_INSTANCE_NAME="here"))
    info = api("GET", "/info").json
    uptime = info.pop("uptime")
    assert isinstance(uptime, int)
    assert uptime >= 0
    empty = {
        "version": "1.21.0", "instance_name": "here", "instance_role": "STANDALONE", "bucket_count": 0, "usage": 0,
        "oldest_record": 0, "latest_record": 0, "defaults": {"bucket": DEFAULTS}, "license": None,
    }  # fmt: skip
    assert info == empty
    api("POST", "/b/one")
    api("POST", "/b/two")
    api("POST", "/b/empty")
    api.write("one", "x", 1_000_000, b"x" * 11)
    api.write("two", "x", 6_000_000, b"x" * 11)
    info = api("GET", "/info").json
    assert (info["bucket_count"], info["oldest_record"], info["latest_record"]) == (3, 1_000_000, 6_000_000)
    sizes = [bucket["size"] for bucket in api("GET", "/list").json["buckets"]]
    assert info["usage"] == sum(sizes)
    assert sizes[1:] == [43, 43]


def test_list_is_sorted_and_shows_what_may_be_read(secured_api):
    api = secured_api()
    for name in ("list-b", "list-a", "list-c"):
        api("POST", f"/b/{name}")
    token = api("POST", "/tokens/lister", {"permissions": {"read": ["list-a", "list-c"], "write": ["list-b"]}}).json
    shown = [bucket["name"] for bucket in secured_api(token["value"])("GET", "/list").json["buckets"]]
    assert shown == ["list-a", "list-c"]
    everything = [bucket["name"] for bucket in api("GET", "/list").json["buckets"]]
    assert everything == sorted(everything)
    assert {"list-a", "list-b", "list-c"} <= set(everything)
    info = secured_api(token["value"])("GET", "/info").json
    assert info["bucket_count"] == api("GET", "/info").json["bucket_count"]
    for name in ("list-b", "list-a", "list-c"):
        api("DELETE", f"/b/{name}")


@pytest.mark.parametrize("path", ["/alive", "/ready"])
def test_alive_and_ready_need_no_token(secured_api, path):
    for method in ("GET", "HEAD"):
        answer = secured_api(None)(method, path)
        assert (answer.status, answer.body) == (200, b"")


def test_the_root_leads_to_the_console(secured_api):
    answer = secured_api(None)("GET", "//")
    assert answer.status == 302
    assert answer["location"] == "/ui/"


def test_another_base_path(serve, http_to):
    api = http_to(serve(RS_API_BASE_PATH="/store/"))
    assert api("GET", "//store/api/v1/info").status == 200
    assert api("GET", "/info").error == (404, "Not found")
    assert api("GET", "//store/")["location"] == "/store/ui/"


# 4


def test_create_with_defaults(api, bucket):
    found = api("GET", f"/b/{bucket}").json
    assert found == {
        "info": {
            "name": bucket, "entry_count": 0, "size": 0, "oldest_record": 0, "latest_record": 0,
            "is_provisioned": False, "status": "READY",
        },
        "settings": DEFAULTS,
        "entries": [],
    }  # fmt: skip
    assert found["info"] in api("GET", "/list").json["buckets"]


def test_create_answers(api, bucket):
    assert api("POST", f"/b/{bucket}").error == (409, f"Bucket '{bucket}' already exists")
    assert api("POST", f"/b/{bucket}-2", b"{").status == 422
    assert api("POST", f"/b/{bucket}-2", {"quota_type": "OTHER"}).status == 422
    assert api("HEAD", f"/b/{bucket}-2").status == 404
    answer = api("POST", f"/b/{bucket}-2", {"quota_type": "OTHER"})
    assert answer.json["detail"] == answer["x-reduct-error"].replace('"', "'")


def test_settings_merge(api, bucket):
    name = f"{bucket}-2"
    given = {"quota_type": "FIFO", "quota_size": 100, "max_block_size": None}
    assert api("POST", f"/b/{name}", given).status == 200
    settings = DEFAULTS | {"quota_type": "FIFO", "quota_size": 100}
    assert api("GET", f"/b/{name}").json["settings"] == settings
    assert api("PUT", f"/b/{name}", {"max_block_records": 5, "quota_size": None}).status == 200
    assert api("GET", f"/b/{name}").json["settings"] == settings | {"max_block_records": 5}
    assert api("PUT", f"/b/{name}").status == 200
    assert api("GET", f"/b/{name}").json["settings"] == settings | {"max_block_records": 5}
    assert api("PUT", f"/b/{name}", b"{").status == 422
    assert api("PUT", f"/b/{name}", {"quota_type": "x"}).status == 422
    assert api("PUT", f"/b/{name}-none", {}).error == (404, f"Bucket '{name}-none' is not found")


def test_head_and_removal(api, bucket):
    assert (api("HEAD", f"/b/{bucket}").status, api("HEAD", f"/b/{bucket}").body) == (200, b"")
    api.write(bucket, "x", 1, b"x")
    assert api("DELETE", f"/b/{bucket}").status == 200
    assert api("HEAD", f"/b/{bucket}").status == 404
    assert api("GET", f"/b/{bucket}").error == (404, f"Bucket '{bucket}' is not found")
    assert api("DELETE", f"/b/{bucket}").error == (404, f"Bucket '{bucket}' is not found")
    assert api("POST", f"/b/{bucket}").status == 200  # the name is free, the old records are gone
    assert api("GET", f"/b/{bucket}").json["entries"] == []


def test_rename(api, bucket):
    api("POST", f"/b/{bucket}-2")
    api.write(bucket, "x", 1, b"content")

    def rename(old, new):
        return api("PUT", f"/b/{old}/rename", {"new_name": new}).error

    name = "Bucket or entry name can contain only letters, digests and [-,_] symbols"
    assert rename("none", "a b") == (422, name)
    assert rename("none", f"{bucket}-2") == (409, f"Bucket '{bucket}-2' already exists")
    assert rename("none", f"{bucket}-3") == (404, "Bucket 'none' is not found")
    assert rename(bucket, f"{bucket}-3") == (200, None)
    assert api("GET", f"/b/{bucket}-3/x", ts=1).body == b"content"
    assert api("HEAD", f"/b/{bucket}").status == 404
    assert api("PUT", f"/b/{bucket}-3/rename", b"nonsense").status == 422


def test_provisioned_buckets(serve, http_to):
    api = http_to(serve(RS_BUCKET_1_NAME="fixed", RS_BUCKET_1_QUOTA_TYPE="FIFO", RS_BUCKET_1_QUOTA_SIZE="1GB"))
    found = api("GET", "/b/fixed").json
    assert found["info"]["is_provisioned"] is True
    assert found["settings"] == DEFAULTS | {"quota_type": "FIFO", "quota_size": 1_000_000_000}
    assert api("PUT", "/b/fixed", {}).error == (409, "Can't change settings of provisioned bucket 'fixed'")
    assert api("DELETE", "/b/fixed").error == (409, "Can't remove provisioned bucket 'fixed'")
    assert api("PUT", "/b/fixed/rename", {"new_name": "x"}).error == (409, "Can't rename provisioned bucket 'fixed'")


def test_entries_are_sorted_by_byte_and_attachments_hidden(api, bucket):
    for entry in ("b", "B", "a-1", "a/1", "a"):
        api.write(bucket, entry, 5, b"x")
    before = api("GET", f"/b/{bucket}").json
    assert [entry["name"] for entry in before["entries"]] == ["B", "a", "a-1", "a/1", "b"]
    api.write(bucket, "a/$meta", 900, b"{}", key="k")
    after = api("GET", f"/b/{bucket}").json
    assert after["entries"] == before["entries"]
    assert after["info"]["entry_count"] == 5
    assert after["info"]["latest_record"] == 5
    assert after["info"]["size"] > before["info"]["size"]


def test_an_entry_tells(api, bucket):
    api.write(bucket, "x", 1_000_000, b"x" * 8)
    assert api("GET", f"/b/{bucket}").json["entries"] == [
        {"name": "x", "size": 40, "block_count": 1, "record_count": 1, "oldest_record": 1_000_000,
         "latest_record": 1_000_000, "status": "READY"}
    ]  # fmt: skip
    api("DELETE", f"/b/{bucket}/x", ts=1_000_000)
    empty = api("GET", f"/b/{bucket}").json
    entry = empty["entries"][0]
    assert [entry[name] for name in ("size", "block_count", "record_count", "oldest_record", "latest_record")] == [
        0
    ] * 5
    assert (empty["info"]["oldest_record"], empty["info"]["latest_record"]) == (0, 0)


def v(n: int) -> int:
    return max(1, (n.bit_length() + 6) // 7)


def metadata(time_us: int, begin: int, end: int, labels: dict[str, str], content_type: str) -> int:
    """The formula of the contract, word for word."""
    sec, nanos = time_us // 1_000_000, time_us % 1_000_000 * 1000
    t = (1 + v(sec) if sec else 0) + (1 + v(nanos) if nanos else 0)
    m = 1 + v(t) + t + (1 + v(begin) if begin else 0) + (1 + v(end) if end else 0)
    for name, value in labels.items():
        i = (1 + v(len(name)) + len(name)) + (1 + v(len(value)) + len(value))
        m += 1 + v(i) + i
    return m + 1 + v(len(content_type)) + len(content_type)


S = 1_000_000
SIZES = {
    "two of 11 bytes": ([(5 * S, 11, {}), (6 * S, 11, {})], 88),
    "with a label": ([(1 * S, 11, {"number": "1"}), (2 * S, 11, {"number": "2"})], 114),
    "three": ([(3 * S, 11, {"number": "1"}), (4 * S, 11, {"number": "2"}), (5 * S, 11, {"number": "3"})], 172),
    "8 bytes": ([(1 * S, 8, {})], 40),
    "11 bytes": ([(2 * S, 11, {})], 43),
    "at zero, empty": ([(0, 0, {})], None),
    "long": ([(1_700_000_000 * S + 123_456, 70_000, {"a": "b" * 200}), (1_700_000_001 * S, 5, {})], None),
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_to_the_byte(api, bucket, name):
    records, stated = SIZES[name]
    expected = begin = 0
    for time_us, size, labels in records:
        api.write(bucket, "x", time_us, b"x" * size, **labels)
        expected += size + metadata(time_us, begin, begin + size, labels, "application/octet-stream")
        begin += size
    assert stated in (None, expected)
    found = api("GET", f"/b/{bucket}").json
    assert found["entries"][0]["size"] == found["info"]["size"] == expected


def test_offsets_begin_anew_in_each_block(api, bucket):
    api("PUT", f"/b/{bucket}", {"max_block_records": 2})
    expected = 0
    for i in range(5):
        api.write(bucket, "x", i * S, b"x" * 100)
        begin = i % 2 * 100
        expected += 100 + metadata(i * S, begin, begin + 100, {}, "application/octet-stream")
    entry = api("GET", f"/b/{bucket}").json["entries"][0]
    assert (entry["block_count"], entry["size"]) == (3, expected)


def test_blocks_by_size_and_before_the_first(api, bucket):
    api("PUT", f"/b/{bucket}", {"max_block_size": 250})
    for time_us in (10, 20, 30):
        api.write(bucket, "x", time_us, b"x" * 100)
    assert api("GET", f"/b/{bucket}").json["entries"][0]["block_count"] == 2
    api.write(bucket, "x", 5, b"x")
    assert api("GET", f"/b/{bucket}").json["entries"][0]["block_count"] == 3
    api.write(bucket, "x", 12, b"x")
    assert api("GET", f"/b/{bucket}").json["entries"][0]["block_count"] == 3


# Quotas


def test_hard_quota(api, bucket):
    api("PUT", f"/b/{bucket}", {"quota_type": "HARD", "quota_size": 100})
    api.write(bucket, "x", 1, b"x" * 50)
    refused = 400, f"Quota of '{bucket}' exceeded"
    assert api("POST", f"/b/{bucket}/x", b"x" * 50, ts=2).error == refused
    answer = api("POST", f"/b/{bucket}/x/batch", b"x" * 50, {"x-reduct-time-3": "50,"})
    assert answer.named("x-reduct-error-") == {"3": f"400,Quota of '{bucket}' exceeded"}
    assert api("GET", f"/b/{bucket}").json["entries"][0]["record_count"] == 1


def test_fifo_quota_removes_the_oldest_blocks(api, bucket):
    api("PUT", f"/b/{bucket}", {"quota_type": "FIFO", "quota_size": 1000, "max_block_records": 1})
    api.write(bucket, "old", 1, b"x" * 200)
    api.write(bucket, "old/$meta", 2, b"x" * 200, key="k")
    for time_us in (10, 20, 30):
        api.write(bucket, "new", time_us, b"x" * 200)
    entries = {entry["name"]: entry["record_count"] for entry in api("GET", f"/b/{bucket}").json["entries"]}
    assert entries == {"new": 3, "old": 0}
    api.write(bucket, "old", 40, b"x" * 200)
    assert api("GET", f"/b/{bucket}/new", ts=10).status == 404
    assert api("GET", f"/b/{bucket}/old/$meta", ts=2).status == 200
    assert api("GET", f"/b/{bucket}").json["info"]["size"] <= 1000


def test_fifo_quota_that_cannot_be_kept(api, bucket):
    api("PUT", f"/b/{bucket}", {"quota_type": "FIFO", "quota_size": 100})
    assert api("POST", f"/b/{bucket}/x", b"x" * 200, ts=1).error == (500, f"Failed to keep quota of '{bucket}'")


def test_storage_limit(serve, http_to):
    api = http_to(serve(RS_ENGINE_MAX_STORAGE_SIZE="1KB"))
    api("POST", "/b/x")
    assert api("POST", "/b/x/y", b"x" * 2000, ts=1).error == (500, "storage limit exceeded")
    assert api("POST", "/b/none/a%20b", b"x" * 2000, ts=1).error == (500, "storage limit exceeded")
    api.write("x", "y", 1, b"x")


def test_order_of_the_checks_of_a_write(api, bucket):
    api("PUT", f"/b/{bucket}", {"quota_type": "HARD", "quota_size": 100})
    api.write(bucket, "x", 1, b"x")
    big = b"x" * 200
    assert api("POST", "/b/none/a%20b", big, ts=1).status == 404
    assert api("POST", f"/b/{bucket}/a%20b", big, ts=1).status == 422
    assert api("POST", f"/b/{bucket}/x/$meta", big, ts=1).status == 400  # the quota, before the missing key
    assert api("POST", f"/b/{bucket}/x/$meta", b"x", ts=1).status == 422
    assert api("POST", f"/b/{bucket}/x", big, ts=1).status == 400  # the quota, before the duplicate
    assert api("POST", f"/b/{bucket}/x", b"x", ts=1).status == 409


def test_permissions_follow_the_bucket(secured_api):
    api = secured_api()
    api("POST", "/b/moving")
    permissions = {"read": ["moving", "other"], "write": ["moving"]}
    value = api("POST", "/tokens/follower", {"permissions": permissions}).json["value"]
    api("PUT", "/b/moving/rename", {"new_name": "moved"})
    found = api("GET", "/tokens/follower").json["permissions"]
    assert (sorted(found["read"]), found["write"]) == (["moved", "other"], ["moved"])
    assert secured_api(value)("GET", "/b/moved").status == 200
    api("DELETE", "/b/moved")
    found = api("GET", "/tokens/follower").json["permissions"]
    assert (found["read"], found["write"]) == (["other"], [])


def test_provisioning_defaults_of_new_buckets(serve, http_to):
    changed = {"RS_DEFAULTS_BUCKET_QUOTA_TYPE": "FIFO", "RS_DEFAULTS_BUCKET_QUOTA_SIZE": "10MB",
               "RS_DEFAULTS_BUCKET_MAX_BLOCK_SIZE": "1MB", "RS_DEFAULTS_BUCKET_MAX_BLOCK_RECORDS": "7"}  # fmt: skip
    api = http_to(serve(**changed))
    expected = {"quota_type": "FIFO", "quota_size": 10_000_000, "max_block_size": 1_000_000, "max_block_records": 7}
    assert api("GET", "/info").json["defaults"]["bucket"] == expected
    api("POST", "/b/x", {"quota_size": 5})
    assert api("GET", "/b/x").json["settings"] == expected | {"quota_size": 5}


def test_empty_variables_count_as_not_set(serve, http_to):
    api = http_to(serve(RS_API_TOKEN="", RS_CERT_PATH="", RS_CERT_KEY_PATH="/none", RS_AUDIT_ENABLED="true"))
    assert api("GET", "/info").status == 200
    assert re.match(r"ReductStore 1\.\d+\.\d+", api("GET", "/info")["server"])
