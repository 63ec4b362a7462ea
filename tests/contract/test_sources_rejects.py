"""The source of replays: all tests of the conformance suite that apply, and rows that come back as they were."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pytest
from typing_extensions import override

from dataproc.domain.chunk import POSITION
from dataproc.domain.errors import (
    ContractViolationError,
    SourceChangedError,
    SourceNotFoundError,
    WarehouseUnavailableError,
)
from dataproc.domain.job import JobId
from dataproc.domain.transforms.validate import ValidateTransform
from dataproc.ports.pipeline import Source
from dataproc.transforms.validate import Validate
from dataproc.warehouse.connection import connect
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.contract.conformance import Row, SourceConformance, Subject, one_table, read_all
from tests.descriptors import open_sockets
from tests.rejected import orders, rejected, replayed, set_aside
from tests.warehouses import LoadTrial, Query

AWAY = "postgresql://nobody@/warehouse?host=/nonexistent"
ROWS = 25


@dataclass(frozen=True, slots=True)
class Rejected:
    """A job with rejects, as a subject of the conformance suite."""

    warehouse: PostgresWarehouse
    job: JobId

    def source(self) -> Source:
        return replace(rejected(self.warehouse.url, self.job), rows_in_unit=10, rows_in_piece=4)

    def rows(self) -> Sequence[Row]:
        return [(n, f"-{n}.50") for n in range(ROWS)]

    def empty(self) -> Source:
        job = set_aside(self.warehouse, orders())
        return rejected(self.warehouse.url, job)

    def refused(self) -> Source:
        # A role that does not exist: the server trusts all that do.
        return rejected(self.warehouse.url.replace("postgres@", "stranger@"), self.job)

    def missing(self) -> Source:
        return rejected(self.warehouse.url, uuid4())

    def change(self) -> None:
        replayed(self.warehouse, rejected(self.warehouse.url, self.job, rule="le"))

    def away(self) -> Source:
        return rejected(AWAY, self.job)

    def open_connections(self) -> int:
        return open_sockets()


@pytest.fixture
def subject(warehouse: PostgresWarehouse) -> Rejected:
    """Give a job whose rejects make several units and pieces; some rows broke two rules."""
    return Rejected(warehouse, set_aside(warehouse, orders(*range(ROWS)), "ge", "le"))


class TestRejected(SourceConformance):
    """The suite; the credentials are the installation's own, and PostgreSQL does not tell wrong ones from a fault."""

    @override
    def test_wrong_credentials_are_told_and_not_tried_again(self, subject: Subject) -> None:
        with pytest.raises(WarehouseUnavailableError):
            read_all(subject.refused())


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([Decimal("12345678901234567890.123456789"), Decimal("-0.50"), None], pa.decimal128(38, 9)),
        ([2**63 - 1, -(2**63), 0], pa.int64()),
        ([True, None, False], pa.bool_()),
        ([1.5, 0.1, 1e300], pa.float64()),
        (["a", "Zoë \U0001f388\n", '"quoted"'], pa.string()),
    ],
)
def test_values_come_back_as_they_were(warehouse: PostgresWarehouse, values: list[object], dtype: pa.DataType) -> None:
    job = set_aside(warehouse, pa.table({"id": [1, 2, 3], "amount": pa.array(values, dtype)}))

    _, chunks = read_all(rejected(warehouse.url, job))

    found = one_table(chunks)["amount"].to_pylist()
    is_number = isinstance(values[0], Decimal | float)
    assert [Decimal(each) if is_number and each is not None else each for each in found] == [
        Decimal(repr(each)) if isinstance(each, float) else each for each in values
    ]


@pytest.mark.parametrize(
    ("values", "dtype", "sql_type"),
    [
        ([2**64 - 1], pa.uint64(), "numeric"),
        ([b"\x00\xff\\"], pa.binary(), "bytea"),
        ([date(2026, 1, 31)], pa.date32(), "date"),
        ([time(23, 59, 59, 999999)], pa.time64("us"), "time"),
        ([datetime.fromisoformat("2026-01-31T06:00:00.123456")], pa.timestamp("us"), "timestamp"),
        ([datetime(2026, 1, 31, 6, tzinfo=UTC)], pa.timestamp("us", "UTC"), "timestamptz"),
        ([timedelta(days=-1, seconds=5, microseconds=7)], pa.duration("us"), "interval"),
        ([Decimal("0." + "1" * 70)], pa.decimal256(76, 70), "numeric"),
        ([float("nan")], pa.float64(), "float8"),
        ([0.1], pa.float32(), "float4"),
        ([[{"name": "a", "amounts": [Decimal("1.10"), None]}]], None, "jsonb"),
        ([[("key", 1)]], pa.map_(pa.string(), pa.int64()), "jsonb"),
    ],
)
def test_a_table_takes_the_values_of_a_replay_as_those_of_the_first_load(
    warehouse: PostgresWarehouse, query: Query, values: list[Any], dtype: pa.DataType | None, sql_type: str
) -> None:
    rows = pa.table({"id": [1], "amount": pa.array(values, dtype) if dtype else pa.array(values)})
    query("CREATE SCHEMA sales")
    for name in ("first", "replayed"):
        query(f"CREATE TABLE sales.{name} (id bigint, amount {sql_type})")
    job = set_aside(warehouse, rows)
    LoadTrial(warehouse, table="sales.first").run(rows)

    published = replayed(warehouse, rejected(warehouse.url, job))

    assert published.account.loaded == 1
    assert repr(query.table("sales.replayed")) == repr(query.table("sales.first")) != "[]"


