"""The command line as a user meets it: every command's help, its errors, what it prints."""

import re
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

import lamina
from lamina.cli.app import app

COMMANDS = ["serve", "demo", "inspect", "doctor", "backup", "restore", "export", "import", "token", "version"]

LONG_S = 60.0


def run(*arguments):
    """In this process: a click Result. Errors of Lamina arrive as `exception`, as `run()` in app.py gets them."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def process(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "lamina.cli.main", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=LONG_S,
        check=False,
    )


def test_help_names_every_command():
    result = run("--help")
    assert result.exit_code == 0
    assert all(re.search(rf"^\W*{command} ", result.output, re.MULTILINE) for command in COMMANDS)


@pytest.mark.parametrize("command", [*COMMANDS, "token create", "token list", "token remove"])
def test_every_command_has_help(command):
    result = run(*command.split(), "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_help_loads_neither_engine_nor_servers():
    code = (
        "import sys, lamina.cli.app as a\n"
        "try: a.app(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = ('numpy', 'grpc', 'uvicorn', 'pyarrow', 'duckdb', 'prometheus_client', 'lamina.engine.database')\n"
        "sys.exit(repr([name for name in heavy if name in sys.modules]) if set(heavy) & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LONG_S, check=False)
    assert done.returncode == 0, done.stderr


def test_version():
    assert run("version").output.startswith(f"lamina {lamina.__version__} (Python ")
    assert run("--version").output == run("version").output


ANY_PORTS = ("--http-port", "0", "--grpc-port", "0")
"""Whatever else listens on this machine."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["token", "list", "absent-directory"], ["absent-directory"]),
        (["export", "absent-directory", "a/b"], ["absent-directory"]),
        (["serve"], ["DIR", "LAMINA_DIR"]),
        (["token", "create", ":memory:", "a"], ["--full-access"]),
        (["serve", __file__, *ANY_PORTS], [f"lamina: {__file__}: a database is a directory"]),
    ],
)
def test_errors_are_one_line_and_exit_code_2(arguments, words):
    done = process(*arguments)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert done.stderr.startswith("lamina: ")
    assert all(word in done.stderr for word in words)


def test_unknown_commands_and_options_end_with_2():
    assert run("nothing").exit_code == 2
    assert run("serve", "--nothing").exit_code == 2


# -- tokens


def test_a_token_is_shown_once_listed_and_removed(tmp_path):
    made = run("token", "create", tmp_path, "reader", "--read", "$streams/plant*", "--expires", "2099-01-01")
    assert made.exit_code == 0, made.output
    value = made.stdout.strip()
    assert re.fullmatch(r"reader-[0-9a-f]{32}", value)
    listed = run("token", "list", tmp_path).stdout
    assert "reader" in listed
    assert "read $streams/plant*" in listed
    assert "2099-01-01" in listed
    assert value.rpartition("-")[2] not in listed
    assert run("token", "remove", tmp_path, "reader").exit_code == 0
    assert "reader" not in run("token", "list", tmp_path).stdout


@pytest.mark.parametrize(
    ("entry", "meant"),
    [("plant/*", "'$streams/plant/*'"), ("/plant/*", "'$streams/plant/*'"), ("", "'$streams'"), ("/", "'$streams'")],
)
@pytest.mark.parametrize("option", ["--read", "--write"])
def test_an_entry_that_covers_nothing_is_answered_with_the_one_for_streams(tmp_path, option, entry, meant):
    refused = run("token", "create", tmp_path / "db", "reader", option, entry).exception
    assert isinstance(refused, lamina.LaminaError)
    assert f"for streams: {meant}, in single quotes" in str(refused)
    assert not (tmp_path / "db").exists()


@pytest.mark.parametrize("entry", ["$stream/plant*", "$stream*", "$buckets/plant", "$Points/x"])
def test_an_entry_that_only_looks_like_one_for_streams_is_refused(tmp_path, entry):
    refused = run("token", "create", tmp_path / "db", "reader", "--read", entry).exception
    assert isinstance(refused, lamina.LaminaError)
    assert all(word in str(refused) for word in (f"'{entry}' covers nothing", "'$streams", "'$points"))
    assert run("token", "create", tmp_path / "db", "reader", "--read", "$system").exit_code == 0


