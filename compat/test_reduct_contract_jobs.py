"""The wire contract, sections 14 and 15: replications and lifecycle policies as managed objects."""

import pytest

pytestmark = pytest.mark.wire


@pytest.fixture
def replicate(api, bucket):
    """replicate(name, method="POST", **changes)"""
    names = set()

    def send(name, method="POST", **changes):
        names.add(name)
        body = {"src_bucket": bucket, "dst_bucket": "there", "dst_host": "http://127.0.0.1:1"} | changes
        return api(method, f"/replications/{name}", body)

    yield send
    for name in names:
        api("DELETE", f"/replications/{name}")


@pytest.fixture
def live(api, bucket):
    """live(name, method="POST", **changes)"""
    names = set()

    def send(name, method="POST", **changes):
        names.add(name)
        body = {"type": "delete", "bucket": bucket, "older_than": "30d"} | changes
        return api(method, f"/lifecycles/{name}", body)

    yield send
    for name in names:
        api("DELETE", f"/lifecycles/{name}")


# 14


def test_a_replication(api, bucket, replicate):
    when = {"&score": {"$gt": 10}}
    assert replicate("r1", dst_token="secret", entries=["a*"], dst_prefix="/p/", when=when).status == 200
    info = {"name": "r1", "mode": "enabled", "is_active": True, "is_provisioned": False, "pending_records": 0}
    found = api("GET", "/replications/r1").json
    assert found == {
        "info": info,
        "settings": {
            "src_bucket": bucket, "dst_bucket": "there", "dst_host": "http://127.0.0.1:1", "dst_token": None,
            "entries": ["a*"], "dst_prefix": "/p/", "when": when, "mode": "enabled", "compression": "none",
        },
        "diagnostics": {"hourly": {"ok": 0, "errored": 0, "errors": {}}},
    }  # fmt: skip
    assert info in api("GET", "/replications").json["replications"]


def test_answers_of_replications(api, bucket, replicate):
    replicate("r2")
    missing = 404, "Replication 'none' does not exist"
    assert replicate("r2").error == (409, "Replication 'r2' already exists")
    assert api("GET", "/replications/none").error == missing
    assert api("DELETE", "/replications/none").error == missing
    assert api("PATCH", "/replications/none/mode", {"mode": "paused"}).error == missing
    assert replicate("none", "PUT").error == missing
    assert replicate("r2", "PUT", entries=["b"], compression="zstd").status == 200
    settings = api("GET", "/replications/r2").json["settings"]
    assert (settings["entries"], settings["compression"]) == (["b"], "zstd")
    assert api("DELETE", "/replications/r2").status == 200
    assert api("GET", "/replications/r2").status == 404


def test_checks_of_replications(api, reduct, bucket, replicate):
    port = reduct.address.partition(":")[2]
    assert replicate("r3", dst_host="nonsense").error == (422, "Invalid destination host 'nonsense'")
    assert replicate("r3", src_bucket="none").error == (
        404, "Source bucket 'none' for replication 'r3' does not exist",
    )  # fmt: skip
    for host in ("127.0.0.1", "localhost", "0.0.0.0"):
        answer = replicate("r3", dst_bucket=bucket, dst_host=f"http://{host}:{port}")
        assert answer.error == (422, "Source and destination buckets must be different")
    status, message = replicate("r3", when={"$xx": 1}).error
    assert status == 422
    assert message.startswith("Invalid replication condition: ")
    assert replicate("r3", mode="x").status == replicate("r3", compression="x").status == 422
    assert replicate("r3", src_bucket=None).status == 422
    assert api("GET", "/replications/r3").status == 404


def test_modes_of_replications(api, replicate):
    replicate("r4")
    for mode in ("disabled", "paused", "enabled"):
        assert api("PATCH", "/replications/r4/mode", {"mode": mode}).status == 200
        found = api("GET", "/replications/r4").json
        assert found["info"]["mode"] == found["settings"]["mode"] == mode
        if mode == "disabled":
            assert found["info"]["is_active"] is False
    assert api("PATCH", "/replications/r4/mode", {"mode": "x"}).status == 422


# 15


