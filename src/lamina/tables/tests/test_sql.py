"""SQL over `streams`: expected rows and labels are those of PostgreSQL 15 with hstore, on the same rows."""

from __future__ import annotations

import json
import threading
from itertools import islice
from uuid import UUID

import pytest

import lamina
from lamina.catalog.rows import StreamRow
from lamina.errors import InvalidArgument
from lamina.tables import sql
from lamina.tables.dialect import TEXT_LIMIT
from lamina.tables.sql import SqlError, StreamsTable, query


def row(number, collection, name, unit, annotations, ingress=""):
    tags = {"name": name, "unit": unit, "ingress": ingress}
    return StreamRow(number, UUID(int=number), collection, tags, annotations, number, 0, 0, None)


ROWS = [
    row(1, "sunshine/PMU1", "C1MAG", "amps", {"foo": "1", "impedance": "x"}),
    row(2, "sunshine/PMU1", "L1MAG", "volts", {"foo": "2"}),
    row(3, "sunshine/PMU2", "L1MAG", "volts", {}),
    row(4, "a_b", "Name", "", {"a.b": "c", 'weird "k': "it's"}),
    row(5, "a.b", "MÉGA é", "u", {"foo": "", "x": "y"}, "dev\\1"),
    row(6, "sunshine/pmu_9", "50%_x\ny", "deg", {"foo": "1"}),
    row(7, "Sunshine", "(x|y)[z]+", "", {}),
]
TABLE = StreamsTable(ROWS, generation=7)


def run(text, *params, table=TABLE):
    return list(query(table, text, params))


def names(where, *params):
    return [r["name"] for r in run(f"select name from streams where {where} order by property_version", *params)]


# -- the statements of the client, its documentation and published notebooks (contract 6.2) --


def test_counts_are_labelled_count():
    assert run("SELECT COUNT(uuid) FROM streams") == [{"count": 7}]
    assert run("SELECT COUNT(uuid) FROM streams WHERE collection=$1::text", "sunshine/PMU1") == [{"count": 2}]
    assert run("SELECT COUNT(uuid) FROM streams WHERE annotations->$1::text IS NOT NULL", "foo") == [{"count": 4}]


def test_unique_names_units_and_annotation_keys():
    unique = "select distinct({0}) as {1} from streams where collection like $1"
    assert sorted(r["name"] for r in run(unique.format("name", "name"), "sunshine/PMU%")) == ["C1MAG", "L1MAG"]
    assert sorted(r["unit"] for r in run(unique.format("unit", "unit"), "sunshine%")) == ["amps", "deg", "volts"]
    keys = run(unique.format("skeys(annotations)", "annotations"), "sunshine%")
    assert sorted(r["annotations"] for r in keys) == ["foo", "impedance"]
    keys = run("select distinct(skeys(annotations)) as annotations from streams")
    assert sorted(r["annotations"] for r in keys) == ["a.b", "foo", "impedance", 'weird "k', "x"]
    assert len(run("select distinct(name) as name from streams")) == 6


def test_rows_of_streams():
    assert run("SELECT uuid FROM streams WHERE name = $1 OR name = $2", "C1MAG", "Name") == [
        {"uuid": "00000000-0000-0000-0000-000000000001"},
        {"uuid": "00000000-0000-0000-0000-000000000004"},
    ]
    assert run("SELECT collection, name FROM streams WHERE collection like 'sunshine/PMU2'") == [
        {"collection": "sunshine/PMU2", "name": "L1MAG"}
    ]
    found = run("SELECT uuid, name, unit from streams WHERE collection LIKE $1 and unit='volts'", "sunshine/%")
    assert [list(r) for r in found] == [["uuid", "name", "unit"]] * 2
    assert run("select * from streams where collection similar to $1", "sunshine/PMU(2|3)") == [
        {
            "uuid": "00000000-0000-0000-0000-000000000003",
            "collection": "sunshine/PMU2",
            "name": "L1MAG",
            "unit": "volts",
            "ingress": "",
            "distiller": "",
            "property_version": 3,
            "annotations": {},
        }
    ]


# -- PostgreSQL's meaning --


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("sunshine%", ["C1MAG", "L1MAG", "L1MAG", "50%_x\ny"]),
        ("s", []),
        ("_.b", ["MÉGA é"]),
        ("a\\_b", ["Name"]),
        ("a(_|.)b", ["Name", "MÉGA é"]),
        ("%(PMU|pmu)[_0-9]+", ["C1MAG", "L1MAG", "L1MAG", "50%_x\ny"]),
        ("%[[:digit:]]", ["C1MAG", "L1MAG", "L1MAG", "50%_x\ny"]),
        ("a|Sunshine", ["(x|y)[z]+"]),
    ],
)
def test_similar_to_is_an_anchored_sql_regex(pattern, found):
    assert names("collection similar to $1", pattern) == found