# -- files


@pytest.fixture
def stored(tmp_path):
    """A directory with plant/pump, and its points."""
    times = np.arange(5000, dtype=np.int64) * 1_000_000_000
    values = np.round(np.sin(np.arange(5000) / 50), 3)
    with lamina.open(tmp_path / "db") as db:
        db.streams.create("plant", "pump", unit="g").insert(times, values)
    return tmp_path / "db", times, values


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_export_and_import_bring_the_points_back(stored, tmp_path, suffix):
    dir, times, values = stored
    file = tmp_path / f"points.{suffix}"
    exported = run("export", dir, "plant/pump", "-o", file)
    assert exported.exit_code == 0, exported.output
    imported = run("import", tmp_path / "other", file, "copies/pump", "--unit", "g")
    assert imported.exit_code == 0, imported.output
    assert "5 k points inserted into copies/pump" in imported.stdout
    with lamina.open(tmp_path / "other") as db:
        stream = db.streams["copies", "pump"]
        assert stream.unit == "g"
        found = stream.values()
    np.testing.assert_array_equal(found.time, times)
    np.testing.assert_array_equal(found.value, values)


def test_export_of_a_range_goes_to_stdout_as_csv(stored):
    done = process("export", stored[0], "plant/pump", "--start", "1970-01-01T00:00:02Z", "--end", 4_000_000_000)
    rows = [line.split(",") for line in done.stdout.splitlines()]
    assert rows[0] == ["time", "value"]
    assert [(int(time), float(value)) for time, value in rows[1:]] == [
        (2_000_000_000, stored[2][2]),
        (3_000_000_000, stored[2][3]),
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("option", "value", "rows"), [("--width", "1000s", 5), ("--pointwidth", "40", 5)])
def test_export_of_windows(stored, option, value, rows):
    lines = process("export", stored[0], "plant/pump", option, value).stdout.splitlines()
    assert lines[0] == "time,min,mean,max,count,stddev"
    assert len(lines) == 1 + rows


def test_export_of_an_empty_stream_is_a_header(tmp_path):
    with lamina.open(tmp_path) as db:
        db.streams.create("plant", "idle")
    done = process("export", tmp_path, "plant/idle")
    assert (done.returncode, done.stdout) == (0, "time,value\n")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["export", "DB", "plant/absent"], "absent"),
        (["export", "DB", "pump"], "COLLECTION/NAME"),
        (["export", "DB", "plant/pump", "-o", "points.xls"], "points.xls"),
        (["export", "DB", "plant/pump", "--width", "1s", "--pointwidth", "30"], "exclude"),
        (["export", "DB", "plant/pump", "--start", "noon"], "noon"),
        (["export", "DB", "plant/pump", "--version", "99"], "99"),
        (["import", "DB", __file__, "plant/pump"], ".csv"),
        (["import", __file__, "DB", "plant/pump"], "directory of the database first"),
    ],
)
def test_what_export_and_import_cannot_do_is_said(stored, arguments, word):
    result = run(*(stored[0] if argument == "DB" else argument for argument in arguments))
    assert isinstance(result.exception, lamina.LaminaError)
    assert word in str(result.exception)


def test_an_export_into_a_folder_that_is_missing_names_the_folder(stored, tmp_path):
    error = run("export", stored[0], "plant/pump", "-o", tmp_path / "absent" / "points.csv").exception
    assert isinstance(error, FileNotFoundError)
    assert (error.filename, error.strerror) == (str(tmp_path / "absent"), "there is no such folder")


def points_file(folder, *rows, header="time,value"):
    """A CSV file."""
    file = folder / "points.csv"
    file.write_text("\n".join([header, *rows]) + "\n")
    return file


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        (["1,1.5"], ["--value", "nope"], ["nope", "time, value"]),
        (["1,text"], [], ["'value'", "'text'"]),
        (["1,inf"], [], ["inf"]),
        (["1,1.5"], ["--policy", "newest"], ["newest", "retain"]),
        (["1,1.5"], ["--unit", "x" * 300], ["unit"]),
    ],
)
def test_an_import_that_fails_at_once_leaves_no_database(tmp_path, rows, options, words):
    result = run("import", tmp_path / "db", points_file(tmp_path, *rows), "plant/new", *options)
    assert isinstance(result.exception, lamina.LaminaError)
    assert all(word in str(result.exception) for word in words)
    assert not (tmp_path / "db").exists()


