"""Laws of `replace_partition`: the partitions that occur among the rows are exchanged, and no others."""

from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest

from dataproc.domain.errors import ContractViolationError
from dataproc.ports.warehouse import Published
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.warehouses import TABLE, WAYS, LoadTrial, Query, going

DAYS = [datetime(2026, 1, 30, 23, 59, tzinfo=UTC), datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)]


def rows(*triples: tuple[int, str | None, int | None]) -> pa.Table:
    """Return rows of an id, a country and a year."""
    ids, countries, years = zip(*triples, strict=True)
    return pa.table({"id": pa.array(ids, pa.int64()), "country": pa.array(countries), "year": pa.array(years)})


def replace(warehouse: PostgresWarehouse, *tables: pa.Table, **partition: Any) -> Published:
    """Replace the partitions that occur in these tables."""
    return LoadTrial(warehouse, terms={"mode": "replace_partition", "partition": partition}).run(*tables)


@pytest.fixture(params=WAYS)
def warehouse(warehouse: PostgresWarehouse, request: pytest.FixtureRequest) -> PostgresWarehouse:
    """Give a warehouse that loads by each way."""
    return going(warehouse, request.param)


def test_partitions_that_occur_are_exchanged_and_others_stay(warehouse: PostgresWarehouse, query: Query) -> None:
    replace(warehouse, rows((1, "at", 1), (2, "at", 2), (3, "de", 1), (4, "de", 2)), by=["country", "year"])

    published = replace(warehouse, rows((5, "at", 1), (6, "at", 1)), rows((7, "ch", 1)), by=["country", "year"])

    assert [row[0] for row in query.table()] == [2, 3, 4, 5, 6, 7]
    assert (published.effect.inserted, published.effect.deleted) == (3, 1)


@pytest.mark.parametrize("postgres_major", [15, 18], indirect=True)
def test_null_is_a_partition_of_its_own(warehouse: PostgresWarehouse, query: Query) -> None:
    replace(warehouse, rows((1, None, 1), (2, "at", None), (3, None, None), (4, "at", 1)), by=["country", "year"])

    replace(warehouse, rows((5, None, 1), (6, None, None)), by=["country", "year"])

    assert [row[0] for row in query.table()] == [2, 4, 5, 6]


TIMES: list[tuple[pa.DataType, str, list[int]]] = [
    (pa.timestamp("us", "UTC"), "day", [1, 3, 9]),
    (pa.timestamp("us", "UTC"), "month", [3, 9]),
    (pa.timestamp("us"), "month", [3, 9]),
    (pa.date32(), "month", [3, 9]),
    (pa.date32(), "day", [1, 3, 9]),
    (pa.date32(), "year", [9]),
]


@pytest.mark.parametrize(("dtype", "period", "left"), TIMES, ids=[f"{case[0]}-{case[1]}" for case in TIMES])
def test_a_period_of_a_date_or_a_time_is_a_partition(
    warehouse: PostgresWarehouse, query: Query, dtype: pa.DataType, period: str, left: list[int]
) -> None:
    query("ALTER DATABASE " + query("SELECT current_database()")[0][0] + " SET TimeZone = 'Pacific/Auckland'")

    def at(*moments: tuple[int, datetime]) -> pa.Table:
        ids, times = zip(*moments, strict=True)
        return pa.table({"id": pa.array(ids, pa.int64()), "at": pa.array(times, pa.timestamp("us", "UTC")).cast(dtype)})

    replace(warehouse, at((1, DAYS[0]), (2, DAYS[1]), (3, DAYS[2])), by=["at"], period=period)

    replace(warehouse, at((9, DAYS[1].replace(hour=0 if pa.types.is_date(dtype) else 23))), by=["at"], period=period)

    assert [row[0] for row in query.table()] == left


def test_a_period_of_something_else_is_refused(warehouse: PostgresWarehouse, query: Query) -> None:
    with pytest.raises(ContractViolationError, match=r"column year of sales\.orders is int8, and only dates and times"):
        replace(warehouse, rows((1, "at", 1)), by=["year"], period="day")

    assert not query.exists()


def test_a_missing_column_is_refused(warehouse: PostgresWarehouse) -> None:
    with pytest.raises(ContractViolationError, match="partition: the rows have no column 'region'"):
        replace(warehouse, rows((1, "at", 1)), by=["region"])


def test_the_parts_of_a_partitioned_table_are_exchanged(warehouse: PostgresWarehouse, query: Query) -> None:
    query("CREATE SCHEMA sales")
    query(f"CREATE TABLE {TABLE} (day date NOT NULL, id bigint) PARTITION BY RANGE (day)")
    query("CREATE TABLE sales.january PARTITION OF sales.orders FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')")
    query("CREATE TABLE sales.february PARTITION OF sales.orders FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')")
    query(f"INSERT INTO {TABLE} VALUES ('2026-01-05', 1), ('2026-02-05', 2)")

    replace(
        warehouse, pa.table({"day": [date(2026, 2, 7)], "id": pa.array([3], pa.int64())}), by=["day"], period="month"
    )

    assert [row[1] for row in query.table()] == [1, 3]
