"""Files with other types for one column: the type that holds all values, or a refusal that names both."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from dataproc.domain.contract import Contract
from dataproc.domain.errors import ContractViolationError
from dataproc.sources.schemas import conformed, note_on_case, unified

D = Decimal
UTC_US, BERLIN = pa.timestamp("us", "UTC"), pa.timestamp("us", "Europe/Berlin")
NOON = datetime(2024, 7, 1, 12, tzinfo=UTC)


def record(dtype: pa.DataType) -> pa.DataType:
    """Return the type of records with one field."""
    return pa.struct([pa.field("a", dtype)])


JOINED: list[tuple[pa.DataType, Any, pa.DataType, Any, pa.DataType]] = [
    # type and value in one file, and in another, and the type of both
    (UTC_US, NOON, BERLIN, NOON, UTC_US),
    (pa.list_(UTC_US), [NOON], pa.list_(BERLIN), [NOON], pa.list_(UTC_US)),
    (record(UTC_US), {"a": NOON}, record(BERLIN), {"a": NOON}, record(UTC_US)),
    (pa.decimal128(10, 2), D("1.25"), pa.decimal128(12, 4), D("1.2345"), pa.decimal128(12, 4)),
    (pa.decimal128(10, 2), D("12345678.25"), pa.decimal128(10, 4), D("1.2345"), pa.decimal128(12, 4)),
    (pa.decimal128(12, 4), D("1.2345"), pa.int32(), 2**31 - 1, pa.decimal128(14, 4)),
    (pa.decimal128(5, 2), D("1.25"), pa.int64(), -(2**63), pa.decimal128(22, 2)),
    (pa.decimal128(5, 2), D("1.25"), pa.uint64(), 2**64 - 1, pa.decimal128(22, 2)),
    (pa.decimal128(38, 0), D("9" * 38), pa.decimal128(38, 10), D("0.0000000001"), pa.decimal256(48, 10)),
    (record(pa.decimal128(5, 2)), {"a": D("1.25")}, record(pa.int64()), {"a": 2**62}, record(pa.decimal128(22, 2))),
    (pa.decimal128(5, 2), D("0.25"), pa.float64(), 0.5, pa.float64()),
    (pa.list_(pa.int32()), [1], pa.list_(pa.int64()), [2**40], pa.list_(pa.int64())),
    (pa.int8(), -1, pa.uint64(), 2**64 - 1, pa.decimal128(20, 0)),
    (pa.uint64(), 2**64 - 1, pa.int64(), -(2**63), pa.decimal128(20, 0)),
    (pa.list_(pa.uint64()), [2**64 - 1], pa.list_(pa.int32()), [-1], pa.list_(pa.decimal128(20, 0))),
    (pa.uint32(), 2**32 - 1, pa.int8(), -1, pa.int64()),
    (pa.int64(), 2**53, pa.float64(), 0.5, pa.float64()),
]
REFUSED: list[tuple[pa.DataType, pa.DataType]] = [
    (pa.string(), pa.binary()),
    (pa.binary(), pa.string()),
    (record(pa.string()), record(pa.binary())),
    (pa.list_(pa.string()), pa.list_(pa.binary())),
    (pa.list_(record(pa.string())), pa.list_(record(pa.binary()))),
    (pa.map_(pa.string(), pa.string()), pa.map_(pa.string(), pa.binary())),
    (pa.timestamp("us"), UTC_US),
    (record(pa.decimal128(5, 2)), record(pa.float64())),
    (pa.decimal128(38, 38), pa.decimal256(76, 0)),
    (pa.list_(pa.int32()), pa.int32()),
]


def of(value: Any, dtype: pa.DataType) -> pa.Table:
    """Return rows with a value, and null."""
    return pa.table({"x": pa.array([value, None], dtype)})


@pytest.mark.parametrize(("one", "value", "other", "others_value", "both"), JOINED, ids=str)
def test_a_column_has_the_type_that_holds_the_values_of_all_files(
    one: pa.DataType, value: Any, other: pa.DataType, *, others_value: Any, both: pa.DataType
) -> None:
    tables = [of(value, one), of(others_value, other)]

    schema = unified((str(at), table.schema) for at, table in enumerate(tables))

    assert schema.field("x").type == both
    assert [conformed(table, schema)["x"].to_pylist() for table in tables] == [[value, None], [others_value, None]]
    assert unified((str(at), table.schema) for at, table in enumerate(reversed(tables))).field("x").type == both


@pytest.mark.parametrize(("one", "other"), REFUSED, ids=str)
def test_types_that_have_none_in_common_are_refused_with_both_names(one: pa.DataType, other: pa.DataType) -> None:
    with pytest.raises(ContractViolationError) as raised:
        unified([("a", pa.schema([("x", one)])), ("b.parquet", pa.schema([("x", other)]))])

    assert str(raised.value).startswith(f"b.parquet: column 'x' is {other}, but {one} in the files before (a)")


def test_a_decimal_becomes_the_nearest_binary_fraction() -> None:
    found = conformed(of(D("0.35"), pa.decimal128(5, 2)), pa.schema([("x", pa.float64())]))

    assert found["x"].to_pylist() == [0.35, None]


def test_a_decimal_that_a_binary_fraction_does_not_hold_is_refused() -> None:
    schema = pa.schema([("x", pa.float64())])

    with pytest.raises(ContractViolationError, match="column 'x' is decimal128"):
        conformed(of(D("12345678901234567890.12"), pa.decimal128(38, 2)), schema)


EVOLVE = Contract(default="evolve")
CASES: list[tuple[Contract, list[list[str]], list[str], str]] = [
    # contract, columns of each file, columns of all, and what the plan notes
    (EVOLVE, [["Amount", "n"], ["amount", "n"]], ["Amount", "n"], "Amount, amount (one column)"),
    (EVOLVE, [["Größe"], ["GRÖSSE"]], ["Größe"], "Größe, GRÖSSE (one column)"),
    (EVOLVE, [["a"], ["a", "A"]], ["a", "A"], "a, A (columns of their own)"),
    (Contract(), [["Amount"], ["amount"]], ["Amount", "amount"], "Amount, amount (columns of their own)"),
    (Contract(), [["a"], ["a"]], ["a"], ""),
]


@pytest.mark.parametrize(("contract", "files", "columns", "note"), CASES, ids=str)
def test_names_that_differ_in_case_are_noted_and_are_one_column_under_evolve(
    contract: Contract, files: list[list[str]], columns: list[str], note: str
) -> None:
    tables = [pa.table({name: pa.array([at]) for name in names}) for at, names in enumerate(files)]
    schemas = [(str(at), table.schema) for at, table in enumerate(tables)]

    schema = unified(schemas, contract)

    assert schema.names == columns
    assert [note in each for each in note_on_case(schemas, schema)] == ([True] if note else [])
    found = [row for table in tables for row in conformed(table, schema).to_pylist()]
    assert sum(value is not None for row in found for value in row.values()) == sum(map(len, files))


FINE = pa.timestamp("ns", "UTC")


@pytest.mark.parametrize(
    ("make", "at"),
    [
        (
            lambda cells: pa.ListArray.from_arrays(pa.array([0, None, 1, 2], pa.int32()), cells),
            lambda found: [found[0][0], found[2][0]],
        ),
        (lambda cells: pa.StructArray.from_arrays([cells], ["at"]), lambda found: [each["at"] for each in found]),
        (
            lambda cells: pa.array([[("k", each)] for each in cells.to_pylist()], pa.map_(pa.string(), cells.type)),
            lambda found: [each[0][1] for each in found],
        ),
    ],
)
def test_nested_times_finer_than_microseconds_are_rounded_beside_those_of_other_files(make: Any, at: Any) -> None:
    fine, coarse = (make(pa.array([1_500, 2_499], dtype)) for dtype in (FINE, UTC_US))
    schema = unified([("a.parquet", pa.schema({"x": fine.type})), ("b.parquet", pa.schema({"x": coarse.type}))])

    (found,) = conformed(pa.table({"x": fine}), schema, "a.parquet").columns

    micros = [each.replace(tzinfo=UTC) for each in at(found.to_pylist())]
    assert [each.microsecond for each in micros] == [2, 2]


@pytest.mark.parametrize(
    ("one", "value", "other"),
    [
        (pa.int64(), 2**53 + 1, pa.float64()),
        (pa.uint64(), 2**64 - 1, pa.float32()),
        (pa.decimal128(38, 0), D("1" * 38), pa.float64()),
        (pa.decimal256(76, 2), D("1" * 70), pa.float64()),
        (pa.list_(pa.int64()), [2**53 + 1], pa.list_(pa.float64())),
        (record(pa.int64()), {"a": 2**53 + 1}, record(pa.float64())),
    ],
)
def test_a_value_that_the_joined_type_does_not_hold_names_both_types_and_both_files(
    one: pa.DataType, value: object, other: pa.DataType
) -> None:
    files = [("a.parquet", pa.schema({"x": one})), ("b.parquet", pa.schema({"x": other}))]

    for order in (files, files[::-1]):
        with pytest.raises(ContractViolationError) as raised:
            conformed(pa.table({"x": pa.array([value], one)}), unified(order), "a.parquet")
        assert str(raised.value).startswith(f"a.parquet: column 'x' is {one}, but {other} in b.parquet; it is read as")
        assert str(value) not in str(raised.value)