def test_similar_to_escapes_and_crosses_newlines():
    assert names("name similar to $1", "50\\%\\__%y") == ["50%_x\ny"]
    assert names("name similar to $1", "\\(x\\|y\\)\\[z\\]\\+") == ["(x|y)[z]+"]
    assert names("collection similar to 'a#_b' escape '#'") == ["Name"]
    assert len(names("collection not similar to 'a#_b' escape '#'")) == 6
    assert names("ingress similar to 'dev\\\\1'") == ["MÉGA é"]
    with pytest.raises(SqlError, match="not supported"):
        names("name similar to $1", "\\yC%")
    with pytest.raises(SqlError, match="must be a text or a parameter"):
        names("name similar to unit")


def test_like_has_the_backslash_as_escape():
    assert names("collection like 'a_b'") == ["Name", "MÉGA é"]
    assert names("collection like 'a\\_b'") == ["Name"]
    assert names("name like '50\\%%'") == ["50%_x\ny"]
    assert names("ingress like 'dev\\1'") == []
    assert names("ingress like 'dev\\1' escape ''") == ["MÉGA é"]
    assert names("collection like 'SUNSHINE%'") == []
    assert names("collection not like 'sun%' and collection ilike 'SUN%'") == ["(x|y)[z]+"]
    assert names("name ~ '^C' or name ~* 'NAME'") == ["C1MAG", "Name"]


def test_hstore_operators():
    [values] = run(
        "select annotations->'a.b' as a, annotations->'weird \"k' as b, annotations->'nope' as c "
        "from streams where annotations ? 'a.b'"
    )
    assert values == {"a": "c", "b": "it's", "c": None}
    assert names("annotations->'foo' = '1'") == ["C1MAG", "50%_x\ny"]
    assert names("not annotations ? 'foo'") == ["L1MAG", "Name", "(x|y)[z]+"]
    assert names("annotations ?& array['foo', 'x'] or annotations ?| array['impedance']") == ["C1MAG", "MÉGA é"]
    assert names("exist(annotations, 'x')") == ["MÉGA é"]


def test_hstore_arrow_is_an_argument_of_functions_too():
    assert run("select count(annotations->'foo') from streams") == [{"count": 4}]
    assert names("coalesce(annotations->$1, 'none') = 'it''s'", 'weird "k') == names("annotations->'a.b' = 'c'")
    assert names("upper(annotations->'impedance') = 'X'") == names("annotations->'impedance' = 'x'")


def test_skeys_gives_a_row_per_key():
    assert run("select skeys(annotations), count(*) from streams group by 1 having count(*) > 1") == [
        {"skeys": "foo", "count": 4}
    ]
    found = run("select *, skeys(annotations) k, svals(annotations) v from streams where uuid = $1", str(UUID(int=1)))
    assert [(r["k"], r["v"]) for r in found] == [("foo", "1"), ("impedance", "x")]
    assert list(found[0])[-3:] == ["annotations", "k", "v"]


@pytest.mark.parametrize(
    ("expression", "label", "value"),
    [
        ("count(*)", "count", 7),
        ("sum(property_version)", "sum", 28),
        ("avg(property_version)", "avg", 4.0),
        ("MAX(name)", "max", "Name"),
        ("count(distinct unit)", "count", 5),
        ("count(*) filter (where unit = '')", "count", 2),
        ("string_agg(unit, ',' order by unit desc)", "string_agg", "volts,volts,u,deg,amps,,"),
        ("bool_or(name = '')", "bool_or", False),
        ("max(length(name)) - 1", "?column?", 8),
        ("coalesce(max(name), 'x')", "coalesce", "Name"),
        ("case when count(*) > 1 then 'a' else 'b' end", "case", "a"),
        ("count(*)::text", "count", "7"),
        ("'x'::text", "text", "x"),
        ("'5'::bigint", "int8", 5),
        ("'1.23456'::numeric", "numeric", 1.23456),
        ("7 / 2", "?column?", 3),
        ("-7 / 2", "?column?", -3),
        ("7 / 2.0", "?column?", 3.5),
        ("'nan'::float8", "float8", "NaN"),
        ("substring('abcd' from -1 for 3)", "substring", "a"),
        ("substr('abcd', -1)", "substr", "abcd"),
        ("substring('abcd' from 2 for 2)", "substring", "bc"),
        ("'abcd'::varchar(2)", "left", "ab"),
        ("trim('  a ')", "btrim", "a"),
        ("trim(leading 'x' from 'xax')", "ltrim", "ax"),
        ("position('b' in 'abc')", "position", 2),
        ("concat('a', null, 'b', 1)", "concat", "ab1"),
        ("'a' || null", "?column?", None),
        ("length('é')", "length", 1),
        ("octet_length('é')", "octet_length", 2),
        ("split_part('a/b', '/', -1)", "split_part", "b"),
        ("nullif('', '')", "nullif", None),
        ("greatest(1, null, 3)", "greatest", 3),
        ("exists(select 1 from streams)", "exists", True),
        ("array['a', 'b']", "array", ["a", "b"]),
        ("(select max(unit) from streams)", "max", "volts"),
        ("$1", "?column?", "x'; drop table streams; --"),
    ],
)
def test_labels_and_values(expression, label, value):
    params = ["x'; drop table streams; --"] if "$1" in expression else []
    label = "varchar" if "varchar(" in expression else label
    assert run(f"select {expression} from streams", *params)[:1] == [{label: value}]


