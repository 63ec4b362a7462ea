"""Rows as JSON text: whole, with all digits, and read again."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataproc.domain.row_text import is_row, row_of, written

PLAIN = st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False, allow_infinity=False, places=9)
VALUES = st.recursive(
    PLAIN | st.text(), lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(), below, max_size=3)
)


@given(st.dictionaries(st.text(), VALUES, min_size=1, max_size=5))
def test_a_row_is_read_again_as_it_was_written(row: dict[str, object]) -> None:
    assert row_of(written(row)) == row


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("1.10"), "1.10"),
        (Decimal("1E+3"), "1000"),
        (Decimal("NaN"), '"NaN"'),
        (float("inf"), '"Infinity"'),
        (float("-inf"), '"-Infinity"'),
        (float("nan"), '"NaN"'),
        (0.1, "0.1"),
        (2**70, "1180591620717411303424"),
        (b"\x00\xff", r'"\\x00ff"'),
        (date(2026, 1, 31), '"2026-01-31"'),
        (datetime(2026, 1, 31, 6, tzinfo=UTC), '"2026-01-31 06:00:00+00:00"'),
        (timedelta(days=1, microseconds=5), '"PT86400.000005S"'),
        ({"a": [Decimal("0.50"), None]}, '{"a": [0.50, null]}'),
    ],
)
def test_what_json_lacks_is_told_as_postgresql_reads_it(value: object, text: str) -> None:
    assert written(value) == text
    json.loads(text)


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", '{"a": 1', '{"a": "\x00"}', "1;2;3", "{" * 100_000, r'{"a": "\ud83d"}']
)
def test_what_is_no_whole_row_is_told_apart(text: str) -> None:
    assert not is_row(text)
    assert row_of(text) is None


def test_a_character_beyond_the_first_plane_may_be_escaped() -> None:
    assert row_of(r'{"a": "\ud83c\udf88"}') == {"a": "\U0001f388"}


def test_a_number_keeps_the_digits_that_it_was_written_with() -> None:
    assert repr(row_of('{"a": 12.50, "b": 1E+2, "c": NaN}')) == repr(
        {"a": Decimal("12.50"), "b": Decimal("1E+2"), "c": "NaN"}
    )
