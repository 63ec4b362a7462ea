"""Values of text formats reach an existing column as PostgreSQL's COPY reads them, and a new one digit by digit."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import errors as pg
from psycopg import sql

from dataproc.domain.destination import Destination
from dataproc.domain.errors import ContractViolationError
from dataproc.domain.job import JobId
from dataproc.domain.sources.files import FilesSource
from dataproc.domain.sources.rest import RestSource
from dataproc.domain.spec import JobSpec
from dataproc.ports.warehouse import LoadId
from dataproc.services.monitor import Monitor
from dataproc.services.pipeline import Pipeline
from dataproc.sources.factory import source_for
from dataproc.transforms.declared import source_columns
from dataproc.transforms.factory import transform_for
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.builders import a_connection, around_transforms, surroundings
from tests.fakes.pipeline import FakeEngine
from tests.rest_api import Api, Reply, rest_api
from tests.warehouses import WAYS, Query, going

FILES = ("csv", "jsonl", "json")
FORMATS = (*FILES, "rest")
TYPES = (
    "text", "varchar(5)", "char(4)", "numeric", "numeric(10,2)", "numeric(20,0)", "numeric(5,-2)", "smallint",
    "integer", "bigint", "real", "double precision", "boolean", "date", "time", "timestamp", "timestamp(3)",
    "timestamptz", "uuid", "bytea", "interval", "int[]", "inet", "money", "bit(3)", "bit varying(3)", '"char"',
    "varchar(3)[]", "char(3)[]", "numeric(4,1)[]", "short_text", "short_bits",
)  # fmt: skip
SPELLINGS = (
    "00501", "0012345", "1E5", "1.5E3", "0x1F", "0b101", "1_000", "1.50", "2.555", "5.", ".5", "-0", "+5", " 5", "5 ",
    "-12345.678", "12345678901234567890", "12345678901234567.89", "9223372036854775807", "9223372036854775808", "32768",
    "16777217", "1e400", "1e-400", "1e39", "NaN", "nan", "Infinity", "-inf", "infinity", "TRUE", "False", "t", "yes",
    "off", "1", "0", "maybe", "2026-01-01", "2026-1-5", "2026-02-30", "0000-01-01", "2026-01-01 10:00:00",
    "2026-01-01T00:00:00+02:00", "2026-01-01 00:00:00.123456500", "2026-01-01 00:00:00.1234567891Z",
    "2026-01-01T10:00:00.5000000", "2026-01-01 10", "10:00", "24:00:00", "23:59:60", "10:00:00.1234567",
    "23:59:59.9999996", "epoch",
    "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "{a0eebc999c0b4ef8bb6d6bb9bd380a11}", "A0EEBC999C0B4EF8BB6D6BB9BD380A11",
    "\\x00ff", "\\x0", "\\000a", "a\\b", "äöü", "\U0001f388", "{1,2}", "1 day", "P1D", "10.0.0.1", "$1.005", "abcdef",
    "101", "1011", "{abcdef}", "{abc,1.55}", "abc  ", "x,y", 'say "x"', "NULL ",
)  # fmt: skip
"""What cells look like, and what is easily taken for something else."""
SHARES = 4
"""Parts of the spellings that are spread over the types where not every type is tried with each of them."""


@dataclass(frozen=True)
class Trial:
    """A folder with a file, an API with the same rows, and a warehouse that loads them."""

    folder: Path
    warehouse: PostgresWarehouse
    api: Api

    def load(self, form: str, *, steps: Sequence[dict[str, object]] = (), table: str = "sales.t") -> Monitor:
        """Load the file of a format, or the pages of the API."""
        source = {"kind": "files", "path": f"a.{form}"} if form != "rest" else {"kind": "rest", **PAGES}
        spec = JobSpec.model_validate({
            "name": "x", "source": source, "transforms": list(steps), "destination": {"table": table},
        })  # fmt: skip
        assert isinstance(spec.source, FilesSource | RestSource)
        config = {"base_url": self.api.url, "allow_private": True}
        connection = a_connection(name="api", kind="rest", config=config) if form == "rest" else None
        around = surroundings(files_root=self.folder, columns=source_columns(spec.transforms), connection=connection)
        transforms = tuple(transform_for(each, around_transforms()) for each in spec.transforms)
        made, monitor = source_for(spec.source, around), Monitor()
        destination = Destination.model_validate({"table": table})
        pipeline = Pipeline(made, transforms, destination, (), FakeEngine(), self.warehouse)
        pipeline.run(LoadId(JobId(uuid4()), 1, uuid4(), "x"), monitor)
        return monitor

    def write(self, form: str, cells: Sequence[str], *, quoted: bool = True) -> None:
        """Write a file or page with a number and a cell in each row; JSON strings, or the cells as they are."""
        if form == "rest":
            self.api.routes["/rows"] = lambda _: Reply(f'{{"data": {written(form, cells, quoted=quoted)}}}')
            return
        (self.folder / f"a.{form}").write_text(written(form, cells, quoted=quoted), encoding="utf-8")


PAGES: dict[str, object] = {"connection": "api", "path": "/rows", "records": "$.data[*]"}


def written(form: str, cells: Sequence[str], *, quoted: bool) -> str:
    """Return the text of a file."""
    if form == "csv":
        sink = io.StringIO()
        csv.writer(sink, lineterminator="\n").writerows([("id", "v"), *enumerate(cells)])
        return sink.getvalue()
    values = [json.dumps(cell, ensure_ascii=False) if quoted else cell for cell in cells]
    records = [f'{{"id": {number}, "v": {value}}}' for number, value in enumerate(values)]
    return "\n".join(records) if form == "jsonl" else f"[{', '.join(records)}]"


def copied(url: str, sql_type: str, cells: Sequence[str]) -> dict[int, str]:
    """Return what COPY makes of the cells of a CSV file, those that it refuses left out; moments are UTC."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("SET TimeZone = 'UTC'")
        conn.execute(sql.SQL("CREATE TEMPORARY TABLE expected (id int, v {})").format(sql.SQL(sql_type)))
        for number, cell in enumerate(cells):
            try:
                with conn.cursor().copy("COPY expected FROM STDIN (FORMAT csv, FORCE_NOT_NULL (v))") as copy:
                    copy.write(written("csv", [cell], quoted=False).split("\n", 1)[1].replace("0,", f"{number},", 1))
            except pg.DataError:
                continue
        return dict(conn.execute("SELECT id, v::text FROM expected").fetchall())


