"""Rules over the keys of all rows of a run: one row stays for each key, wherever the rows came from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from dataproc.domain.chunk import Account, Chunk
from dataproc.domain.destination import Destination
from dataproc.domain.errors import ContractViolationError, SourceUnavailableError
from dataproc.domain.keys import KeyRule, key_schema, keys_of
from dataproc.domain.spec import Transform as TransformSpec
from dataproc.domain.transforms.enrich import EnrichTransform
from dataproc.domain.transforms.sql import SqlTransform
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.ports.memory import BLANK, Memory
from dataproc.ports.pipeline import Transform
from dataproc.ports.warehouse import Published
from dataproc.services.monitor import Monitor
from dataproc.services.pipeline import Pipeline
from dataproc.transforms.clean import Clean
from dataproc.transforms.dedupe import Dedupe
from dataproc.transforms.enrich_run import EnrichOverRun
from dataproc.transforms.sql_run import SqlOverRun
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.fakes.pipeline import FakeEngine
from tests.warehouses import TABLE, Query, a_load_id, a_unit, chunks_of, schema_of

ROWS = schema_of({"k": pa.string(), "v": pa.int64(), "note": pa.string()})
Row = tuple[str | None, int | None, str | None]


@dataclass(frozen=True, slots=True)
class ChunkSource:
    """A source whose units are lists of chunks."""

    units: Sequence[Sequence[Sequence[Row]]]

    def plan(self, memory: Memory = BLANK) -> SourcePlan:
        del memory
        return SourcePlan(tuple(a_unit(f"u{at}", sum(map(len, unit))) for at, unit in enumerate(self.units)), ROWS)

    def read(self, unit: Unit) -> Iterator[Chunk]:
        tables = [a_table(rows) for rows in self.units[int(unit.id[1:])]]
        return iter(chunks_of(unit.id, *tables, schema=ROWS))


@dataclass(frozen=True, slots=True)
class Unique:
    """A rule that the values of a column must be unique."""

    column: str
    others: Any = "quarantine"

    def schema(self, before: pa.Schema) -> pa.Schema:
        return before

    def rules(self, before: pa.Schema) -> Sequence[KeyRule]:
        return (KeyRule((self.column,), key_schema(before, (self.column,)), self.others),)

    def apply(self, chunk: Chunk) -> Chunk:
        return chunk.with_keys(keys_of(chunk.rows, (self.column,)))


def a_table(rows: Sequence[Row]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(ROWS.names, row, strict=True)) for row in rows], schema=ROWS)


def step(**fields: Any) -> Transform:
    spec: Any = TypeAdapter[Any](TransformSpec).validate_python(fields)
    return Dedupe(spec) if fields["kind"] == "dedupe" else Clean(spec)


def dedupe(*keys: str, keep: Any = "first") -> Transform:
    return step(kind="dedupe", keys=keys, keep=keep)


def load(
    warehouse: PostgresWarehouse,
    units: Sequence[Sequence[Sequence[Row]]],
    *steps: Transform,
    way: str = "staged",
    table: str = TABLE,
) -> Published:
    destination = Destination.model_validate({"table": table, "load": way})
    pipeline = Pipeline(ChunkSource(units), steps, destination, (), FakeEngine(), warehouse)
    return pipeline.run(a_load_id(), Monitor())


def left(query: Query, table: str = TABLE) -> list[Any]:
    return sorted(query.table(table), key=str)


A1: Row = ("a", 1, "x")
A2: Row = ("a", 2, "y")
A3: Row = ("a", 3, None)
UNITS: Sequence[Sequence[Sequence[Row]]] = [[[A2, ("b", 1, "x")], [A1]], [[A3, ("c", 5, "z")]]]


@pytest.mark.parametrize("way", ["staged", "direct"])
@pytest.mark.parametrize(
    ("keep", "stays"), [("first", A2), ("last", A3), ({"latest": "v"}, A3), ({"earliest": "v"}, A1)]
)
def test_one_row_stays_for_each_key_over_all_units(
    warehouse: PostgresWarehouse, query: Query, keep: Any, stays: Row, way: str
) -> None:
    published = load(warehouse, UNITS, dedupe("k", keep=keep), way=way)

    assert left(query) == [stays, ("b", 1, "x"), ("c", 5, "z")]
    assert published.account == Account(read=5, loaded=3, deduplicated=2)
    assert query("SELECT unit, rows_loaded, rows_deduplicated FROM dataproc_load.load_unit ORDER BY 1") == (
        [("u0", 1, 2), ("u1", 2, 0)] if stays is A3 else [("u0", 2, 1), ("u1", 1, 1)]
    )
    assert query.staging() == []


def test_whoever_runs_the_job_is_told_that_a_direct_load_had_to_be_staged(warehouse: PostgresWarehouse) -> None:
    pipeline = Pipeline(ChunkSource(UNITS), (dedupe("k"),), Destination(table=TABLE), (), FakeEngine(), warehouse)

    pipeline.run(a_load_id(), monitor := Monitor())

    assert monitor.progress.load == "staged"
    assert ["same key came in different chunks" in warning for warning in monitor.progress.warnings] == [True]


def test_without_doubled_keys_a_direct_load_stays_direct(warehouse: PostgresWarehouse, query: Query) -> None:
    published = load(warehouse, [[[A1]], [[("b", 1, "x")]]], dedupe("k"), way="auto")

    assert published.way == "direct"
    assert left(query) == [A1, ("b", 1, "x")]


def test_a_row_that_a_later_step_leaves_out_still_counts_as_the_latest(
    warehouse: PostgresWarehouse, query: Query
) -> None:
    load(warehouse, UNITS, dedupe("k", keep={"latest": "v"}), step(kind="clean", drop_nulls=["note"]))

    assert left(query) == [("b", 1, "x"), ("c", 5, "z")]


def test_later_steps_may_rename_and_drop_the_keys(warehouse: PostgresWarehouse, query: Query) -> None:
    load(warehouse, UNITS, dedupe("k", keep={"latest": "v"}), step(kind="clean", drop=["k"], rename={"v": "w"}))

    assert sorted(query.table()) == [(1, "x"), (3, None), (5, "z")]


def test_null_keys_are_equal_to_each_other_and_null_is_never_the_latest(
    warehouse: PostgresWarehouse, query: Query
) -> None:
    units: Any = [[[(None, None, "x")]], [[(None, 4, "y")]], [[("a", None, None)]]]

    load(warehouse, units, dedupe("k", keep={"latest": "v"}))

    assert left(query) == [("a", None, None), (None, 4, "y")]


def test_a_second_rule_sees_only_what_the_first_one_left(warehouse: PostgresWarehouse, query: Query) -> None:
    units: Any = [[[("a", 1, "x")]], [[("a", 2, "y")]], [[("b", 3, "y")]]]

    published = load(warehouse, units, dedupe("k"), dedupe("note"))

    assert left(query) == [("a", 1, "x"), ("b", 3, "y")]
    assert published.account == Account(read=3, loaded=2, deduplicated=1)


@pytest.mark.parametrize("way", ["staged", "direct"])
def test_rows_that_are_not_unique_are_set_aside_and_nulls_never_are(
    warehouse: PostgresWarehouse, query: Query, way: str
) -> None:
    units: Any = [[[A1, (None, 1, None)]], [[A2, (None, 2, None)], [A3]]]

    published = load(warehouse, units, Unique("k"), way=way)

    assert left(query) == [A1, (None, 1, None), (None, 2, None)]
    assert published.account == Account(read=5, loaded=3, rejected=2)
    assert query("SELECT unit, position, rule, column_name, reason, raw_row::jsonb FROM dataproc_load.reject") == [
        ("u1", 0, "unique", "k", "'k' is not unique in this run", {"k": "a", "v": 2, "note": "y"}),
        ("u1", 2, "unique", "k", "'k' is not unique in this run", {"k": "a", "v": 3, "note": None}),
    ]


def test_rows_that_are_not_unique_are_filtered_out_if_the_rule_says_so(
    warehouse: PostgresWarehouse, query: Query
) -> None:
    assert load(warehouse, UNITS, Unique("k", "drop")).account == Account(read=5, loaded=3, filtered=2)
    assert left(query) == [A2, ("b", 1, "x"), ("c", 5, "z")]


def test_rows_that_are_not_unique_fail_the_run_by_name(warehouse: PostgresWarehouse, query: Query) -> None:
    with pytest.raises(Exception, match="u0, row 2: 'k' is not unique in this run"):
        load(warehouse, UNITS, Unique("k", "fail"))

    assert not query.exists()


@dataclass(frozen=True, slots=True)
class BrokenOff(ChunkSource):
    """A source whose last unit cannot be read."""

    def read(self, unit: Unit) -> Iterator[Chunk]:
        if unit.id == f"u{len(self.units) - 1}":
            raise SourceUnavailableError("gone")
        return ChunkSource.read(self, unit)


def test_keys_that_an_earlier_run_has_staged_are_compared_too(warehouse: PostgresWarehouse, query: Query) -> None:
    destination = Destination(table=TABLE, load="staged")
    steps, engine = (dedupe("k", keep={"latest": "v"}),), FakeEngine()
    first = a_load_id()
    with pytest.raises(SourceUnavailableError):
        Pipeline(BrokenOff(UNITS), steps, destination, (), engine, warehouse).run(first, Monitor())
    assert len(query.staging()) == 2

    second, monitor = a_load_id(2, first.job_id), Monitor()
    published = Pipeline(ChunkSource(UNITS), steps, destination, (), engine, warehouse).run(second, monitor)

    assert monitor.progress.units_resumed == 1
    assert left(query) == [A3, ("b", 1, "x"), ("c", 5, "z")]
    assert published.account == Account(read=5, loaded=3, deduplicated=2)
    assert query.staging() == []


def test_a_run_with_other_rules_does_not_go_on_with_what_was_staged(warehouse: PostgresWarehouse, query: Query) -> None:
    destination = Destination(table=TABLE, load="staged")
    first = a_load_id()
    with pytest.raises(SourceUnavailableError):
        Pipeline(BrokenOff(UNITS), (dedupe("k"),), destination, (), FakeEngine(), warehouse).run(first, Monitor())

    second, monitor = a_load_id(2, first.job_id), Monitor()
    Pipeline(ChunkSource(UNITS), (dedupe("k", keep="last"),), destination, (), FakeEngine(), warehouse).run(
        second, monitor
    )

    assert monitor.progress.units_resumed == 0
    assert left(query) == [A3, ("b", 1, "x"), ("c", 5, "z")]


def over_run(query: str) -> SqlOverRun:
    return SqlOverRun(SqlTransform(kind="sql", over="run", query=query))


TOTALS = "SELECT k, sum(v) OVER (PARTITION BY k) AS total, __unit, __position FROM staged"


def test_a_query_over_the_run_gives_the_rows_of_a_new_table_and_its_types(
    warehouse: PostgresWarehouse, query: Query
) -> None:
    published = load(warehouse, UNITS, over_run(TOTALS), over_run("SELECT * FROM staged WHERE k <> 'c'"))

    assert left(query) == [("a", 6), ("a", 6), ("a", 6), ("b", 1)]
    assert published.account == Account(read=5, loaded=4, filtered=1)
    described = "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'orders' ORDER BY 1"
    assert query(described) == [("k", "text"), ("total", "numeric")]
    assert query.staging() == []


def test_a_query_over_the_run_sees_what_the_rules_left_and_fills_a_table_that_is_there(
    warehouse: PostgresWarehouse, query: Query
) -> None:
    query("CREATE SCHEMA sales")
    query("CREATE TABLE sales.orders (k text PRIMARY KEY, total bigint, note text DEFAULT '-')")

    published = load(warehouse, UNITS, dedupe("k", keep={"latest": "v"}), over_run(TOTALS))

    assert left(query) == [("a", 3, "-"), ("b", 1, "-"), ("c", 5, "-")]
    assert published.account == Account(read=5, loaded=3, deduplicated=2)


def enriched(**fields: Any) -> EnrichOverRun:
    place = {"from": {"table": "sales.na mes"}, "on": {"k": "key"}, "columns": {"name": "na'me"}}
    return EnrichOverRun(EnrichTransform.model_validate({"kind": "enrich", "over": "run", **place, **fields}))


@pytest.mark.parametrize(("missing", "stands"), [("null", None), ({"default": {"name": "O'Hara"}}, "O'Hara")])
def test_a_lookup_of_any_size_is_joined_where_the_rows_are_staged(
    warehouse: PostgresWarehouse, query: Query, missing: Any, stands: str | None
) -> None:
    query("CREATE SCHEMA sales")
    query("""CREATE TABLE sales."na mes" (key text, "na'me" text)""")
    query("""INSERT INTO sales."na mes" VALUES ('a', 'Anna'), ('b', NULL)""")

    published = load(warehouse, UNITS, dedupe("k"), enriched(missing=missing))

    assert left(query) == [(*A2, "Anna"), ("b", 1, "x", None), ("c", 5, "z", stands)]
    assert published.account == Account(read=5, loaded=3, deduplicated=2)


def test_a_lookup_with_a_key_twice_is_refused(warehouse: PostgresWarehouse, query: Query) -> None:
    query("CREATE SCHEMA sales")
    query("""CREATE TABLE sales."na mes" AS SELECT 'a' AS key, n::text AS "na'me" FROM generate_series(1, 2) AS n""")

    with pytest.raises(ContractViolationError, match="a key twice"):
        load(warehouse, UNITS, enriched())


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("SELECT k, __unit, __position, 1 AS gone FROM staged", "gone"),
        ("SELECT k FROM staged", "__unit and __position"),
        ("SELECT * FROM nowhere", "nowhere"),
        ("SELECT *, EXISTS (SELECT FROM dataproc_load.reject) AS n FROM staged", "dataproc_load.reject"),
        ("SELECT s.* FROM staged AS s JOIN sales.peek USING (__unit)", "dataproc_load.load_unit"),
    ],
)
def test_a_query_that_does_not_fit_is_refused_before_anything_is_read(
    warehouse: PostgresWarehouse, query: Query, asked: str, told: str
) -> None:
    query("CREATE SCHEMA sales")
    query("CREATE TABLE sales.orders (k text)")
    query("CREATE VIEW sales.peek AS SELECT 0 AS __unit FROM dataproc_load.load_unit")

    with pytest.raises(ContractViolationError, match=told):
        load(warehouse, [[[]]], over_run(asked))

    assert query.staging() == []


def test_a_plan_tells_the_columns_that_a_query_gives_and_leaves_nothing(
    warehouse: PostgresWarehouse, query: Query
) -> None:
    before = query("SELECT count(*) FROM pg_class")

    told = warehouse.preview(Destination(table=TABLE), ROWS, ChunkSource(UNITS).plan(), [TOTALS])

    assert told.columns == (("k", "text"), ("total", "numeric"))
    assert told.way == "staged"
    assert query("SELECT count(*) FROM pg_class") == before


words = st.none() | st.sampled_from(["a", "b", "ä", "Z", ""])
row = st.tuples(words, st.none() | st.integers(-2, 2), words)
units = st.lists(st.lists(st.lists(row, max_size=4), min_size=1, max_size=3), min_size=1, max_size=3)


@given(units=units, keep=st.sampled_from(["first", "last", {"latest": "v"}, {"earliest": "note"}]))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_does_not_matter_how_rows_are_cut_into_units_and_chunks(
    warehouse: PostgresWarehouse, query: Query, units: Any, keep: Any
) -> None:
    whole = [[[row for unit in units for chunk in unit for row in chunk]]]
    query("DROP TABLE IF EXISTS sales.whole, sales.cut, sales.straight")

    first = load(warehouse, whole, dedupe("k", keep=keep), table="sales.whole")
    second = load(warehouse, units, dedupe("k", keep=keep), table="sales.cut")
    third = load(warehouse, units, dedupe("k", keep=keep), table="sales.straight", way="direct")

    assert first.account == second.account == third.account
    assert left(query, "sales.whole") == left(query, "sales.cut") == left(query, "sales.straight")
