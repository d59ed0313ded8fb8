"""Single records over HTTP (contract 5, 6)."""

from __future__ import annotations

import pytest

from lamina.faces.reduct.tests.asgi import Client


@pytest.fixture
def plant(client: Client) -> Client:
    client.bucket("b")
    return client


def test_written_record_is_read_by_time_and_as_the_latest(plant):
    assert plant.write("b/cam", 5, b"five", {"Line": "a", "empty": ""}, "image/png").status == 200
    assert plant.write("b/cam", 7, b"seven").status == 200
    answer = plant.get("/b/b/cam?ts=5")
    assert (answer.status, answer.body) == (200, b"five")
    assert answer.labels == {"line": "a", "empty": ""}
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-disposition"] == "attachment"
    assert answer.headers["x-reduct-time"] == "5"
    assert answer.headers["x-reduct-entry"] == "cam"
    latest = plant.get("/b/b/cam")
    assert latest.body == b"seven"
    assert latest.headers["content-type"] == "application/octet-stream"


def test_every_answer_carries_api_and_server(plant):
    for answer in (plant.get("/info"), plant.get("/b/nope"), plant.get("/nope"), plant.request("POST", "/list"),
                   plant.get("/api", ()), plant.get("/b/b/x?q=99"), plant.head("/b/nope")):  # fmt: skip
        assert answer.headers["x-reduct-api"] == "1.21"
        assert answer.headers["server"].startswith("ReductStore 1.21.0 (Lamina/")


def test_head_states_the_size_and_sends_nothing(plant):
    plant.write("b/cam", 5, b"x" * 1000, {"a": "1"})
    answer = plant.head("/b/b/cam?ts=5")
    assert answer.status == 200
    assert answer.headers["content-length"] == "1000"
    assert answer.labels == {"a": "1"}


def test_record_that_is_being_written(plant):
    plant.write("b/cam", 5)
    bucket = plant.db.buckets.get("b")
    write = bucket.open_write(bucket.existing_entry("cam"), 7, 3, (), "text/plain")
    for answer in (plant.get("/b/b/cam?ts=7"), plant.head("/b/b/cam?ts=7")):
        assert (answer.status, answer.error) == (425, "Record with timestamp 7 in b/cam is still being written")
    assert plant.get("/b/b/cam").headers["x-reduct-time"] == "5"
    write.abort()
    assert plant.get("/b/b/cam?ts=7").status == 404


def test_storage_limit_comes_before_the_bucket(plant):
    plant.db.records.max_bytes = 10
    assert plant.write("nope/cam", 5, b"x" * 5).status == 404
    answer = plant.write("nope/cam", 5, b"x" * 50)
    assert (answer.status, answer.error) == (500, "storage limit exceeded")


def test_record_of_no_bytes(plant):
    plant.write("b/cam", 0)
    answer = plant.get("/b/b/cam?ts=0")
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "0")


