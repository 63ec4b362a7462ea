"""Rows of rejects as columns: the types are told from all values."""

import pyarrow as pa
import pytest

from dataproc.domain.source_columns import EVERYTHING_INFERRED, SourceColumns, type_name
from dataproc.sources.json_values import object_of
from dataproc.sources.rejected.columns import Row, schema_of, table_of


def table(*texts: str, text: frozenset[str] = frozenset()) -> pa.Table:
    """Return the table of values of one column, as JSON tells them."""
    rows = [object_of(f'{{"id": 1, "a": {each}}}'.encode()) for each in texts]
    return table_of(list(rows), schema_of(rows, SourceColumns(declared=text)))


@pytest.mark.parametrize(
    ("texts", "kind", "values"),
    [
        (["1", "null", "-2"], "int64", [1, None, -2]),
        (["true", "null"], "bool", [True, None]),
        (["1.10", "20"], "numeric", ["1.10", "20"]),
        (["18446744073709551615", "1"], "numeric", ["18446744073709551615", "1"]),
        (["0.00", "0"], "numeric", ["0.00", "0"]),
        (["-123.5"], "numeric", ["-123.5"]),
        (["1e-07"], "double precision", [1e-7]),
        (["1e-07", "0.5"], "numeric", ["1e-07", "0.5"]),
        (["1e-320", "7" * 80], "numeric", ["1e-320", "7" * 80]),
        (["1" * 40 + ".5"], "numeric", ["1" * 40 + ".5"]),
        (['"x"', "1.10", "true", "[1.10]", "null"], "string", ["x", "1.10", "true", "[1.10]", None]),
        (["[1.10]", "null", '{"a": 1e400}'], "jsonb", ["[1.10]", None, '{"a": 1e400}']),
        (["true", "1"], "string", ["true", "1"]),
        (["null"], "string", [None]),
        ([r'"\\x00ff"', "null", r'"\\x"'], "binary", [b"\x00\xff", None, b""]),
        ([r'"\\x00ff"', '"x"'], "string", [r"\x00ff", "x"]),
    ],
)
def test_a_column_has_the_type_that_holds_all_its_values(texts: list[str], kind: str, values: list[object]) -> None:
    found = table(*texts)

    assert type_name(found.schema.field("a")) == kind
    assert found["a"].to_pylist() == values


def test_a_column_that_a_later_step_casts_is_text_with_the_digits_as_written() -> None:
    assert table("1.10", "7", text=frozenset({"a"}))["a"].to_pylist() == ["1.10", "7"]


def test_a_column_that_a_row_lacks_is_null_there() -> None:
    rows: list[Row] = [{"a": b"1"}, {"b": b'"x"'}]

    assert table_of(rows, schema_of(rows, EVERYTHING_INFERRED)).to_pylist() == [
        {"a": 1, "b": None},
        {"a": None, "b": "x"},
    ]