def test_columns_that_a_later_step_casts_come_as_the_text_of_their_numbers(warehouse: PostgresWarehouse) -> None:
    amounts = pa.array([Decimal("1.10"), Decimal("200.00")], pa.decimal128(12, 2))
    job = set_aside(warehouse, pa.table({"id": [1, 2], "amount": amounts}))

    plan, chunks = read_all(rejected(warehouse.url, job, text=["amount"]))

    assert plan.schema.field("amount").type == pa.string()
    assert one_table(chunks)["amount"].to_pylist() == ["1.10", "200.00"]


def test_a_row_that_broke_several_rules_comes_once(warehouse: PostgresWarehouse) -> None:
    job = set_aside(warehouse, orders(1, 2), "ge", "le", "pattern")

    everything, some = (read_all(rejected(warehouse.url, job, rule=rule))[0] for rule in (None, "le"))

    assert (everything.rows, some.rows) == (2, 2)


def test_only_rows_that_broke_the_rule_come_with_it(warehouse: PostgresWarehouse) -> None:
    job = set_aside(warehouse, orders(1, 2), "ge")

    assert read_all(rejected(warehouse.url, job, rule="le"))[0].units == ()
    assert read_all(rejected(warehouse.url, job, column="id"))[0].units == ()
    assert read_all(rejected(warehouse.url, job, rule="ge", column="amount"))[0].rows == 2


def test_rows_of_different_shapes_come_with_the_columns_of_all(warehouse: PostgresWarehouse, query: Query) -> None:
    job = set_aside(warehouse, orders(1, 2))
    query('UPDATE dataproc_load.reject SET raw_row = \'{"id": "x", "note": {"a": 1.10}}\' WHERE position = 1')

    plan, chunks = read_all(rejected(warehouse.url, job))

    assert plan.schema.names == ["id", "amount", "note"]
    assert one_table(chunks).to_pylist() == [
        {"id": "1", "amount": "-1.50", "note": None},
        {"id": "x", "amount": None, "note": '{"a": 1.10}'},
    ]


def test_a_column_whose_name_is_reserved_is_refused(warehouse: PostgresWarehouse) -> None:
    source = rejected(warehouse.url, set_aside(warehouse, pa.table({"id": [1], "amount": ["1"]})))
    with connect(warehouse.url) as conn:
        conn.execute("UPDATE dataproc_load.reject SET raw_row = '{\"__position\": 1}'")

    with pytest.raises(ContractViolationError, match="'__position' has a reserved name"):
        source.plan()


def test_what_is_no_whole_row_stays_and_is_told(warehouse: PostgresWarehouse, query: Query) -> None:
    job = set_aside(warehouse, orders(1, 2))
    query("UPDATE dataproc_load.reject SET raw_row = '1;2;3', is_row = false WHERE position = 1")

    plan, _ = read_all(rejected(warehouse.url, job))

    assert plan.rows == 1
    assert plan.notes == (f"1 rejects of job {job} hold no whole row: they stay, and cannot be replayed",)


def test_rows_that_another_replay_took_after_the_plan_are_noticed(warehouse: PostgresWarehouse) -> None:
    source = rejected(warehouse.url, set_aside(warehouse, orders(1, 2)))
    plan = source.plan()
    replayed(warehouse, source)

    with pytest.raises(SourceChangedError):
        list(source.read(plan.units[0]))


def test_a_job_that_has_published_nothing_is_named(warehouse: PostgresWarehouse) -> None:
    with pytest.raises(SourceNotFoundError, match="has published nothing"):
        rejected(warehouse.url, uuid4()).plan()


def test_what_breaks_the_corrected_rules_again_is_set_aside_by_the_replay(
    warehouse: PostgresWarehouse, query: Query
) -> None:
    job = set_aside(warehouse, orders(1, 2, 3))
    spec = ValidateTransform.model_validate({"kind": "validate", "columns": {"amount": "decimal(12,2) > -3"}})
    text = ["amount"]

    first = replayed(warehouse, rejected(warehouse.url, job, text=text), (Validate(spec),))
    again = replayed(warehouse, rejected(warehouse.url, job, text=text), (Validate(spec),))

    assert (first.account.loaded, first.account.rejected, again.account.read) == (2, 1, 0)
    [(raw,)] = query("SELECT raw_row FROM dataproc_load.reject WHERE replayed_by IS NULL")
    assert json.loads(raw) == {"id": 3, "amount": "-3.50"}


def test_positions_count_the_rows_of_a_unit(subject: Rejected) -> None:
    source = subject.source()
    plan = source.plan()

    found = [[p for chunk in source.read(unit) for p in chunk.rows[POSITION].to_pylist()] for unit in plan.units]

    assert found == [list(range(10)), list(range(10)), list(range(5))]
