"""The pages say what is so: their code runs, their links lead somewhere, nothing a user can set or see is left out."""

import inspect
import re
from pathlib import Path

import pytest

import lamina
from lamina import errors
from lamina.settings import MIB, Settings
from tests.docs import reference
from tests.docs.blocks import ROOT, blocks, runner

PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").glob("*.md"))]
OWN = [page for page in PAGES if page.stem not in ("reliability", "benchmarks")]
HERE = [page for page in OWN if page.stem != "tinyflux"]  # its blocks are run one by one beside the drop-in
TEXT = {page.stem: page.read_text() for page in OWN}
ALL = "\n".join(TEXT.values())


def table(page: str, heading: str) -> list[list[str]]:
    """Cells of the rows of the first table below a heading."""
    text = f"\n{TEXT[page]}".partition(f"\n{heading}\n")[2]
    assert text, f"{page}: no heading {heading!r}"
    rows = re.search(r"(?:^\|.*\n)+", text, re.M)
    assert rows, f"{page}: no table below {heading!r}"
    return [[cell.strip() for cell in row[1:-1].split("|")] for row in rows[0].splitlines()[2:]]


def number(value: object) -> str:
    """As the tables print it."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value // MIB} MiB" if value >= MIB and value % MIB == 0 else f"{value:,}"
    return str(value)


# -- code blocks


@pytest.mark.parametrize("page", [page for page in HERE if blocks(page)], ids=lambda page: page.stem)
def test_code_blocks_run_and_give_what_they_say(page, tmp_path, monkeypatch):
    with runner(page, tmp_path, monkeypatch) as running:
        for block in blocks(page):
            running.run(block)


def test_every_code_block_has_a_language_that_is_run_or_is_plain_text():
    known = {"python", "python btrdb4", "sh", "text", "ini", "stop", "certificate"}
    strange = {(page.stem, block.kind) for page in OWN for block in blocks(page)} - {
        (page.stem, kind) for page in OWN for kind in known
    }
    assert strange == {("ARCHITECTURE", "")}, "the drawing of the floors is the only block without a language"


def test_a_wrong_result_on_a_page_is_found(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text("```python\nx = 2\nx + 1  # -> 4\n```\n")
    with runner(page, tmp_path, monkeypatch) as running, pytest.raises(AssertionError, match=r"page.md:3: 3, the page"):
        running.run(*blocks(page))


def test_the_api_reference_is_that_of_the_docstrings():
    assert reference.PAGE.read_text() == reference.page(), "run python -m tests.docs.reference"


# -- links


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", head).strip().lower().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", OWN, ids=lambda page: page.stem)
def test_links_lead_to_files_and_headings(page):
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
        place, _, anchor = target.partition("#")
        found = (page.parent / place).resolve() if place else page
        assert found.exists() or found.stem in ("reliability", "benchmarks"), target
        assert not anchor or anchor in anchors(found), target


def test_the_index_names_every_page():
    linked = set(re.findall(r"\]\(([a-z]+(?:-[a-z]+)*\.md)\)", TEXT["index"]))
    assert linked >= {page.name for page in OWN if page.parent.name == "docs"} - {"index.md"}
    assert linked >= {"reliability.md", "benchmarks.md"}


def test_architecture_and_design_name_files_that_exist():
    for page in ("ARCHITECTURE", "design"):
        for name in re.findall(r"`((?:\w+/)+\w+\.(?:py|md))`", TEXT[page]):
            assert (ROOT / "src" / "lamina" / name).exists(), f"{page}: {name}"


def test_pages_hold_no_path_of_a_machine():
    assert not re.search(r"/work/|/home/|/root/|/tmp/", ALL)


# -- completeness


def test_every_setting_is_in_the_table_with_its_default():
    rows = table("operations", "## Settings")
    assert {row[0]: row[1] for row in rows} == {
        f"`{name}`": number(value) for name, value in Settings._field_defaults.items()
    }
    assert [row[0].strip("`") for row in rows] == list(Settings._fields)


def test_every_public_name_is_mentioned():
    missing = [name for name in lamina.__all__ if name != "__version__" and not re.search(rf"\b{name}\b", ALL)]
    assert not missing


def test_every_error_is_in_the_table_with_its_builtin_and_its_code():
    from lamina.faces.btrdb.errors import answer
    from lamina.faces.btrdb.generated import lamina_wire_v5_pb2 as pb
    from lamina.testing import SeededRandom

    kinds = dict(inspect.getmembers(errors, inspect.isclass))
    rows = {row[0].strip("`"): row for row in table("errors", "# Errors")}
    assert rows.keys() == kinds.keys()
    for name, kind in kinds.items():
        builtins = [base.__name__ for base in kind.__bases__ if base.__module__ == "builtins"]
        if name != "LaminaError":
            assert rows[name][1].strip("`") == "".join(builtins), name
        code = rows[name][4]
        if code.isdigit():
            response = pb.StatusResponse.FromString(answer(kind("x"), SeededRandom(1)))
            assert int(code) == response.stat.code, name
        else:
            assert name in ("LaminaError", "Locked", "OutcomeUnknown", "PermissionDenied"), name


def test_every_method_of_a_stream_and_its_companions_is_mentioned():
    from lamina.engine.snapshot import Snapshot
    from lamina.engine.streams import Streams
    from lamina.engine.subscribe import Subscription

    internal = {"slot", "id", "row", "obliterated", "fields", "concat", "on_change", "waiting"}
    for kind in (lamina.Stream, lamina.StreamView, Snapshot, Streams, Subscription, lamina.Samples):
        for name in dir(kind):
            if not name.startswith("_") and name not in internal:
                text = TEXT["streams"] + (TEXT["records"] + TEXT["points"]) * (kind is Snapshot)
                assert re.search(rf"[.`\s(]{name}\b", text), f"{kind.__name__}.{name}"


def test_every_method_of_a_bucket_and_its_companions_is_mentioned():
    from lamina.engine.records.buckets import Buckets

    internal = {
        # what the HTTP face writes with, and the engine's own
        "apply", "commit_writes", "existing_entry", "find_entry", "load_now", "loaded", "open_write", "release",
        "replace_slots", "slot", "slots", "tables", "take_over", "try_open_write", "try_read", "update_labels",
        "remove_records", "remove_query", "ensure_entries", "id", "try_open_batch", "room",
        "is_claimed",
    }  # fmt: skip
    for kind in (lamina.Bucket, lamina.Entry, lamina.Record, Buckets):
        for name in dir(kind):
            if not name.startswith("_") and name not in internal:
                assert re.search(rf"[.`\s(]{name}\b", TEXT["records"]), f"{kind.__name__}.{name}"


def test_every_method_of_a_measurement_and_its_companions_is_mentioned():
    from lamina.engine.points.measurements import Measurements

    for kind in (lamina.Measurement, Measurements, lamina.PointSet):
        for name in dir(kind):
            if not name.startswith("_") and name not in ("name",):
                assert re.search(rf"[.`\s(]{name}\b", TEXT["points"]), f"{kind.__name__}.{name}"


def commands():
    """(words, click command) of every command that does something."""
    import typer

    from lamina.cli.app import app

    def walk(words, command):
        if hasattr(command, "commands"):
            for name, inner in command.commands.items():
                yield from walk([*words, name], inner)
        else:
            yield " ".join(words), command

    return list(walk(["lamina"], typer.main.get_command(app)))


@pytest.mark.parametrize(("words", "command"), [pytest.param(*pair, id=pair[0]) for pair in commands()])
def test_every_command_and_option_is_on_a_page(words, command):
    words = words.removesuffix(" file")  # which need not be said
    pages = [name for name, text in TEXT.items() if re.search(rf"{words}\b", text)]
    assert pages, f"{words} is on no page"
    options = {name for parameter in command.params for name in parameter.opts if name.startswith("--")} - {"--help"}
    told = {name: {option for option in options if re.search(rf"{option}(?![\w-])", TEXT[name])} for name in pages}
    missing = options - set().union(*told.values())  # export and import are on the page of each kind of data
    assert not missing, f"{words}: {missing} is missing"


def test_every_variable_of_the_server_is_in_the_table_beside_its_flag():
    from lamina.server import config

    rows = table("server", "## Flags and environment")
    told = {row[0].strip("`"): tuple(cell.strip("`") for cell in row[1:3] if cell) for row in rows}
    tokens, _, switches = zip(*config._AUTH_VARIABLES, strict=True)
    known = {config._FLAGS.get(name, "--" + name.replace("_", "-")): names for name, names in config._VARIABLES.items()}
    assert told == known | {"--api-token": tokens, "--no-auth": tuple(names[0] for names in switches)}


class Asked(dict):
    """An environment that remembers what was looked for."""

    def __init__(self, **values):
        super().__init__(values)
        self.names = set()

    def get(self, name, default=None):
        self.names.add(name)
        return super().get(name, default)


def test_every_variable_that_is_read_is_on_the_page_and_none_besides():
    from lamina.server.config import resolve

    environment = Asked(RS_DATA_PATH="data")
    resolve({}, environment)
    read = {name.partition("_")[2] for name in environment.names}
    text = TEXT["server"]
    told = set(re.findall(r"`(?:LAMINA_|RS_)?([A-Z][A-Z_]+[A-Z])`", text))
    assert read <= told | {name.partition("_")[2] for name in re.findall(r"\b(?:LAMINA|RS)_[A-Z_]+", text)}
    mentioned = {name.partition("_")[2] for name in re.findall(r"\b(?:LAMINA|RS)_[A-Z_]+[A-Z]\b", ALL)}
    kinds = ("BUCKET_", "TOKEN_", "REPLICATION_", "LIFECYCLE_", "DEFAULTS_")  # provisioning: their ids are free
    tests = {"BUILD_RUST", "EXAMPLES"}  # what tests read, not the server
    assert {name for name in mentioned if not name.startswith(kinds)} - tests <= read


def test_defaults_of_the_server_are_those_of_its_table():
    from lamina.server.config import Config

    defaults = {
        row[0].strip("`").strip("-").replace("-", "_"): row[3] for row in table("server", "## Flags and environment")
    }
    config = Config(path="")
    for name, told in defaults.items():
        value = getattr(config, "path" if name == "DIR" else name)
        assert told == (str(value).lower() if isinstance(value, bool) else str(value) or "none"), name


def test_every_figure_of_the_database_is_among_the_metrics():
    from lamina.ops.metrics import COUNTERS, STATES

    with lamina.open(":memory:") as db:
        figures = {f"lamina_{name}" + "_total" * (name in COUNTERS) for name in db.stats()}
    told = set(re.findall(r"`(lamina_\w+)", TEXT["server"]))
    assert figures <= told
    assert told - figures == {
        "lamina_state",
        "lamina_build_info",
        "lamina_http_requests_total",
        "lamina_http_request_seconds",
    }
    assert all(state in TEXT["server"] for state in STATES)


def test_limits_are_those_of_the_code():
    from lamina.access.tokens import TOKEN_LIMIT
    from lamina.faces.btrdb import batches, calls, server, subscribe, writes
    from lamina.faces.btrdb.service import metadata, metadata_4, subscriptions
    from lamina.storage import commitlog
    from lamina.streams import names
    from lamina.tables import dialect, sql

    told = {row[0]: row[1] for row in table("btrdb", "## Limits")}
    options = dict(server._OPTIONS)
    received = options["grpc.max_receive_message_length"]
    parameters = inspect.signature(server.build_server).parameters
    assert told == {
        "points per Insert or ArrowInsert": number(writes.POINTS_LIMIT),
        "request": f"{number(received)} (other than inserts: {number(calls.REQUEST_LIMIT)})",
        "response message": (
            f"below {number(calls.MESSAGE_LIMIT)}; {number(batches.POINTS)} points, "
            f"{number(batches.ARROW_ROWS)} Arrow rows, {number(batches.RANGES)} ranges"
        ),
        "calls at a time": f"{parameters['workers'].default}, of which {parameters['active'].default} compute",
        "streams per connection": number(options["grpc.max_concurrent_streams"]),
        "Subscribe calls": number(subscribe.SUBSCRIBERS),
        "undelivered inserts of a Subscribe call": number(subscriptions.MAILBOX),
        "collection": f"{names.MAX_COLLECTION_BYTES} bytes",
        "tag value": f"{names.MAX_TAG_VALUE} characters",
        "annotation value, all annotations of a stream": (
            f"{names.MAX_ANNOTATION_BYTES >> 10} KiB, {number(metadata.ANNOTATIONS_LIMIT)}"
        ),
        "SQL text, parameters together": f"{dialect.TEXT_LIMIT >> 10} KiB each",
        "SQL memory, threads": f"{sql.MEMORY_LIMIT.removesuffix('MB')} MB, {sql._LOCKED['threads']}",
        "SQL time": f"{sql.TIME_LIMIT_S:g} s",
        "SQL rows": number(sql.ROW_LIMIT),
        "collections in a version 4 ListCollections": number(metadata_4.LIST_LIMIT),
        "tokens": number(TOKEN_LIMIT),
    }
    bounds = {row[0]: row[1] for row in table("operations", "## Bounds")}
    assert bounds["one change in the log, one group, one file"] == ", ".join(
        map(number, (commitlog.MAX_OP, commitlog.MAX_BODY, Settings().log_file_bytes))
    )