@pytest.mark.parametrize("stream", ["pump", "a2a1a8cb-5b3e-4f0f-9d5a-0c1f4b8ad5d1"])
def test_an_import_into_a_stream_that_cannot_be_made_leaves_no_database(tmp_path, stream):
    result = run("import", tmp_path / "db", points_file(tmp_path, "1,1.5"), stream)
    assert isinstance(result.exception, lamina.LaminaError)
    assert not (tmp_path / "db").exists()


def test_a_failed_import_makes_no_stream(stored, tmp_path):
    assert run("import", stored[0], points_file(tmp_path, "1,text"), "plant/new").exception
    with lamina.open(stored[0]) as db:
        assert [stream.name for stream in db.streams] == ["pump"]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("never", [1.0, 1.0, 2.0, 3.0]),
        ("equal", [1.0, 2.0, 3.0]),
        ("retain", [1.0, 2.0]),
        ("replace", [1.0, 3.0]),
    ],
)
def test_an_import_merges_by_its_policy(tmp_path, policy, expected):
    dir = tmp_path / "db"
    assert run("import", dir, points_file(tmp_path, "1,1", "2,2"), "plant/new").exit_code == 0
    again = run("import", dir, points_file(tmp_path, "1,1", "2,3"), "plant/new", "--policy", policy)
    assert again.exit_code == 0, again.output
    with lamina.open(dir) as db:
        assert db.streams["plant", "new"].values().value.tolist() == expected


def test_an_import_refuses_another_unit_than_the_stream_has(stored, tmp_path):
    file = points_file(tmp_path, "1,1.5")
    refused = run("import", stored[0], file, "plant/pump", "--unit", "V").exception
    assert isinstance(refused, lamina.LaminaError)
    assert all(word in str(refused) for word in ("'V'", "'g'", "plant/pump"))
    for options in ([], ["--unit", "g"]):
        assert run("import", stored[0], file, "plant/pump", *options).exit_code == 0
    with lamina.open(stored[0]) as db:
        assert db.streams["plant", "pump"].count() == len(stored[1]) + 2


# -- upkeep


def test_backup_and_restore_bring_a_database_back_while_it_is_in_use(stored, tmp_path):
    dir, times, _ = stored
    with lamina.open(dir) as db:
        db.streams["plant", "pump"].insert(times + 1, np.ones(len(times)))
        made = run("backup", dir, tmp_path / "copy")
    assert made.exit_code == 0, made.output
    assert f"lamina restore {tmp_path / 'copy'} NEW_DIR" in made.stdout
    refused = run("restore", tmp_path / "copy", dir).exception
    assert "restore goes into a new directory" in str(refused)
    restored = run("restore", tmp_path / "copy", tmp_path / "back")
    assert restored.exit_code == 0, restored.output
    with lamina.open(tmp_path / "back") as db:
        assert db.streams["plant", "pump"].count() == 2 * len(times)
    assert isinstance(run("backup", dir, tmp_path / "copy").exception, lamina.LaminaError)


def test_a_copy_inside_of_what_it_is_made_of_is_refused(stored):
    for command in ("backup", "restore"):
        refused = run(command, stored[0], stored[0] / "copies" / "today").exception
        assert isinstance(refused, lamina.LaminaError)
        assert f"is inside of {stored[0]}" in str(refused)
    assert not (stored[0] / "copies").exists()


def test_inspect_and_doctor_look_at_a_directory_in_use(stored):
    with lamina.open(stored[0]):
        shown, verified = run("inspect", stored[0]), run("doctor", stored[0])
    assert (shown.exit_code, "plant/pump" in shown.output) == (0, True)
    assert (verified.exit_code, verified.stdout) == (0, "sound: no findings\n")


