"""Laws of columns that are not the same in all files, where a reader meets them."""

from typing import Any

import pyarrow as pa
import pytest

from dataproc.domain.contract import Contract
from dataproc.domain.errors import ContractViolationError
from dataproc.sources.drift import Drift, refuse_missing
from dataproc.sources.schemas import conformed, unified

NUMBER, WORD, BYTES = (pa.schema({"x": dtype}) for dtype in (pa.int64(), pa.string(), pa.binary()))
OBJECT = pa.schema({"x": pa.struct([("a", pa.int64())])})
DISCARDING = Contract(columns={"x": "discard_row"})


@pytest.mark.parametrize(
    "schemas", [[NUMBER, WORD], [WORD, NUMBER], [NUMBER, OBJECT, BYTES], [WORD, BYTES, NUMBER], [NUMBER, WORD, NUMBER]]
)
def test_a_column_of_types_that_have_none_in_common_is_carried_as_text_where_misfits_are_discarded(
    schemas: list[pa.Schema],
) -> None:
    named = [(f"{number}.parquet", schema) for number, schema in enumerate(schemas)]

    assert unified(named, DISCARDING) == WORD
    with pytest.raises(ContractViolationError, match="give it one type in all files"):
        unified(named, Contract(columns={"y": "discard_row"}))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (pa.array([1, None]), ["1", None]),
        (pa.array([{"a": 1}, None]), ['{"a": 1}', None]),
        (pa.array([[1, 2], None]), ["[1, 2]", None]),
        (pa.array([b"a\xff", None], pa.binary()), ["a\\xff", None]),
        (pa.array([True, None]), ["true", None]),
        (pa.array([1.5, None]), ["1.5", None]),
    ],
)
def test_values_of_every_type_can_be_carried_as_text(values: "pa.Array[Any]", text: list[str | None]) -> None:
    assert conformed(pa.table({"x": values}), WORD)["x"].to_pylist() == text


@pytest.mark.parametrize(
    ("later", "problem"),
    [
        (pa.schema({"x": pa.int32()}), "b.parquet: column 'x' is int32, but int64 in the files before"),
        (pa.schema({"y": pa.int32()}), "b.parquet: column 'x' is missing, but int64 in the files before"),
        (
            pa.schema({"x": pa.int64(), "y": pa.int8()}),
            "b.parquet: column 'y' is int8, but missing in the files before",
        ),
    ],
)
def test_a_frozen_column_is_the_same_in_all_files(later: pa.Schema, problem: str) -> None:
    with pytest.raises(ContractViolationError, match=problem):
        unified([("a.parquet", NUMBER), ("b.parquet", later)], Contract(default="freeze"))


def test_a_frozen_column_that_a_file_lacks_is_named_with_the_file() -> None:
    refuse_missing("a.csv", ["x"], Contract())

    with pytest.raises(ContractViolationError, match=r"a\.csv lacks the column 'x', which the contract has frozen"):
        refuse_missing("a.csv", ["x", "y"], Contract(columns={"x": "freeze"}))


@pytest.mark.parametrize(
    ("contract", "leaves_out", "rule"),
    [("discard_value", True, "type"), ("discard_row", False, "contract"), ("evolve", False, "type")],
)
def test_a_value_that_does_not_fit_is_judged_by_the_contract_of_its_column(
    contract: str, leaves_out: bool, rule: str
) -> None:
    drift = Drift("a.csv", Contract.model_validate({"columns": {"x": contract}}))

    assert (drift.leaves_out("x", "line 2: column 'x' does not fit"), drift.rule("x")) == (leaves_out, rule)
    assert (drift.leaves_out("y", ""), drift.rule("y")) == (False, "type")


def test_what_was_counted_is_told_once() -> None:
    drift = Drift("a.csv")
    drift.counts.update({"x": 2, "y": 0})

    assert (drift.taken(), drift.taken()) == ((("x", 2),), ())
