"""Rows of rejects as columns: the types are told from all values."""

from decimal import Decimal

import pyarrow as pa
import pytest

from dataproc.domain.row_text import row_of
from dataproc.sources.rejected.columns import Row, schema_of, table_of


def table(*texts: str, text: frozenset[str] = frozenset()) -> pa.Table:
    """Return the table of values of one column, as JSON tells them."""
    rows = [row_of(f'{{"id": 1, "a": {each}}}') or {} for each in texts]
    return table_of(list(rows), schema_of(rows, text))


@pytest.mark.parametrize(
    ("texts", "dtype", "values"),
    [
        (["1", "null", "-2"], pa.int64(), [1, None, -2]),
        (["true", "null"], pa.bool_(), [True, None]),
        (["1.10", "20"], pa.decimal128(4, 2), [Decimal("1.10"), Decimal(20)]),
        (["18446744073709551615", "1"], pa.decimal128(20, 0), [Decimal(2**64 - 1), Decimal(1)]),
        (["0.00", "0"], pa.decimal128(3, 2), [Decimal(0), Decimal(0)]),
        (["-123.5"], pa.decimal128(4, 1), [Decimal("-123.5")]),
        (["1e-07", "0.5"], pa.float64(), [1e-7, 0.5]),
        (["1e-320", "7" * 80], pa.string(), ["1e-320", "7" * 80]),
        (["1e+300", "0.5", "2"], pa.float64(), [1e300, 0.5, 2.0]),
        (["1" * 40 + ".5"], pa.decimal256(41, 1), [Decimal("1" * 40 + ".5")]),
        (['"x"', "1.10", "true", "[1.10]", "null"], pa.string(), ["x", "1.10", "true", "[1.10]", None]),
        (["true", "1"], pa.string(), ["true", "1"]),
        (["null"], pa.string(), [None]),
        ([r'"\\x00ff"', "null", r'"\\x"'], pa.binary(), [b"\x00\xff", None, b""]),
        ([r'"\\x00ff"', '"x"'], pa.string(), [r"\x00ff", "x"]),
    ],
)
def test_a_column_has_the_type_that_holds_all_its_values(
    texts: list[str], dtype: pa.DataType, values: list[object]
) -> None:
    found = table(*texts)

    assert found.schema.field("a").type == dtype
    assert found["a"].to_pylist() == values


def test_a_column_that_a_later_step_casts_is_text_with_the_digits_as_written() -> None:
    assert table("1.10", "7", text=frozenset({"a"}))["a"].to_pylist() == ["1.10", "7"]


def test_a_column_that_a_row_lacks_is_null_there() -> None:
    rows: list[Row] = [{"a": 1}, {"b": "x"}]

    assert table_of(rows, schema_of(rows, frozenset())).to_pylist() == [
        {"a": 1, "b": None},
        {"a": None, "b": "x"},
    ]