def loaded(url: str) -> dict[int, str]:
    """Return what the table holds; moments are UTC."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("SET TimeZone = 'UTC'")
        return dict(conn.execute("SELECT id, v::text FROM sales.t").fetchall())


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    with rest_api() as running:
        yield running


def make_schema(query: Query) -> None:
    """Make the schema of the tables, and the domains among the types."""
    query("CREATE SCHEMA sales")
    query("CREATE DOMAIN short_text AS varchar(3)")
    query("CREATE DOMAIN short_bits AS bit(3)")


@pytest.fixture(params=WAYS)
def trial(request: pytest.FixtureRequest, warehouse: PostgresWarehouse, tmp_path: Path, api: Api) -> Trial:
    return Trial(tmp_path, going(warehouse, request.param), api)


@pytest.mark.parametrize(("form", "way"), [("csv", "direct"), ("jsonl", "staged")])
@pytest.mark.parametrize("sql_type", TYPES)
def test_text_reaches_an_existing_column_as_copy_reads_it(
    warehouse: PostgresWarehouse, query: Query, tmp_path: Path, api: Api, *, form: str, way: str, sql_type: str
) -> None:
    trial = Trial(tmp_path, going(warehouse, way), api)
    make_schema(query)
    query(f"CREATE TABLE sales.t (id int, v {sql_type})")
    trial.write(form, SPELLINGS)
    expected = copied(query.url, sql_type, SPELLINGS)

    trial.load(form)

    assert loaded(query.url) == expected
    refused = [at for at in range(len(SPELLINGS)) if at not in expected]
    assert [at for (at,) in query("SELECT position FROM dataproc_load.reject ORDER BY position")] == refused


GOOD: dict[str, tuple[str, ...]] = {
    "text": ("00501", "1E5", ""),
    "varchar(5)": ("00501",),
    "numeric": ("1.50", "-0.007", "12345678901234567890.123", "1e3", "NaN", "-0", "1" * 60),
    "numeric(10,2)": ("1.5", "2.555", "00501", "-12345678.90"),
    "smallint": ("5", "-0", "+5", " 5", "00501"),
    "bigint": ("9223372036854775807", "-9223372036854775808"),
    "real": ("16777217", "0.1", "1e38"),
    "double precision": ("0.1", "1e300", "NaN", "-Infinity"),
    "boolean": ("TRUE", "f", "yes", "off", "0"),
    "date": ("2026-01-01", "0001-12-31"),
    "time": ("10:00", "10:00:00.1234565", "23:59:59.9999994"),
    "timestamp": ("2026-01-01", "2026-01-01T10:00:00.123456500", "2026-01-01 10:00:00+02:00"),
    "timestamp(3)": ("2026-01-01T10:00:00.1235",),
    "timestamptz": ("2026-01-01T10:00:00+02:00", "2026-01-01 10:00", "2026-01-01 10:00:00.1234567891Z"),
    "uuid": ("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "A0EEBC999C0B4EF8BB6D6BB9BD380A11"),
    "bytea": ("\\x00ff", "äöü", "a"),
}
"""Spellings that workers read themselves, so that a load goes directly."""


@pytest.mark.parametrize("form", FILES)
@pytest.mark.parametrize("sql_type", GOOD)
def test_text_that_workers_read_is_loaded_directly_as_copy_reads_it(
    warehouse: PostgresWarehouse, query: Query, tmp_path: Path, api: Api, *, form: str, sql_type: str
) -> None:
    trial = Trial(tmp_path, going(warehouse, "direct"), api)
    query("CREATE SCHEMA sales")
    query(f"CREATE TABLE sales.t (id int, v {sql_type})")
    trial.write(form, [cell for cell in GOOD[sql_type] if cell or form != "csv"])

    monitor = trial.load(form)

    assert monitor.progress.load == "direct"
    expected = copied(query.url, sql_type, GOOD[sql_type])
    assert {at: text for at, text in expected.items() if GOOD[sql_type][at] or form != "csv"} == loaded(query.url)


def test_text_of_an_api_reaches_existing_columns_as_copy_reads_it(trial: Trial, query: Query) -> None:
    make_schema(query)
    found, expected, refused = dict[str, dict[int, str]](), dict[str, dict[int, str]](), 0

    # One database serves all types, because making one takes longer than a load; each type has a share of the cells.
    for number, sql_type in enumerate(TYPES):
        cells = (*SPELLINGS[number % SHARES :: SHARES], *GOOD.get(sql_type, ()))
        query("DROP TABLE IF EXISTS sales.t")
        query(f"CREATE TABLE sales.t (id int, v {sql_type})")
        trial.write("rest", cells)
        trial.load("rest")
        found[sql_type], expected[sql_type] = loaded(query.url), copied(query.url, sql_type, cells)
        refused += len(cells) - len(expected[sql_type])

    assert found == expected
    assert query("SELECT count(*) FROM dataproc_load.reject") == [(refused,)]


DECIMALS = st.from_regex(r"\A-?(0|[1-9][0-9]{0,24})\.[0-9]{1,20}\Z")
WHOLE = st.from_regex(r"\A-?(0|[1-9][0-9]{0,30})\Z")
POWERS = st.from_regex(r"\A-?(0|[1-9][0-9]{0,4})\.[0-9]{1,20}[eE][+-]?[0-9]{1,2}\Z")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(
    cells=st.one_of(
        st.lists(WHOLE, min_size=1, max_size=20),
        st.lists(DECIMALS, min_size=1, max_size=20),
        st.lists(st.one_of(WHOLE, DECIMALS, POWERS), min_size=1, max_size=20),
    )
)
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("steps", [(), ({"kind": "filter", "where": "v is not null"},)], ids=["as-written", "computed"])
def test_a_number_in_a_new_table_is_the_number_of_the_source(
    trial: Trial, query: Query, form: str, steps: Sequence[dict[str, object]], cells: list[str]
) -> None:
    query("DROP SCHEMA IF EXISTS sales CASCADE")
    query("DELETE FROM dataproc_load.reject")
    trial.write(form, cells, quoted=False)

    trial.load(form, steps=steps)

    aside = {at for (at,) in query("SELECT position FROM dataproc_load.reject")}
    expected = {(at, True) for at in range(len(cells)) if at not in aside}
    values = sql.SQL(", ").join(sql.SQL("({}, {}::numeric)").format(at, cell) for at, cell in enumerate(cells))
    asked = sql.SQL("SELECT id, v::text::numeric = n FROM sales.t JOIN (VALUES {}) AS w (i, n) ON i = id").format(
        values
    )
    assert set(query(asked.as_string())) == expected
    # A step computes with 38 digits; without one nothing is set aside.
    assert not aside or steps


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("cells", "sql_type", "texts"),
    [
        (["1.50", "2", "0.10"], "numeric", ["1.50", "2", "0.10"]),
        (["12345678901234567890", "1"], "numeric", ["12345678901234567890", "1"]),
        (["1.5E10", "2.5e3"], "double precision", ["15000000000", "2500"]),
        (["1.00000000000000000001e2"], "numeric", ["100.000000000000000001"]),
        (["-7", "9223372036854775807"], "bigint", ["-7", "9223372036854775807"]),
    ],
)
def test_a_new_column_has_the_type_that_holds_its_values(
    trial: Trial, query: Query, *, form: str, cells: list[str], sql_type: str, texts: list[str]
) -> None:
    trial.write(form, cells, quoted=False)

    trial.load(form)

    assert query("SELECT pg_typeof(v)::text, v::text FROM sales.t ORDER BY id") == [(sql_type, text) for text in texts]


@pytest.mark.parametrize("cells", [["007", "1"], ["0x1F"], ["1E5"], ["+4912345"], ["TRUE", "1"]])
def test_codes_in_a_csv_file_are_text_in_a_new_table(trial: Trial, query: Query, cells: list[str]) -> None:
    trial.write("csv", cells)

    trial.load("csv")

    assert query("SELECT pg_typeof(v)::text, v::text FROM sales.t ORDER BY id") == [("text", cell) for cell in cells]


@pytest.mark.parametrize("form", FORMATS)
def test_a_step_that_computes_has_numbers_and_an_existing_text_column_keeps_others_as_written(
    trial: Trial, query: Query, form: str
) -> None:
    query("CREATE SCHEMA sales")
    query("CREATE TABLE sales.t (id int, v text)")
    trial.write(form, ["1.50", "2.00"], quoted=False)

    trial.load(form, steps=[{"kind": "filter", "where": "id >= 1"}])

    assert query("SELECT v FROM sales.t") == [("2.00",)]


@pytest.mark.parametrize("form", ["jsonl", "json", "rest"])
def test_numbers_within_objects_keep_their_digits_in_jsonb(trial: Trial, query: Query, form: str) -> None:
    trial.write(form, ['{"a": [1.50, 12345678901234567890.123456789, -0.50]}', "[1E2]"], quoted=False)

    trial.load(form)

    assert query("SELECT pg_typeof(v)::text, v::text FROM sales.t ORDER BY id") == [
        ("jsonb", '{"a": [1.50, 12345678901234567890.123456789, -0.50]}'), ("jsonb", "[100]"),
    ]  # fmt: skip


JSON_VALUES = ('"x"', '"42"', r'"{\"a\": 1}"', "1.50", "[1]")
"""Values of JSON, some of them strings that are JSON themselves."""
COMPUTED: dict[str, object] = {"kind": "filter", "where": "v is not null"}


@pytest.mark.parametrize(("form", "steps"), [("jsonl", ()), ("jsonl", (COMPUTED,)), ("json", ()), ("rest", ())])
@pytest.mark.parametrize(("sql_type", "way"), [("text", "direct"), ("jsonb", "staged")])
@pytest.mark.parametrize("neighbours", [(), ('{"a": 1}',), ("7.25",)], ids=["alone", "object", "decimal"])
def test_a_value_of_json_in_an_existing_column_does_not_depend_on_its_neighbours(
    warehouse: PostgresWarehouse,
    query: Query,
    tmp_path: Path,
    api: Api,
    *,
    form: str,
    steps: Sequence[dict[str, object]],
    sql_type: str,
    way: str,
    neighbours: Sequence[str],
) -> None:
    trial = Trial(tmp_path, going(warehouse, way), api)
    query("CREATE SCHEMA sales")
    query(f"CREATE TABLE sales.t (id int, v {sql_type})")

    for value in JSON_VALUES:
        query("DELETE FROM sales.t")
        trial.write(form, [*neighbours, value], quoted=False)
        trial.load(form, steps=steps)

        is_string = value.startswith('"') and sql_type == "text"
        expected = str(json.loads(value)) if is_string else value
        assert query("SELECT v::text FROM sales.t WHERE id = %s", len(neighbours)) == [(expected,)]


LOOKS: dict[str, tuple[dict[str, object], ...]] = {
    "filter": ({"kind": "filter", "where": "v > 0"},),
    "derive": ({"kind": "derive", "columns": {"twice": "v * 2"}},),
    "rule": ({"kind": "validate", "rules": [{"name": "positive", "expect": "v > 0"}]},),
    "unique": ({"kind": "validate", "unique": [["v"]]},),
    "dedupe": ({"kind": "dedupe", "keys": ["v"]},),
    "latest": ({"kind": "dedupe", "keys": ["id"], "keep": {"latest": "v"}},),
    "after clean": ({"kind": "clean", "trim": True, "rename": {"v": "w"}}, {"kind": "filter", "where": "w > 0"}),
    "twice": (
        {"kind": "filter", "where": "v > 0"},
        {"kind": "validate", "rules": [{"name": "small", "expect": "v < 100"}]},
    ),
}
"""Steps that look at values."""


@pytest.mark.parametrize(("form", "way"), [("csv", "direct"), ("jsonl", "staged"), ("rest", "direct")])
@pytest.mark.parametrize("looks", LOOKS)
@pytest.mark.parametrize("sql_type", [None, "numeric", "numeric(10,2)"])
def test_a_step_that_looks_at_a_number_leaves_it_as_it_was_written(
    warehouse: PostgresWarehouse,
    query: Query,
    tmp_path: Path,
    api: Api,
    *,
    form: str,
    way: str,
    looks: str,
    sql_type: str | None,
) -> None:
    trial = Trial(tmp_path, going(warehouse, way), api)
    name = "w" if looks == "after clean" else "v"
    query("CREATE SCHEMA sales")
    if sql_type is not None:
        query(f"CREATE TABLE sales.t (id int, {name} {sql_type}, twice numeric)")
    cells = ["1.50", "2", "2.555", "10.0"]
    trial.write(form, cells, quoted=False)

    trial.load(form, steps=LOOKS[looks])

    found = [text for (text,) in query(f"SELECT {name}::text FROM sales.t ORDER BY id")]
    assert found == (["1.50", "2.00", "2.56", "10.00"] if sql_type == "numeric(10,2)" else cells)
    if looks == "derive":
        assert query("SELECT sum(twice) = 32.11 FROM sales.t") == [(True,)]


def test_a_number_with_which_a_step_cannot_compute_is_set_aside_and_told(trial: Trial, query: Query) -> None:
    trial.write("csv", ["1.50", "1" * 40 + ".5"])

    trial.load("csv", steps=LOOKS["filter"])

    assert query("SELECT v::text FROM sales.t") == [("1.50",)]
    assert query("SELECT rule, column_name, reason FROM dataproc_load.reject") == [
        ("type", "v", "column 'v' does not fit decimal128(38, 9), with which a step computes; cast it in a clean step")
    ]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (({"kind": "mask", "columns": {"v": "redact"}}, {"kind": "filter", "where": "v = '***'"}), ["***", "***"]),
        (({"kind": "clean", "cast": {"v": "string"}}, {"kind": "filter", "where": "v like '%0'"}), ["1.50", "10.0"]),
        (({"kind": "validate", "columns": {"v": "string"}}, {"kind": "filter", "where": "v like '1.%'"}), ["1.50"]),
        (({"kind": "clean", "nulls": {"v": 0}}, {"kind": "filter", "where": "v < 10"}), ["1.50"]),
    ],
    ids=["mask", "cast", "validate", "nulls"],
)
def test_a_step_after_one_that_changes_a_column_sees_what_that_one_made(
    trial: Trial, query: Query, steps: Sequence[dict[str, object]], expected: list[str]
) -> None:
    trial.write("csv", ["1.50", "10.0"])

    trial.load("csv", steps=[*LOOKS["filter"], *steps])

    assert [text for (text,) in query("SELECT v::text FROM sales.t ORDER BY id")] == expected


@pytest.mark.parametrize(
    "step",
    [
        {"kind": "filter", "where": "v IS NOT NULL"},
        {"kind": "dedupe", "keys": ["id", "v"]},
        {"kind": "validate", "unique": [["id", "v"]]},
        {"kind": "sql", "query": "SELECT * FROM batch"},
        {"kind": "validate", "json_schema": {"type": "object"}},
    ],
    ids=["filter", "dedupe", "unique", "sql", "schema"],
)
@pytest.mark.parametrize("sql_type", [each for each in TYPES if "_" not in each])
def test_a_step_before_an_existing_column_of_any_type_changes_no_value(
    warehouse: PostgresWarehouse, query: Query, tmp_path: Path, api: Api, *, step: dict[str, object], sql_type: str
) -> None:
    trial = Trial(tmp_path, going(warehouse, "staged"), api)
    query("CREATE SCHEMA sales")
    query(f"CREATE TABLE sales.t (id int, v {sql_type}, w {sql_type})")
    cells = SPELLINGS[:: 1 if sql_type == "bytea" else SHARES]
    trial.write("csv", cells)
    expected = copied(query.url, sql_type, cells)

    if sql_type == "timestamp(3)":
        # What COPY rounds to the digits of a column, a value of a step is not.
        with pytest.raises(ContractViolationError, match=r"column v is timestamp\(3\).* does not fit"):
            trial.load("csv", steps=[step])
        return
    trial.load("csv", steps=[step])

    # A step that computes with values sets aside what it cannot read.
    values = loaded(query.url)
    [(rejects,)] = query("SELECT count(DISTINCT position) FROM dataproc_load.reject")
    assert len(values) + rejects == len(cells)
    assert [(at, text) for at, text in values.items() if expected.get(at) != text] == []