def test_order_limit_group_and_subselects():
    assert run("select Unit, count(*) as n from STREAMS group by unit having count(*) > 1 order by n, 1 desc") == [
        {"unit": "volts", "n": 2},
        {"unit": "", "n": 2},
    ]
    assert run("select annotations->'foo' as f from streams order by f limit 5 offset 3") == [
        {"f": "2"},
        {"f": None},
        {"f": None},
        {"f": None},
    ]
    assert run("select annotations->'foo' as f from streams order by f desc limit 4")[-1] == {"f": "2"}
    assert run(
        "select property_version from streams order by property_version desc limit $1 offset $2::int", "2", "1"
    ) == [
        {"property_version": 6},
        {"property_version": 5},
    ]
    assert run("select max(count) from (select count(*) from streams group by name) t") == [{"max": 2}]
    assert names("(collection, name) in (select collection, 'C1MAG' from streams)") == ["C1MAG"]
    assert names("name = any(array['Name', 'zz']) or unit in ($1,$2)", "u", "v") == ["Name", "MÉGA é"]
    assert run(
        "select a.name from public.streams a join streams b on a.name = b.name and a.uuid <> b.uuid limit 1"
    ) == [{"name": "L1MAG"}]
    assert run("select distinct on (unit) unit, name from streams where unit = 'volts' order by unit, name") == [
        {"unit": "volts", "name": "L1MAG"}
    ]


def test_every_row_is_json_and_an_empty_result_has_none():
    rows = run("select * from streams")
    assert json.loads(json.dumps(rows)) == rows
    assert run("select array_agg(uuid), sum(property_version) from streams where property_version < 2") == [
        {"array_agg": [str(UUID(int=1))], "sum": 1}
    ]
    assert run("select name from streams where false") == []
    assert run("select count(*) from streams", table=StreamsTable([])) == [{"count": 0}]


# -- what is refused --


