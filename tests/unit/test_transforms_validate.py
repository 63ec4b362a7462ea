"""The `validate` step."""

import json
import pickle
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataproc.domain.chunk import LONGEST_ROW, POSITION, Chunk, Piece, chunk_of, no_rejects, with_positions
from dataproc.domain.errors import BadDataError, ContractViolationError
from dataproc.domain.transforms.validate import ValidateTransform
from dataproc.transforms.factory import transform_for
from dataproc.transforms.validate import Validate
from tests.builders import around_transforms


def a_chunk(first: int = 0, **columns: Any) -> Chunk:
    return chunk_of("unit-1", 0, Piece(with_positions(pa.table(columns), first), no_rejects()), last=True)


def validate(columns: dict[str, Any] | None = None, **options: Any) -> Validate:
    spec = ValidateTransform.model_validate({"kind": "validate", "columns": columns or {}, **options})
    step = transform_for(spec, around_transforms(python_modules=("tests",)))
    copy: Validate = pickle.loads(pickle.dumps(step))  # noqa: S301  # our own value
    return copy


def rules_broken(chunk: Chunk) -> list[tuple[int, str, str]]:
    return [(row["position"], row["rule"], row["column"]) for row in chunk.rejects.to_pylist()]


@pytest.mark.parametrize(
    ("rule", "good", "bad", "broken"),
    [
        ("int64!", ["1"], [None], "required"),
        ("int64", ["1", None], ["x"], "type"),
        ("int64 >= 2", [2, 3, None], [1], "ge"),
        ("int64 > 2", [3], [2], "gt"),
        ("float64 <= 2.5", [2.5], [2.6, float("nan")], "le"),
        ("decimal(12,2) < 0.5", ["0.49"], ["0.50"], "lt"),
        ("decimal(12,2) >= 0.005", ["0.01"], ["0.00"], "ge"),
        ("date >= 2024-01-01", ["2024-01-01"], ["2023-12-31"], "ge"),
        ("timestamptz < 2024-01-01", ["2023-12-31T23:59:59Z"], ["2024-01-01T00:00:00Z"], "lt"),
        ("time <= 12:00", ["12:00:00"], ["12:00:01"], "le"),
        ("string in (a, b)", ["a", "b", None], ["c"], "one_of"),
        ("int64 in (1, 2)", [1, 2], [3], "one_of"),
        ("string ~ /^[A-Z]+$/", ["AB", None], ["aB"], "pattern"),
        ("email", ["a.b+c@example.com", None], ["a@b", "a b@c.de", "@x.de", "a@b@c.de"], "email"),
        ("uuid", ["0190f0a0-7b1c-7d3e-8f00-0123456789ab"], ["0190f0a0"], "uuid"),
        ("json", ['{"a": 1}', "5"], ["{", "", "NaN", "[" * 100_000], "type"),
        ("string length 2..3", ["ab", "äöü", None], ["a", "abcd", ""], "length"),
        ("string length 2..", ["ab"], ["a"], "min_length"),
        ("string length ..3", ["", "abc"], ["abcd"], "max_length"),
        ("email length ..8", ["a@b.de"], ["aa@bbb.de"], "max_length"),
        ("binary length 1", [b"\xff"], [b"\xff\xff"], "max_length"),
    ],
)
def test_a_row_that_breaks_a_rule_is_set_aside_with_the_rule(
    rule: str, good: list[Any], bad: list[Any], broken: str
) -> None:
    after = validate({"x": rule}).apply(a_chunk(x=[*good, *bad]))

    assert after.rows[POSITION].to_pylist() == list(range(len(good)))
    assert [(at, column) for at, _, column in rules_broken(after)] == [(len(good) + at, "x") for at in range(len(bad))]
    assert all(broken in rule for _, rule, _ in rules_broken(after))
    assert after.rejected == len(bad)