def test_doctor_ends_with_1_and_names_what_is_damaged(stored):
    (segment,) = (stored[0] / "segments" / "streams").rglob("*.seg")
    damaged = bytearray(segment.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    segment.write_bytes(damaged)
    result = run("doctor", stored[0])
    assert result.exit_code == 1
    assert segment.name in result.stdout or "stream " in result.stdout
    assert "1 finding" in result.stderr


def test_doctor_rebuilds_a_lost_catalog(stored):
    for part in stored[0].glob("catalog.sqlite*"):
        part.unlink()
    assert run("doctor", stored[0]).exit_code == 1
    rebuilt = run("doctor", stored[0], "--rebuild-catalog")
    assert rebuilt.exit_code == 0, rebuilt.output
    with lamina.open(stored[0]) as db:
        assert db.streams["plant", "pump"].count() == len(stored[1])


def test_doctor_of_a_folder_that_is_no_database_says_so(tmp_path):
    done = process("doctor", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "has no LAMINA file" in done.stderr


@pytest.mark.slow
def test_a_thread_that_computes_on_does_not_keep_the_process():
    program = """
import sys, threading, time, typer
from concurrent.futures import ThreadPoolExecutor
from lamina.cli import app

@app.app.command()
def busy():
    pool = ThreadPoolExecutor(1)  # as grpc's: daemon threads, which the interpreter joins nevertheless
    starter = threading.Thread(target=pool.submit, args=(time.sleep, 300), daemon=True)
    starter.start()
    starter.join()
    print("done")
    raise typer.Exit(3)

sys.argv = ["lamina", "busy"]
app.run()
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "done\n", "")


@pytest.fixture
def recorded(tmp_path):
    with lamina.open(tmp_path / "db") as db:
        entry = db.buckets.create("plant").entry("line-1/cam")
        entry.write_many(lamina.NewRecord(1_700_000_000_000_000 + i, b"frame %d" % i, {"n": i}) for i in range(20))
    return tmp_path / "db"


@pytest.mark.parametrize("target", ["folder", "records.tar"])
def test_records_go_out_and_come_back(recorded, tmp_path, target):
    options = ("--bucket", "plant", "--entry", "line-1/cam", "--when", '{"&n": {"$lt": 15}}', "--start", "2023-11-14")
    result = run("export", recorded, *options, "--end", "1700000000000010", "-o", tmp_path / target)
    assert result.exit_code == 0, result.output
    assert "10 records (70 B) written to" in result.output
    result = run("import", tmp_path / "other", tmp_path / target, "--bucket", "copy")
    assert "10 records (70 B) written into copy" in result.output
    result = run("import", tmp_path / "other", tmp_path / target, "--bucket", "copy", "--skip-existing")
    assert "0 records (0 B) written into copy, 10 records were there" in result.output
    with lamina.open(tmp_path / "other") as db:
        assert [record.read() for record in db.buckets["copy"].entry("line-1/cam").query()] == [
            b"frame %d" % i for i in range(10)
        ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("export", "{db}", "--bucket", "plant"), "--output is needed"),
        (("export", "{db}", "--bucket", "none", "-o", "{out}"), "Bucket 'none' is not found"),
        (("export", "{db}", "plant/x", "--bucket", "plant", "-o", "{out}"), "goes with --entry"),
        (("export", "{db}", "plant/x", "--when", "{{}}"), "go with --bucket"),
        (("export", "{db}"), "expected a stream, or --bucket"),
        (("import", "{db}", "{db}", "--bucket", "a/b"), "Bucket or entry name"),
        (("import", "{db}", "{db}", "--bucket", "b"), "missing, or a link"),
        (("import", "{db}", "{db}", "plant/x", "--bucket", "b"), "exclude each other"),
        (("import", "{db}", "{db}", "plant/x"), "go with --bucket"),
    ],
)
def test_what_export_and_import_of_records_cannot_do_is_said(recorded, tmp_path, arguments, words):
    result = run(*(argument.format(db=recorded, out=tmp_path / "out") for argument in arguments))
    assert result.exit_code != 0
    assert words in f"{result.output} {result.exception}"
    assert not (tmp_path / "out").exists()
