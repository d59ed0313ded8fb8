"""Names are never paths: whatever a bucket, an entry, a token or a link is called, over every way a name comes in."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.security.grounds import Grounds

CANARY = "CANARYNAME"

HOSTILE = {
    "dots": "..",
    "climbing": "../../../../tmp/escaped",
    "climbing inside": "a/../../b",
    "one dot": ".",
    "hidden": ".profile",
    "absolute": "/etc/passwd",
    "backslashes": "..\\..\\windows\\system32",
    "drive": "C:",
    "stream of a file": "file:stream",
    "nul": "a\0b",
    "line": "a\r\nx-injected: 1",
    "newline": "a\n",
    "tab": "a\tb",
    "escape": "\x1b[31m",
    "composed": unicodedata.normalize("NFC", "café"),
    "decomposed": unicodedata.normalize("NFD", "café"),
    "right to left": "a\u202egnp",
    "wide slash": "a\uff0fb",
    "not unicode": "a\udc80b",
    "blank": " ",
    "blanks around": " a ",
    "4 KiB": "x" * 4096,
    "4 KiB of segments": "/".join(["x"] * 2048),
    "segment of 256": "x" * 256,
    "wildcard": "*",
    "percent": "%2e%2e",
    "query": "a?b",
    "fragment": "a#b",
    "home": "~root",
    "shell": "$(id)",
    "quote": "a'b\"c",
    "system": "$system",
    "sql": "x'; drop table buckets; --",
}

LEGAL = ("CON", "nul", "aux", "LPT1", "-rf", "--help", "Name", "name", "NAME", "q-", "0", "_", "x" * 255)
"""Harmless here, whatever an operating system thinks of them; those that differ in case differ."""


@pytest.fixture
def grounds(tmp_path: Path) -> Iterator[Grounds]:
    grounds = Grounds(tmp_path / "data", tokens=False)
    grounds.bucket("b")
    grounds.write("b/e", 1, b"x")
    yield grounds
    grounds.close()


def coded(name: str, safe: str = "") -> str:
    return quote(name.encode("utf-8", "surrogateescape"), safe=safe)


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_name_makes_nothing_and_breaks_nothing(grounds, tmp_path, case):
    name = HOSTILE[case]
    before = grounds.content()
    text = json.dumps(name).encode()
    header = coded(name)
    v2 = {"x-reduct-entries": header, "x-reduct-start-ts": "1", "x-reduct-0-0": "0,", "content-length": "0"}
    calls = [
        ("POST", f"/b/{coded(name)}", b"", {}),
        ("PUT", "/b/b/rename", b'{"new_name":' + text + b"}", {}),
        ("POST", f"/b/b/{coded(name)}?ts=1", b"x", {}),
        ("POST", f"/b/b/{coded(name, safe='/.')}?ts=1", b"x", {}),
        ("POST", f"/b/b/{coded(name)}/batch", b"x", {"x-reduct-time-1": "1,"}),
        ("PUT", "/b/b/e/rename", b'{"new_name":' + text + b"}", {}),
        ("POST", "/io/b/write", b"", v2),
        ("PATCH", "/io/b/update", b"", v2),
        ("POST", f"/io/{coded(name)}/write", b"", {**v2, "x-reduct-entries": "e"}),
        ("POST", "/io/b/q", b'{"query_type":"REMOVE","start":0,"stop":1,"entries":[' + text + b"]}", {}),
        ("GET", f"/b/{coded(name)}", b"", {}),
        ("GET", f"/b/b/{coded(name)}", b"", {}),
        ("DELETE", f"/b/b/{coded(name)}", b"", {}),
        ("DELETE", f"/b/{coded(name)}", b"", {}),
    ]
    for method, path, body, headers in calls:
        answer = grounds.request(method, path, body, headers)
        assert answer.status < 500, (method, path, answer)
        if answer.status >= 300 or answer.status == 204:
            assert answer.headers["x-reduct-error"] or method == "HEAD"
    assert grounds.content() == before, "something was made, renamed or removed"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


@pytest.mark.parametrize("case", HOSTILE)
def test_tokens_and_links_may_be_called_anything_and_stay_where_they_are(tmp_path, case):
    grounds = Grounds(tmp_path / "data")
    try:
        name = HOSTILE[case]
        grounds.db.buckets.create("b", {}).entry("e").write(b"x", 1)
        created = grounds.ask("full", "POST", f"/tokens/{coded(name)}", b"{}")
        assert created.status in (200, 422), created
        if created.status == 200:
            shown = grounds.ask("full", "GET", f"/tokens/{coded(name)}")
            assert shown.json["name"] == name
            mine = grounds.request("GET", "/me", headers={"authorization": f"Bearer {created.json['value']}"})
            assert mine.json["name"] == name
            assert grounds.ask("full", "DELETE", f"/tokens/{coded(name)}").status == 200
        asked = {"bucket": "b", "entry": "e", "query": {"query_type": "QUERY"}, "expire_at": 1 << 40,
                 "record_entry": "e", "record_timestamp": 1}  # fmt: skip
        answer = grounds.ask("full", "POST", f"/links/{coded(name)}", json.dumps(asked).encode())
        assert answer.status in (200, 404, 405), answer
        if answer.status == 200:
            link = answer.json["link"]
            assert link.isascii()
            assert link.isprintable()
            assert " " not in link
            followed = grounds.request("GET", link.partition("/api/v1")[2])
            assert (followed.status, followed.body) == (200, b"x")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]
    finally:
        grounds.close()


def test_names_that_an_operating_system_minds_are_names_like_others(grounds):
    for name in LEGAL:
        if name != "b":
            grounds.bucket(name)
        assert grounds.write(f"{name}/{name}", 1, name.encode()).status == 200
    for name in LEGAL:
        assert grounds.get(f"/b/{name}/{name}").body == name.encode()
    grounds.db.flush()
    for name in LEGAL:
        assert grounds.get(f"/b/{name}/{name}").body == name.encode()


def test_twins_of_unicode_and_case_are_not_confused(grounds):
    grounds.bucket("Camera")
    grounds.write("Camera/e", 1, b"upper")
    assert grounds.get("/b/camera/e").status == 404
    grounds.bucket("camera")
    assert grounds.get("/b/camera/e").status == 404
    for form in ("NFC", "NFD"):
        label = unicodedata.normalize(form, "café")
        body = {"x-reduct-entries": "e", "x-reduct-start-ts": "5", "x-reduct-labels": coded(label),
                "x-reduct-0-0": f"0,,0={form}", "content-length": "0"}  # fmt: skip
        assert grounds.post("/io/Camera/write", b"", {**body, "x-reduct-start-ts": str(len(label))}).status == 200
    (four, five) = (grounds.db.buckets.get("Camera").entry("e").read(time).labels for time in (4, 5))
    assert four[0][1] == "NFC"
    assert five[0][1] == "NFD"
    assert four[0][0] != five[0][0]


def test_no_file_on_disk_is_called_what_a_client_said(grounds, tmp_path):
    grounds.bucket(CANARY)
    for name in (CANARY, f"{CANARY}/{CANARY}"):
        for time in range(3):
            labels = {"l": CANARY}
            assert grounds.write(f"{CANARY}/{name}", time, b"x" * 70_000, labels, f"text/{CANARY}").status == 200
    grounds.db.flush()
    grounds.write(f"{CANARY}/tail", 1, b"x")
    names = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")]
    assert len(names) > 3
    assert not [name for name in names if CANARY.lower() in name.lower()]
    assert [oct(path.stat().st_mode & 0o777) for path in [tmp_path / "data"]] == ["0o700"]
