"""The `filter` step."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataproc.domain.errors import BadDataError, ContractViolationError
from dataproc.domain.transforms.clean import CleanTransform
from dataproc.domain.transforms.filter import FilterTransform
from dataproc.ports.pipeline import Transform
from dataproc.transforms.declared import source_columns
from dataproc.transforms.factory import transform_for
from tests.builders import around_transforms
from tests.steps import a_chunk, applied, columns, demand_same_in_pieces, positions, schema_of


def keeping(where: str) -> Transform:
    return transform_for(FilterTransform(kind="filter", where=where), around_transforms())


def test_rows_for_which_the_condition_is_false_or_null_leave_and_are_counted() -> None:
    after = applied(keeping("a > 1 and b <> 'x'"), a_chunk(5, a=[1, 2, 3, None, 4], b=["y", "y", "x", "y", None]))

    assert (columns(after), positions(after), after.filtered) == ({"a": [2], "b": ["y"]}, [6], 4)


@settings(max_examples=30)
@given(st.lists(st.integers(-9, 9) | st.none(), max_size=30), st.integers(0, 30))
def test_it_does_not_matter_where_chunks_end(values: list[int | None], at: int) -> None:
    chunk = a_chunk(a=pa.array(values, pa.int64()))

    demand_same_in_pieces(keeping("a % 2 = 0"), chunk, at)
    assert columns(applied(keeping("a % 2 = 0"), chunk))["a"] == [a for a in values if a is not None and a % 2 == 0]


@pytest.mark.parametrize(
    ("where", "message"),
    [("b", "is string, not true or false"), ("c > 1", "the rows have no column 'c'"), ("random() > 0", "random")],
)
def test_a_condition_that_is_none_is_refused(where: str, message: str) -> None:
    with pytest.raises(ContractViolationError, match=message):
        keeping(where).schema(schema_of(a_chunk(a=[1], b=["x"])))


def test_a_condition_that_cannot_be_computed_fails_the_run() -> None:
    with pytest.raises(BadDataError, match=r"filter\.where"):
        keeping("b::int > 0").apply(a_chunk(b=["x"]))


def test_a_column_that_a_step_after_it_casts_comes_in_the_type_that_the_condition_expects() -> None:
    condition = FilterTransform(kind="filter", where="B > 1")
    casts = [CleanTransform(kind="clean", cast={name: "int64"}) for name in ("a", "b", "c")]

    found = source_columns([casts[0], condition, casts[1], casts[2]])

    assert (found.declared, found.looked) == (frozenset({"a", "c"}), frozenset({"b"}))