@pytest.mark.parametrize(
    "text",
    [
        "select * from duckdb_settings()",
        "select * from range(1000000000000)",
        "select range(1000000000000)",
        "select * from read_csv('/etc/passwd')",
        "select * from '/etc/passwd'",
        'select * from "/etc/passwd"',
        "select read_text('/etc/passwd')",
        "select \"read_text\"('/etc/passwd')",
        "select name.read_text('/etc/passwd') from streams",
        "select * from information_schema.tables",
        "select * from pg_catalog.pg_tables",
        "select * from other.streams",
        "select (select path from other)",
        "select name from streams where exists (select 1 from sqlite_master)",
        "select name from streams where name in (select value from duckdb_settings())",
        "select 1 from streams; drop table streams",
        "select 1 from streams; select 2",
        "/* select */ drop table streams",
        "with streams as (select 1) select * from streams",
        "select 1 union select 2",
        "select name from streams where name in (select 'a' union select path from x)",
        "copy streams to '/tmp/x'",
        "set memory_limit='10GB'",
        "pragma version",
        "attach '/tmp/x.db'",
        "install httpfs",
        "explain select 1",
        "insert into streams values (1)",
        "update streams set name = 'x'",
        "delete from streams",
        "create table x as select 1",
        "select * into x from streams",
        "select * from streams for update",
        "select current_setting('memory_limit')",
        "select getenv('HOME')",
        "select pg_sleep(10)",
        "select repeat(name, 1000000000) from streams",
        "select count(*) over () from streams",
        "select * from streams, lateral (select 1) x",
        "select * from unnest(array[1])",
        "select unnest(array[1])",
        "select list_transform([1], x -> x)",
        "select columns(*) from streams",
        "select * from (values (1)) t",
        "select name like any(array['a']) from streams",
        "select * from (select string_agg(name, ',') from streams) t",
        "select name from streams where skeys(annotations) = 'x'",
        "select 'x'::regclass",
        "select annotations::text from streams",
        "select nope from streams",
        "select name from streams group by unit",
        "select uuid from streams where uuid = 'zz'",
        "select count(name, name) from streams",
        "select ? from streams",
        "select from",
        "select '",
        "",
        "select " + "(" * 20_000,
        "select " + "not " * 10_000 + "true",
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(SqlError) as caught:
        run(text)
    assert "\n" not in str(caught.value)
    assert "/work" not in str(caught.value)
    assert isinstance(caught.value, InvalidArgument)


def test_comments_and_a_last_semicolon_are_fine():
    assert run("select 1 as a /* ; drop table streams */ from streams -- x\n limit 1 ;") == [{"a": 1}]


def test_parameters_must_match_the_statement():
    with pytest.raises(SqlError, match=r"no parameter \$2: 1 were given"):
        run("select name from streams where name = $1 or name = $2", "x")
    with pytest.raises(SqlError, match="takes 1 parameters, 2 were given"):
        run("select name from streams where name = $1", "x", "y")


def test_statement_and_parameters_have_a_size_limit():
    run("select 1".ljust(TEXT_LIMIT))
    with pytest.raises(SqlError, match="65537 bytes"):
        run("select 1".ljust(TEXT_LIMIT + 1))
    assert run("select length($1)", "x" * TEXT_LIMIT) == [{"length": 65536}]
    with pytest.raises(SqlError, match="65537 bytes"):
        run("select length($1)", "x" * (TEXT_LIMIT + 1))
    for bad in ("a\0", "\ud800"):
        with pytest.raises(SqlError):
            run("select $1", bad)


@pytest.mark.parametrize(
    "text",
    [
        "select concat($1,$1,$1,$1,$1,$1,$1,$1) from streams",
        "select name||name as x from " + "(select name||name as name from " * 30 + "streams" + ") a" * 30,
        "select replace(name, 'a', replace($1, 'x', $1)) from streams",
        "select count(*) from streams where upper($1||$1||$1) = name",
        "select name from streams order by concat_ws($1, name, name, name, name, name, name)",
        "select (select max(lower($1||$1||$1)) from streams)",
    ],
)
def test_text_that_would_grow_beyond_memory_is_refused_before_it_runs(text):
    with pytest.raises(SqlError, match="bytes of text per row"):
        run(text, *(["x" * 60_000] if "$1" in text else []))


class Stopwatch:
    """A clock whose waits are over at once."""

    def wall_us(self):
        return 0

    def monotonic_ns(self):
        return 0

    def wait(self, event, timeout_s):
        assert timeout_s == 30.0
        return event.is_set()


def many(n):
    return StreamsTable(row(i, "c", f"n{i}", "", {}) for i in range(1, n + 1))


def test_a_statement_is_interrupted_when_its_time_is_over():
    rows = query(
        many(3000), "select count(*) from streams a, streams b, streams c where a.name < b.name", clock=Stopwatch()
    )
    with pytest.raises(SqlError, match="longer than 30 s"):
        list(rows)


def test_a_statement_that_needs_more_memory_than_allowed_ends(monkeypatch):
    assert sql._LOCKED["memory_limit"] == "256MB"
    monkeypatch.setitem(sql._LOCKED, "memory_limit", "16MB")  # the same, sooner
    with pytest.raises(SqlError, match="of memory"):
        run("select a.name, b.name from streams a, streams b order by 1, 2", table=many(3000))


def test_rows_are_limited_and_lazy(monkeypatch):
    table = many(3000)
    monkeypatch.setattr(sql, "ROW_LIMIT", 2000)
    rows = query(table, "select a.name from streams a, streams b, streams c")
    assert len(list(islice(rows, 2000))) == 2000  # of 27 * 10**9
    with pytest.raises(SqlError, match="more than 2000 rows"):
        next(rows)
    assert len(run("select name from streams limit 2000", table=table)) == 2000


def test_closing_the_iterator_ends_the_statement():
    rows = query(many(3000), "select a.name from streams a, streams b, streams c")
    next(rows)
    assert any(thread.name == "lamina-sql-watch" for thread in threading.enumerate())
    rows.close()
    assert not any(thread.name == "lamina-sql-watch" for thread in threading.enumerate())


def test_a_table_serves_many_queries_and_threads():
    results = []
    threads = [threading.Thread(target=lambda: results.append(run("select count(*) from streams"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[{"count": 7}]] * 4
    assert TABLE.generation == 7
    assert run("select count(*) from streams", table=ROWS) == [{"count": 7}]


def test_table_of_a_database_is_kept_until_its_metadata_change() -> None:
    with lamina.open(":memory:") as db:
        db.streams.create("c", "a")
        table = sql.streams_table(db)
        assert sql.streams_table(db) is table
        stream = db.streams.create("c", "b")
        assert list(sql.query(sql.streams_table(db), "SELECT COUNT(uuid) FROM streams", [])) == [{"count": 2}]
        stream.set_tags({"name": "renamed"})
        names = sql.query(sql.streams_table(db), "SELECT name FROM streams ORDER BY name", [])
        assert [row["name"] for row in names] == ["a", "renamed"]