@pytest.mark.parametrize("size", [65_536, 65_537, 1 << 20, (3 << 20) + 5])
def test_large_contents_stream_in_and_out(plant, size):
    content = bytes(range(251)) * (size // 251 + 1)
    content = content[:size]
    chunks = [content[i : i + 50_000] for i in range(0, size, 50_000)]
    answer = plant.request("POST", "/b/b/cam?ts=1", chunks, {"x-reduct-content-length": str(size)})
    assert answer.status == 200
    assert plant.get("/b/b/cam?ts=1").body == content


@pytest.mark.parametrize("size", [10, 100_000])
@pytest.mark.parametrize("length", [-1, 1], ids=["shorter", "longer"])
def test_body_of_another_length_is_refused_and_nothing_kept(plant, size, length):
    """Contract 21 item 3: the reference says 200 and keeps a broken record."""
    body = [b"x" * (size + length)]
    answer = plant.request("POST", "/b/b/cam?ts=1", body, {"x-reduct-content-length": str(size)})
    assert answer.status == 400
    assert answer.error == f"Content is {'bigger' if length > 0 else 'smaller'} than in content-length"
    assert plant.get("/b/b/cam?ts=1").status == 404
    assert plant.write("b/cam", 1, b"now").status == 200, "the time is free again"


@pytest.mark.parametrize("size", [10, 100_000])
def test_client_that_goes_away_leaves_nothing(plant, size):
    request = plant.prepare("POST", "/b/b/cam?ts=1", [b"x" * 5], {"content-length": str(size)})
    request.gone = True
    plant.run(plant.face(request.scope, request.receive, request.send))
    assert request.sent == []
    assert plant.write("b/cam", 1, b"now").status == 200


@pytest.mark.parametrize(
    ("path", "headers", "status", "message"),
    [
        ("/b/b/cam", {}, 422, "'ts' parameter is required"),
        ("/b/b/cam?ts=x", {}, 422, "'ts' must be an unix timestamp in microseconds"),
        ("/b/b/cam?ts=-1", {}, 422, "'ts' must be an unix timestamp in microseconds"),
        ("/b/b/cam?ts=1", {}, 422, "content-length header is required"),
        ("/b/b/cam?ts=1", {"x-reduct-content-length": "x"}, 422, "content-length header must be a number"),
        ("/b/nope/cam?ts=1", {"x-reduct-content-length": "3"}, 404, "Bucket 'nope' is not found"),
        (
            "/b/b/a//c?ts=1",
            {"x-reduct-content-length": "3"},
            422,
            "Entry name must be non-empty and must not contain empty path segments",
        ),
        (
            "/b/b/a.c?ts=1",
            {"x-reduct-content-length": "3"},
            422,
            "Entry name can contain only letters, digits and [-,_,/] symbols or end with '/$meta'",
        ),
        ("/b/b/old?ts=7", {"x-reduct-content-length": "3"}, 409, "A record with timestamp 7 already exists"),
    ],
)
def test_write_is_refused_before_its_body_is_read(plant, path, headers, status, message):
    plant.write("b/old", 7, b"abc")
    request = plant.prepare("POST", path, [b"abc"], headers)
    plant.run(plant.face(request.scope, request.receive, request.send))
    answer = request.answer()
    assert (answer.status, answer.error) == (status, message)
    assert answer.json == {"detail": message.replace('"', "'")}
    assert answer.headers["content-type"] == "application/json"
    assert request.reads == 0


def test_quota_is_refused_before_the_body_is_read(plant):
    plant.bucket("hard", quota_type="HARD", quota_size=100)
    request = plant.prepare("POST", "/b/hard/e?ts=1", [b"x"], {"content-length": "1000"})
    plant.run(plant.face(request.scope, request.receive, request.send))
    assert (request.answer().status, request.answer().error) == (400, "Quota of 'hard' exceeded")
    assert request.reads == 0


def test_fifo_quota_that_cannot_be_kept_is_500(plant):
    plant.bucket("fifo", quota_type="FIFO", quota_size=100)
    answer = plant.write("fifo/e", 1, b"x" * 1000)
    assert (answer.status, answer.error) == (500, "Failed to keep quota of 'fifo'")


def test_compressed_body_is_announced_by_its_own_header(plant):
    headers = {"content-encoding": "gzip", "content-length": "3", "x-reduct-content-length": "5"}
    assert plant.request("POST", "/b/b/e?ts=1", [b"12345"], headers).status == 200
    assert plant.get("/b/b/e?ts=1").body == b"12345"


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/b/nope/e", 404, "Bucket 'nope' is not found"),
        ("/b/b/nope?ts=1", 404, "Entry 'nope' not found in bucket 'b'"),
        ("/b/b/e?ts=9", 404, "Record 9 not found in entry b/e"),
        ("/b/b/e?ts=x", 422, "'ts' must be an unix timestamp in microseconds"),
        ("/b/b/e?q=x", 422, "'query' must be a number"),
        ("/b/b/e/batch", 422, "'q' parameter is required for batched reads"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_reads_that_find_nothing(plant, method, path, status, message):
    plant.write("b/e", 1)
    answer = plant.request(method, path)
    assert (answer.status, answer.error) == (status, message)


def test_time_wins_over_query(plant):
    plant.write("b/e", 1, b"one")
    assert plant.get("/b/b/e?ts=1&q=77").body == b"one"
    assert plant.get("/b/b/e?q=77&ts=1").body == b"one"


def test_labels_are_set_overwritten_and_removed(plant):
    plant.write("b/e", 1, b"x", {"a": "1", "b": "2", "c": "3"})
    headers = {"x-reduct-label-a": "9", "x-reduct-label-b": "", "x-reduct-label-d": "4", "x-reduct-label-z": ""}
    assert plant.patch("/b/b/e?ts=1", b"ignored", headers).status == 200
    assert plant.get("/b/b/e?ts=1").labels == {"a": "9", "c": "3", "d": "4"}
    assert plant.patch("/b/b/e?ts=2").error == "Record 2 not found in entry b/e"
    assert plant.patch("/b/b/nope?ts=2").error == "Entry 'nope' not found in bucket 'b'"
    assert plant.patch("/b/b/e").error == "'ts' parameter is required"


def test_records_and_entries_are_removed(plant):
    plant.write("b/e", 1)
    plant.write("b/e/sub", 1)
    assert plant.delete("/b/b/e?ts=1").status == 200
    assert plant.delete("/b/b/e?ts=1").error == "Record 1 not found in entry b/e"
    assert plant.delete("/b/b/e?x=1").error == "'ts' parameter is required"
    assert plant.delete("/b/b/e").status == 200
    assert plant.get("/b/b").json["entries"] == []
    assert plant.delete("/b/b/e").status == 404


def test_entries_are_renamed_with_what_is_below(plant):
    plant.write("b/e/sub", 1, b"x")
    assert plant.put("/b/b/e/rename", {"new_name": "new/e"}).status == 200
    assert plant.get("/b/b/new/e/sub?ts=1").body == b"x"
    assert plant.put("/b/b/e/rename", {"new_name": "y"}).status == 404
    assert plant.put("/b/b/new/e/rename", {"new_name": "new"}).status == 409
    assert plant.put("/b/b/new/rename", {"new_name": "a b"}).status == 422


def test_label_values_must_be_utf8(plant):
    answer = plant.request("POST", "/b/b/e?ts=1", b"", [("x-reduct-label-x", "\udcff")])
    assert (answer.status, answer.error) == (422, "Label values for x-reduct-label-x must be valid UTF-8 strings")
    assert plant.write("b/e", 1, b"", {"x": "é"}).status == 200


def test_odd_labels_never_fail_a_read(plant):
    """Contract 21 item 4."""
    headers = [("x-reduct-time-1", '0,a/b;c="µ",käse=böse,a b=1,x=y'), ("content-length", "0")]
    assert plant.post("/b/b/e/batch", b"", headers).status == 200
    answer = plant.get("/b/b/e?ts=1")
    assert answer.status == 200
    assert answer.labels == {"k%c3%a4se": "b%C3%B6se", "a%20b": "1", "x": "y"}


def test_single_writes_of_one_tick_are_committed_together(plant):
    import asyncio

    plant.write("b/e", 1)
    bucket = plant.db.buckets.get("b")
    commits: list[int] = []
    commit = bucket.commit_writes
    bucket.commit_writes = lambda writes: commits.append(len(writes)) or commit(writes)

    async def burst():
        return await asyncio.gather(*(plant.arequest("POST", f"/b/b/e?ts={i}", b"x") for i in range(2, 22)))

    assert {answer.status for answer in plant.run(burst())} == {200}
    assert sum(commits) == 20
    assert len(commits) < 10
    assert plant.times("/b/b/e") == list(range(1, 22))


def test_failed_commit_fails_its_writes_alone(plant):
    plant.write("b/e", 1)
    bucket = plant.db.buckets.get("b")

    def fail(writes):
        for write in writes:
            write.abort()
        raise OSError("disk")

    bucket.commit_writes = fail
    answer = plant.write("b/e", 2)
    assert answer.status == 500
    assert answer.error.startswith("Internal error; the server's log tells more under ")
    del bucket.commit_writes
    assert plant.write("b/e", 2).status == 200
