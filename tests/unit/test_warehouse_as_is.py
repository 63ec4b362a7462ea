"""Which columns take the bytes of which types as they are."""

import pyarrow as pa
import pytest

from dataproc.warehouse.columns import Column, declare, takes_as_is


def a_column(sql_type: str, name: str = "x") -> Column:
    return Column(name, sql_type, pa.string())


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("bigint", "bigint"),
        ("numeric(12,2)", "numeric(12,2)"),
        ("numeric(5,-2)", "numeric"),
        ("character varying(10)", "character varying(10)"),
        ("character varying(10)", "text"),
        ("character varying", "text"),
        ("character(5)", "text"),
        ("bpchar", "text"),
        ("timestamp(3) without time zone", "timestamp without time zone"),
        ("time(0) with time zone", "time with time zone"),
    ],
)
def test_a_column_takes_the_bytes_of_its_own_type_with_or_without_a_limit(source: str, target: str) -> None:
    assert takes_as_is([a_column(target)], [("x", source)])


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("integer", "bigint"),
        ("numeric", "numeric(12,2)"),
        ("numeric(12,2)", "numeric(14,2)"),
        ("text", "character varying(10)"),
        ("character varying(10)", "character varying(12)"),
        ("character(5)", "character(1)"),
        ("character(5)", "character"),
        ("timestamp without time zone", "timestamp with time zone"),
        ("time with time zone", "time without time zone"),
        ("jsonb", "json"),
        ("text", "jsonb"),
        ("integer", "shop.integer"),
    ],
)
def test_a_column_takes_the_bytes_of_no_other_type(source: str, target: str) -> None:
    assert not takes_as_is([a_column(target)], [("x", source)])


def test_columns_and_what_is_offered_agree_in_names_order_and_number() -> None:
    columns = [a_column("integer", "a"), a_column("integer", "b")]

    assert takes_as_is(columns, [("a", "integer"), ("b", "integer")])
    assert not takes_as_is(columns, [("b", "integer"), ("a", "integer")])
    assert not takes_as_is(columns, [("a", "integer")])
    assert not takes_as_is(columns[:1], [("a", "integer"), ("b", "integer")])
    assert not takes_as_is(columns, ())
    assert not takes_as_is((), ())


@pytest.mark.parametrize(
    ("dtype", "source"),
    [
        (pa.timestamp("us"), "timestamp without time zone"),
        (pa.timestamp("us", "UTC"), "timestamp with time zone"),
        (pa.time64("us"), "time without time zone"),
        (pa.float64(), "double precision"),
        (pa.decimal128(12, 2), "numeric(12,2)"),
        (pa.string(), "character varying(10)"),
        (pa.uuid(), "uuid"),
        (pa.json_(), "jsonb"),
    ],
)
def test_a_new_column_takes_the_bytes_of_the_type_that_it_is_made_for(dtype: pa.DataType, source: str) -> None:
    assert takes_as_is([declare(pa.field("x", dtype))], [("x", source)])
