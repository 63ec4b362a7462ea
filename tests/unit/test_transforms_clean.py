"""The `clean` step."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataproc.domain.chunk import POSITION, Chunk, Piece, chunk_of, no_rejects, with_positions
from dataproc.domain.errors import ContractViolationError
from dataproc.domain.transforms.clean import CleanTransform
from dataproc.ports.pipeline import Transform
from dataproc.transforms.factory import transform_for


def a_chunk(**columns: Any) -> Chunk:
    return chunk_of("unit-1", 0, Piece(with_positions(pa.table(columns), 0), no_rejects()), last=True)


def clean(**options: Any) -> Transform:
    return transform_for(CleanTransform.model_validate({"kind": "clean", **options}))


def result(step: Transform, chunk: Chunk) -> dict[str, list[Any]]:
    """Return the columns that come out, which are those that were announced."""
    after = step.apply(chunk)
    announced = step.schema(chunk.rows.drop_columns([POSITION]).schema)
    assert after.rows.schema.names == [*announced.names, POSITION]
    assert after.rows.schema.types[:-1] == announced.types
    assert after.read == after.rows.num_rows + after.rejected + after.filtered
    columns: dict[str, list[Any]] = after.rows.drop_columns([POSITION]).to_pydict()
    return columns


def test_columns_are_renamed_all_at_once() -> None:
    assert result(clean(rename={"a": "b", "b": "a"}), a_chunk(a=[1], b=[2])) == {"b": [1], "a": [2]}


def test_columns_are_dropped_by_their_new_names() -> None:
    assert result(clean(rename={"a": "x"}, drop=["x"]), a_chunk(a=[1], b=[2])) == {"b": [2]}


def test_text_is_trimmed_everywhere_or_where_it_is_asked_for() -> None:
    chunk = a_chunk(a=[" x\t"], b=["\u00a0y "], n=[1])

    assert result(clean(trim=True), chunk) == {"a": ["x"], "b": ["y"], "n": [1]}
    assert result(clean(trim=["a"]), chunk) == {"a": ["x"], "b": ["\u00a0y "], "n": [1]}


def test_nulls_are_filled_with_values_of_the_column() -> None:
    chunk = a_chunk(a=["x", None], n=[None, 2], t=pa.array([None, "5"]), good=[None, False])

    filled = result(clean(nulls={"a": "none", "n": 0, "t": 7, "good": True}), chunk)

    assert filled == {"a": ["x", "none"], "n": [0, 2], "t": ["7", "5"], "good": [True, False]}


def test_rows_with_nulls_are_left_out_and_counted() -> None:
    after = clean(drop_nulls=["a", "b"]).apply(a_chunk(a=[1, None, 3], b=[None, 2, 3]))

    assert (after.rows["a"].to_pylist(), after.filtered, after.rows[POSITION].to_pylist()) == ([3], 2, [2])


def test_a_value_that_does_not_fit_its_new_type_sets_its_row_aside() -> None:
    after = clean(trim=True, cast={"n": "int64"}).apply(a_chunk(n=[" 1 ", "x", None]))

    assert after.rows["n"].to_pylist() == [1, None]
    assert after.rejects.to_pylist() == [
        {"position": 1, "rule": "type", "column": "n", "reason": "column 'n' is no int64", "row": '{"n": "x"}'}
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rename": {"x": "y"}}, "clean.rename: the rows have no column 'x'"),
        ({"rename": {"a": "n"}}, "two columns would be called 'n'"),
        ({"rename": {"a": POSITION}}, "two columns would be called"),
        ({"drop": ["x"]}, "clean.drop"),
        ({"trim": ["x"]}, "clean.trim"),
        ({"trim": ["n"]}, "column 'n' is int64, not text"),
        ({"nulls": {"x": 1}}, "clean.nulls"),
        ({"nulls": {"n": "many"}}, "the value for column 'n' is no int64"),
        ({"drop_nulls": ["x"]}, "clean.drop_nulls"),
        ({"drop": ["a"], "cast": {"a": "int64"}}, "clean.cast: the rows have no column 'a'"),
    ],
)
def test_a_step_that_does_not_go_with_the_columns_says_where(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ContractViolationError, match=message):
        clean(**options).schema(pa.table({"a": ["x"], "n": [1]}).schema)


@given(st.lists(st.sampled_from(["1", " 2 ", "x", None, ""]), max_size=30))
def test_every_row_is_kept_set_aside_or_left_out(values: list[str | None]) -> None:
    step = clean(trim=True, drop_nulls=["n"], cast={"n": "int64"})

    after = step.apply(a_chunk(n=pa.array(values, pa.string())))

    assert after.rows["n"].to_pylist() == [int(value) for value in values if value in ("1", " 2 ")]
    assert (after.filtered, after.rejected) == (values.count(None), values.count("x") + values.count(""))
