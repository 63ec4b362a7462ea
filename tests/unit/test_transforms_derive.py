"""The `derive` step."""

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataproc.domain.errors import BadDataError, ContractViolationError
from dataproc.domain.transforms.derive import DeriveTransform
from dataproc.ports.pipeline import Transform
from dataproc.transforms.factory import transform_for
from tests.builders import around_transforms
from tests.steps import a_chunk, applied, columns, demand_same_in_pieces, positions, schema_of


def derive(on_error: Any = "quarantine", **by_column: str) -> Transform:
    spec = DeriveTransform(kind="derive", columns=by_column, on_error=on_error)
    return transform_for(spec, around_transforms())


def test_columns_are_computed_one_after_the_other() -> None:
    chunk = a_chunk(price=pa.array([Decimal("1.50"), None], pa.decimal128(8, 2)), quantity=[2, 3])

    after = applied(derive(total="price * quantity", taxed="total > 2", quantity="quantity + 1"), chunk)

    assert columns(after) == {
        "price": [Decimal("1.50"), None], "quantity": [3, 4], "total": [Decimal("3.00"), None], "taxed": [True, None]
    }  # fmt: skip


@pytest.mark.parametrize(
    ("on_error", "values", "rejected"), [("quarantine", [7, None], 1), ("null", [7, None, None], 0)]
)
def test_a_row_for_which_nothing_can_be_computed_is_set_aside_or_null(
    on_error: str, values: list[Any], rejected: int
) -> None:
    after = applied(derive(on_error, n="b::int"), a_chunk(b=["7", "x", None]))

    assert (columns(after)["n"], after.rejected) == (values, rejected)
    if rejected:
        reason = {"rule": "expression", "column": "n", "reason": "column 'n' cannot be computed", "row": '{"b": "x"}'}
        assert after.rejects.to_pylist() == [{"position": 1, **reason}]


def test_a_row_for_which_nothing_can_be_computed_fails_the_run_if_that_is_asked() -> None:
    with pytest.raises(BadDataError, match=r"derive\.columns\.n"):
        derive("fail", n="b::int").apply(a_chunk(b=["x"]))


def test_a_row_that_was_set_aside_by_one_expression_is_no_trouble_for_the_next() -> None:
    after = applied(derive(n="b::int", m="10 // n"), a_chunk(b=["5", "x", "2"]))

    assert (columns(after)["m"], positions(after), after.rejected) == ([2, 5], [0, 2], 1)


@settings(max_examples=30)
@given(st.lists(st.text("0123456789x", max_size=3) | st.none(), max_size=30), st.integers(0, 30))
def test_it_does_not_matter_where_chunks_end(values: list[str | None], at: int) -> None:
    demand_same_in_pieces(derive(n="b::int * 2", long="length(b) > 1"), a_chunk(b=pa.array(values, pa.string())), at)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("n", "c + 1", "the rows have no column 'c'"),
        ("n", "sum(a)", "sum"),
        ("n", "(SELECT 1)", "a query within an expression"),
        ("__position", "1", "is not yours"),
        ("n", "a +", "cannot be read"),
    ],
)
def test_an_expression_that_is_none_is_refused(name: str, text: str, message: str) -> None:
    with pytest.raises(ContractViolationError, match=message):
        derive(**{name: text}).schema(schema_of(a_chunk(a=[1])))


@pytest.mark.parametrize("infinity", ["'infinity'::timestamp", "'-infinity'::timestamp", "'infinity'::timestamptz"])
def test_a_moment_that_is_infinite_is_set_aside(infinity: str) -> None:
    chunk = a_chunk(end=["2026-01-01 00:00:00", None])

    after = applied(derive(until=f'coalesce(try_cast("end" AS timestamp), {infinity})'), chunk)

    assert (positions(after), after.rejects["column"].to_pylist()) == ([0], ["until"])
    with pytest.raises(BadDataError, match="infinite for some row"):
        applied(derive("fail", until=infinity), chunk)


@pytest.mark.parametrize(
    "expression", ["x::uhugeint", "'10:00:00+02'::timetz", "'101'::bit", "[interval '1 day']", "{'a': x::uhugeint}"]
)
def test_a_value_of_a_type_that_arrow_takes_for_another_is_refused(expression: str) -> None:
    with pytest.raises(ContractViolationError, match="has no type to be handed on in; cast it"):
        derive(y=expression).schema(pa.schema({"x": pa.int64()}))