def test_every_rule_that_a_row_breaks_is_told_with_the_whole_row_as_it_came() -> None:
    step = validate({"id": "int64!", "mail": "email!", "n": "int64 >= 0 in (1, 2)"})

    after = step.apply(a_chunk(first=40, id=["x", "7"], mail=[None, "a@b.de"], n=["-1", "2"]))

    assert rules_broken(after) == [(40, "type", "id"), (40, "required", "mail"), (40, "ge", "n"), (40, "one_of", "n")]
    assert {row["row"] for row in after.rejects.to_pylist()} == {'{"id": "x", "mail": null, "n": "-1"}'}
    assert after.rows.to_pylist() == [{"id": 7, "mail": "a@b.de", "n": 2, POSITION: 41}]


def test_good_rows_have_the_schema_that_was_announced() -> None:
    step = validate({"id": "int32", "at": "timestamptz", "price": "decimal(12,2)"})
    chunk = a_chunk(id=["1"], other=[1.5], at=["2024-01-01"], price=[2.5])

    announced = step.schema(chunk.rows.drop_columns([POSITION]).schema)

    assert step.apply(chunk).rows.schema.names == [*announced.names, POSITION]
    assert step.apply(chunk).rows.schema.types[:-1] == announced.types


def test_the_text_of_a_rejected_row_is_cut() -> None:
    after = validate({"x": "int64"}).apply(a_chunk(x=["ü" * LONGEST_ROW]))

    assert len(after.rejects["row"][0].as_py().encode()) <= LONGEST_ROW


def test_a_reason_is_short_whatever_the_rule() -> None:
    members = [str(number) for number in range(1000)]

    after = validate({"x": {"type": "string", "one_of": members}}).apply(a_chunk(x=["no"]))

    assert len(after.rejects["reason"][0].as_py()) <= 500


def test_values_that_json_lacks_are_written_all_the_same() -> None:
    chunk = a_chunk(x=["oh"], f=[float("nan")], b=[b"\xff"])

    text = validate({"x": "int64"}).apply(chunk).rejects["row"][0].as_py()

    assert json.loads(text) == {"x": "oh", "f": "NaN", "b": "\\xff"}


def test_dropped_rows_are_only_counted() -> None:
    after = validate({"x": "int64 > 1"}, on_error="drop").apply(a_chunk(x=["1", "2", "oh"]))

    assert (after.rows["x"].to_pylist(), after.filtered, after.rejected) == ([2], 2, 0)


def test_a_run_can_fail_at_the_first_bad_row_without_showing_its_values() -> None:
    step = validate({"x": "int64", "y": "int64"}, on_error="fail")

    with pytest.raises(BadDataError, match="unit-1, row 11: column 'y' is no int64") as caught:
        step.apply(a_chunk(first=10, x=["1", "2", "sesame"], y=["1", "sesame", "3"]))
    assert "sesame" not in str(caught.value)


def test_a_column_that_the_rows_lack_is_named() -> None:
    with pytest.raises(ContractViolationError, match="no column 'idd', only id, name"):
        validate({"idd": "int64"}).schema(pa.table({"id": [1], "name": ["x"]}).schema)


def test_a_type_that_no_value_can_have_is_named_before_there_are_rows() -> None:
    with pytest.raises(ContractViolationError, match="column 'x' is list"):
        validate({"x": "int64"}).schema(pa.schema([("x", pa.list_(pa.int64()))]))


cells = st.one_of(st.none(), st.integers(-5, 5).map(str), st.sampled_from(["x", "", " 3 "]))


@given(st.lists(st.tuples(cells, cells), max_size=40), st.sampled_from(["quarantine", "drop"]))
def test_the_account_stays_balanced_and_no_good_row_is_lost(
    rows: list[tuple[str | None, str | None]], on_error: str
) -> None:
    text = pa.string()
    chunk = a_chunk(a=pa.array([a for a, _ in rows], text), b=pa.array([b for _, b in rows], text))

    after = validate({"a": "int64! >= 0", "b": "int64 < 4"}, on_error=on_error).apply(chunk)

    good = [
        at
        for at, (a, b) in enumerate(rows)
        if a not in (None, "x", "") and int(a or 0) >= 0 and (b is None or (b not in ("x", "") and int(b) < 4))
    ]
    assert after.rows[POSITION].to_pylist() == good
    assert after.read == after.rows.num_rows + after.rejected + after.filtered
