"""Orders to try things with: always the same, right or wrong as asked."""

import pyarrow as pa
import pytest

from dataproc.domain.chunk import POSITION, Chunk, no_rejects, with_positions
from dataproc.domain.rules import ColumnRule
from dataproc.domain.transforms.validate import ValidateTransform
from dataproc.embedded.orders import STATES, orders, parts, wrong_orders
from dataproc.transforms.factory import transform_for
from tests.builders import around_transforms

RULES = {"order_id": "int64!", "amount": "float64 >= 0", "email": "email?"}


def left_by_the_rules(rows: pa.Table) -> Chunk:
    """Return what a validate transform leaves of some orders."""
    columns = {name: ColumnRule.model_validate(rule) for name, rule in RULES.items()}
    columns["status"] = ColumnRule.model_validate({"type": "string", "one_of": list(STATES)})
    transform = transform_for(ValidateTransform(kind="validate", columns=columns), around_transforms())
    chunk = Chunk("u0", 0, True, rows.num_rows, with_positions(rows, 0), no_rejects())  # noqa: FBT003 - `last`
    return transform.apply(chunk)


def test_the_same_numbers_give_the_same_rows() -> None:
    assert orders(100).equals(orders(100))
    assert not orders(100).equals(orders(100, seed=2))


@pytest.mark.parametrize("rows", [0, 1, 1000])
def test_right_orders_break_no_rule(rows: int) -> None:
    left = left_by_the_rules(orders(rows))

    assert (left.rows.num_rows, left.rejected) == (rows, 0)
    assert POSITION in left.rows.schema.names


def test_every_wrong_order_breaks_a_rule() -> None:
    left = left_by_the_rules(wrong_orders(8))

    assert (left.rows.num_rows, left.rejected) == (0, 8)
    assert set(left.rejects["column"].to_pylist()) == {"order_id", "amount", "status", "email"}


def test_wrong_orders_have_the_types_of_right_ones() -> None:
    assert wrong_orders(4).schema == orders(0).schema


def test_some_notes_are_null() -> None:
    assert 1500 < orders(10_000)["note"].null_count < 2500


@pytest.mark.parametrize(("rows", "wrong", "count"), [(1000, 37, 8), (3, 0, 8), (0, 5, 2), (10, 10, 1)])
def test_the_parts_hold_every_order_once(rows: int, wrong: int, count: int) -> None:
    made = list(parts(rows, wrong, count))

    assert len(made) == count
    whole = pa.concat_tables(made)
    assert whole.num_rows == rows + wrong
    assert whole.sort_by("ts").equals(pa.concat_tables([orders(rows), wrong_orders(wrong)]).sort_by("ts"))
    assert max(part.num_rows for part in made) - min(part.num_rows for part in made) <= 2
