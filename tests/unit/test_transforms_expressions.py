"""Expressions over the columns of a row."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataproc.domain.errors import BadDataError, ContractViolationError
from dataproc.transforms.expressions import Expression

ROWS = pa.table(
    {
        "n": [1, 2, None],
        "Name": ["x", "2", None],
        "ts": pa.array([0, 1, 2], pa.timestamp("us", "UTC")),
        "place": [{"city": "Bonn"}, {"city": None}, None],
        "Odd name": [1.5, 2.5, 3.5],
    }
)


@pytest.mark.parametrize(
    ("text", "dtype", "values"),
    [
        ("n > 1", pa.bool_(), [False, True, None]),
        ("n is null or n > 1", pa.bool_(), [False, True, True]),
        ("name || '!'", pa.string(), ["x!", "2!", None]),
        ("place.city", pa.string(), ["Bonn", None, None]),
        ('"Odd name" + 1', pa.float64(), [2.5, 3.5, 4.5]),
        ("1 + 1", pa.int32(), [2, 2, 2]),
        ("try_cast(name as int)", pa.int32(), [None, 2, None]),
        ("case when n in (1, 2) then upper(name) else '?' end", pa.string(), ["X", "2", "?"]),
        ("ts >= '1970-01-01'", pa.bool_(), [True, True, True]),
        ("date_trunc('day', ts)", pa.timestamp("us", "UTC"), [datetime(1970, 1, 1, tzinfo=UTC)] * 3),
        ("list_transform([n], lambda v: v + 1)[1]", pa.int64(), [2, 3, None]),
        ("n -- the number", pa.int64(), [1, 2, None]),
        ("name like '%;%'", pa.bool_(), [False, False, None]),
    ],
)
def test_an_expression_gives_a_value_for_each_row(text: str, dtype: pa.DataType, values: list[Any]) -> None:
    expression: Expression = pickle.loads(pickle.dumps(Expression(text)))  # noqa: S301  # our own value

    assert expression.type(ROWS.schema) == dtype
    found = expression.evaluate(ROWS)
    assert (found.type, found.to_pylist()) == (dtype, values)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("(select 1)", "a query within an expression is not allowed"),
        ("n in (select 1)", "a query within an expression is not allowed"),
        ("n > all([1])", "a query within an expression is not allowed"),
        ("exists(from duckdb_settings())", "a query within an expression is not allowed"),
        ("n) from read_text('/etc/hostname'); select (1", "it is more than one expression"),
        ("n) where (true", "it is more than one expression"),
        ("sum(n)", "there is no function 'sum'"),
        ("row_number() over ()", "a function over other rows is not allowed"),
        ("unnest([1, 2])", "there is no function 'unnest'"),
        ("random()", "there is no function 'random'"),
        ("uuid()", "there is no function 'uuid'"),
        ("now()", "there is no function 'now'"),
        ("age(ts)", "`age` of one moment looks at the clock"),
        ("current_date", "the rows have no column 'current_date'"),
        ("current_localtimestamp()", "there is no function 'current_localtimestamp'"),
        ("current_setting('threads')", "there is no function 'current_setting'"),
        ("read_text('/etc/hostname')", "there is no function 'read_text'"),
        ("main.lower(name)", "there is no function 'lower'"),
        ("getenv('HOME')", "there is no function 'getenv'"),
        ("*", "`*` is not allowed"),
        ("columns(*)", "`*` is not allowed"),
        ("$1", "a parameter is not allowed"),
        ("#1", "a column by its number is not allowed"),
        ("n >", "it cannot be read: syntax error"),
        (" ", "there is none"),
        ("total > 1", "the rows have no column 'total', only n, Name, ts, place, Odd name"),
        ('name = "x"', "the rows have no column 'x'"),
        ("upper(n, n)", "does not go with the columns"),
        ("place.street", "does not go with the columns"),
    ],
)
def test_what_is_no_expression_over_the_row_is_refused_before_there_are_rows(text: str, reason: str) -> None:
    with pytest.raises(ContractViolationError, match=r"rule 'x':") as caught:
        Expression(text, "rule 'x'").type(ROWS.schema)
    assert reason in str(caught.value)


def test_a_name_that_may_mean_two_columns_is_refused() -> None:
    schema = pa.schema([("a", pa.int64()), ("A", pa.int64())])

    with pytest.raises(ContractViolationError, match="'a' may mean a or A"):
        Expression("a > 1").type(schema)


def test_a_column_may_have_the_name_of_what_looks_at_the_clock() -> None:
    assert Expression("current_date").evaluate(pa.table({"current_date": [5]})).to_pylist() == [5]


def test_a_rule_must_be_true_or_false() -> None:
    Expression("n > 1").demand_truth(ROWS.schema)

    with pytest.raises(ContractViolationError, match=r"'n \+ 1' is int64, not true or false"):
        Expression("n + 1").demand_truth(ROWS.schema)


def test_rows_for_which_there_is_no_value_are_found_and_no_message_shows_them() -> None:
    expression = Expression("cast(name as int) > 1")

    values, failed = expression.attempt(ROWS)

    assert values.to_pylist() == [None, True, None]
    assert failed is not None
    assert failed.tolist() == [True, False, False]
    with pytest.raises(BadDataError, match="cannot be computed for some row") as caught:
        Expression("cast(name as int)").evaluate(pa.table({"name": ["sesame"]}))
    assert "sesame" not in str(caught.value)


def test_threads_do_not_disturb_each_other() -> None:
    def work(number: int) -> list[int]:
        rows = pa.table({"n": list(range(number, number + 100))})
        return [int(value.as_py()) for value in Expression(f"n + {number}").evaluate(rows)]

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(work, range(50)))

    assert found == [[2 * number + at for at in range(100)] for number in range(50)]


@settings(max_examples=30)
@given(st.lists(st.one_of(st.none(), st.integers(-(2**31), 2**31)), max_size=50), st.integers(0, 50))
def test_rows_in_two_pieces_give_the_same_as_the_whole(values: list[int | None], cut: int) -> None:
    rows, rule = pa.table({"n": pa.array(values, pa.int64())}), Expression("n % 3 = 0 and n > 5")

    pieces = [rule.evaluate(rows.slice(0, cut)), rule.evaluate(rows.slice(cut))]

    assert [value for piece in pieces for value in piece.to_pylist()] == rule.evaluate(rows).to_pylist()
    assert rule.evaluate(rows).to_pylist() == [None if n is None else n % 3 == 0 and n > 5 for n in values]