def test_a_lifecycle(api, bucket, live):
    when = {"&n": {"$lt": 1}}
    assert live("l1", entries=["a*"], when=when, older_than="25h", interval="600s", mode="dry_run").status == 200
    info = {
        "name": "l1",
        "is_provisioned": False,
        "is_running": True,
        "type": "delete",
        "mode": "dry_run",
        "last_run": None,
    }
    found = api("GET", "/lifecycles/l1").json
    assert found["info"] == info
    assert found["settings"] == {
        "type": "delete", "bucket": bucket, "entries": ["a*"], "older_than": "25h", "interval": "600s",
        "processing_interval": None, "when": when, "mode": "dry_run",
    }  # fmt: skip
    assert info in api("GET", "/lifecycles").json["lifecycles"]
    assert live("l2", interval=None, processing_interval=None, when=None).status == 200
    settings = api("GET", "/lifecycles/l2").json["settings"]
    assert (settings["interval"], settings["mode"], settings["entries"]) == ("3600s", "enabled", [])


def test_answers_of_lifecycles(api, live):
    live("l3")
    missing = 404, "Lifecycle 'none' does not exist"
    assert live("l3").error == (409, "Lifecycle 'l3' already exists")
    assert api("GET", "/lifecycles/none").error == missing
    assert api("DELETE", "/lifecycles/none").error == missing
    assert api("PATCH", "/lifecycles/none/mode", {"mode": "disabled"}).error == missing
    assert live("none", "PUT").error == missing
    assert live("l3", "PUT", older_than="60d", mode="disabled").status == 200
    assert api("GET", "/lifecycles/l3").json["settings"]["older_than"] == "60d"
    assert api("PATCH", "/lifecycles/l3/mode", {"mode": "enabled"}).status == 200
    assert api("GET", "/lifecycles/l3").json["info"]["mode"] == "enabled"
    assert api("DELETE", "/lifecycles/l3").status == 200
    assert api("GET", "/lifecycles/l3").status == 404


def test_checks_of_lifecycles(bucket, live):
    assert live("l4", bucket="none").error == (404, "Bucket 'none' for lifecycle 'l4' does not exist")
    assert live("l4", older_than="59m").error == (
        422, "Lifecycle older_than '59m' is shorter than minimum allowed value of 1h",
    )  # fmt: skip
    assert live("l4", interval="9m").error == (
        422, "Lifecycle interval '9m' is shorter than minimum allowed value of 10m",
    )  # fmt: skip
    assert live("l4", processing_interval="0s").error == (422, "Lifecycle processing_interval '0s' must be positive")
    for member in ("older_than", "interval", "processing_interval"):
        status, message = live("l4", **{member: "soon"}).error
        assert status == 422
        assert message.startswith(f"Invalid lifecycle {member} 'soon': ")
    assert live("l4", type="compress", when={"$eq": [1, 1]}).error == (
        422, "Lifecycle type 'compress' does not support 'when' condition",
    )  # fmt: skip
    status, message = live("l4", when={"$xx": 1}).error
    assert status == 422
    assert message.startswith("Invalid lifecycle condition: ")
    assert live("l4", when={"#ext": {"x": {}}}).error == (
        422, "Lifecycle condition cannot use '#ext' directive",
    )  # fmt: skip
    assert live("l4", type="compress").status == 200


def test_provisioned_jobs(serve, http_to):
    api = http_to(serve(
        RS_BUCKET_1_NAME="b", RS_REPLICATION_1_NAME="r", RS_REPLICATION_1_SRC_BUCKET="b",
        RS_REPLICATION_1_DST_BUCKET="c", RS_REPLICATION_1_DST_HOST="http://127.0.0.1:1",
        RS_LIFECYCLE_1_NAME="l", RS_LIFECYCLE_1_TYPE="delete", RS_LIFECYCLE_1_BUCKET="b",
        RS_LIFECYCLE_1_OLDER_THAN="2h",
    ))  # fmt: skip
    for kind, name, label in (("replications", "r", "replication"), ("lifecycles", "l", "lifecycle")):
        found = api("GET", f"/{kind}/{name}").json
        assert found["info"]["is_provisioned"] is True
        assert api("PUT", f"/{kind}/{name}", found["settings"]).error == (
            409,
            f"Can't update provisioned {label} '{name}'",
        )
        assert api("DELETE", f"/{kind}/{name}").error == (409, f"Can't remove provisioned {label} '{name}'")
        assert api("PATCH", f"/{kind}/{name}/mode", {"mode": "disabled"}).status == 200
