"""Fractions of a second finer than a microsecond: one rounding for text and for binary times."""

from datetime import time

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataproc.arrow.timestamps import times_of, timestamps_of, to_microseconds

NANOSECONDS = st.integers(-(2**62), 2**62)


@given(st.lists(st.none() | NANOSECONDS, max_size=10))
def test_binary_times_are_rounded_as_their_text_is(values: list[int | None]) -> None:
    moments = pa.array(values, pa.timestamp("ns"))

    rounded = to_microseconds(moments)

    from_text, bad = timestamps_of(moments.cast(pa.string()), pa.timestamp("us"))
    assert rounded.equals(from_text)
    assert not bad.any()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # SELECT timestamp '2026-01-01 00:00:00.1234565' and so on, in PostgreSQL 18
        ("2026-01-01 00:00:00.1234565", "2026-01-01 00:00:00.123456"),
        ("2026-01-01 00:00:00.1234566", "2026-01-01 00:00:00.123457"),
        ("2026-01-01T00:00:00.999999999", "2026-01-01 00:00:01.000000"),
        ("1600-01-01 00:00:00.00000050001", "1600-01-01 00:00:00.000001"),
        ("2026-02-30 00:00:00.1234567", None),
    ],
)
def test_text_is_rounded_as_postgresql_rounds_it(text: str, expected: str | None) -> None:
    found, bad = timestamps_of(pa.array([text]), pa.timestamp("us"))

    assert found.cast(pa.string()).to_pylist() == [expected]
    assert bad.tolist() == [expected is None]


def test_a_time_that_rounds_up_to_midnight_does_not_become_the_first_of_the_day() -> None:
    found, bad = times_of(pa.array(["23:59:59.9999996", "23:59:59.9999994", None]))

    assert found.to_pylist() == [None, time(23, 59, 59, 999999), None]
    assert bad.tolist() == [True, False, False]
