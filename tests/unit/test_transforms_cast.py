"""Casting: what fits, what does not, and where."""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataproc.domain.cells import Cells
from dataproc.transforms.cast import can_cast, cast
from dataproc.transforms.types import arrow_type

INF = float("inf")


def outcome(cells: Cells, declared: str) -> tuple[list[Any], list[int]]:
    """Return the values, and the places of those that do not fit."""
    values, bad = cast(cells, arrow_type(declared))
    assert values.type == arrow_type(declared)
    return values.to_pylist(), [] if bad is None else [int(at) for at in bad.nonzero()[0]]


@pytest.mark.parametrize(
    ("declared", "good", "bad"),
    [
        ("int64", {"1": 1, " -7 ": -7, "+5": 5}, ["1.5", "x", "", "0x10", "9223372036854775808", "1e3"]),
        ("int16", {"32767": 32767}, ["32768"]),
        ("float64", {"1.5": 1.5, "1e3": 1000.0, " 2": 2.0}, ["x", ""]),
        ("decimal(5,2)", {"1.2": Decimal("1.20"), "-123.45": Decimal("-123.45")}, ["1234.5", "1.234", "x", "nan"]),
        ("bool", {"true": True, "FALSE": False, "1": True, "0": False}, ["yes", "2"]),
        ("date", {"2024-02-29": date(2024, 2, 29)}, ["2023-02-29", "29.02.2024", "2024-02-29T10:00:00"]),
        ("time", {"10:20:30.5": time(10, 20, 30, 500_000), "10:20": time(10, 20)}, ["25:00:00", "x"]),
        ("timestamp", {"2024-01-02 03:04:05": datetime(2024, 1, 2, 3, 4, 5)}, ["2024-01-02T03:04:05Z", "x"]),  # noqa: DTZ001  # the type without a zone
        (
            "timestamptz",
            {
                "2024-01-02T03:04:05Z": datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC),
                "2024-01-02T03:04:05+02:00": datetime(2024, 1, 2, 1, 4, 5, tzinfo=UTC),
                "2024-01-02 03:04:05": datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC),
                "2024-01-02": datetime(2024, 1, 2, tzinfo=UTC),
            },
            ["yesterday", "2024-13-01T00:00:00Z"],
        ),
    ],
)
def test_text_is_cast_and_what_does_not_fit_is_found(declared: str, good: dict[str, object], bad: list[str]) -> None:
    cells = pa.array([*good, None, *bad])

    values, misfits = outcome(cells, declared)

    assert values[: len(good)] == list(good.values())
    assert values[len(good) :] == [None] * (1 + len(bad))
    assert misfits == list(range(len(good) + 1, len(cells)))


@pytest.mark.parametrize(
    ("cells", "declared", "values", "misfits"),
    [
        (pa.array([1, 2**40]), "int32", [1, None], [1]),
        (pa.array([1.0, 1.5]), "int64", [1, None], [1]),
        (pa.array([5, 10**11]), "decimal(12,2)", [Decimal("5.00"), None], [1]),
        (pa.array([1.239, 1e15]), "decimal(12,2)", [Decimal("1.24"), None], [1]),
        (pa.array([3, 2**63], pa.uint64()), "decimal(10,0)", [Decimal(3), None], [1]),
        (pa.array([1, None]), "string", ["1", None], []),
        (pa.array([b"x", b"\xff"]), "string", ["x", None], [1]),
        (pa.array([date(2024, 1, 2)]), "timestamptz", [datetime(2024, 1, 2, tzinfo=UTC)], []),
    ],
)
def test_other_types_are_cast_and_what_does_not_fit_is_found(
    cells: Cells, declared: str, values: list[object], misfits: list[int]
) -> None:
    assert outcome(cells, declared) == (values, misfits)


def test_what_can_never_be_cast_is_known_before_there_are_rows() -> None:
    assert can_cast(pa.string(), pa.int64())
    assert not can_cast(pa.list_(pa.int64()), pa.int64())
    assert not can_cast(pa.struct([("a", pa.int64())]), pa.string())


@given(st.lists(st.one_of(st.integers(-(2**63), 2**63 - 1).map(str), st.sampled_from(["x", "", "1.0", None]))))
def test_exactly_the_whole_numbers_fit_int64(texts: list[str | None]) -> None:
    values, misfits = outcome(pa.array(texts, pa.string()), "int64")

    assert misfits == [at for at, text in enumerate(texts) if text in ("x", "", "1.0")]
    assert [str(value) for value in values if value is not None] == [
        t for t in texts if t not in ("x", "", "1.0", None)
    ]


@pytest.mark.parametrize(
    ("cells", "declared", "values", "misfits"),
    [
        (pa.array(["1e400", "-1e400", "inf", "1e-400", "0e9", "nope"]), "float64", [None, None, INF, None, 0.0, None],
         [0, 1, 3, 5]),
        (pa.array(["2.225073858507203e-309", "1e-39", "1e-2"]), "decimal(5,2)", [None, None, Decimal("0.01")], [0, 1]),
        (pa.array(["1e39", "Infinity", "1e-60"]), "float32", [None, INF, None], [0, 2]),
        (pa.array([1e39, INF, -1e39, 1e-60, 0.0, None]), "float32", [None, INF, None, None, 0.0, None], [0, 2, 3]),
        (pa.array([Decimal(10) ** 60, Decimal(0)], pa.decimal256(76, 0)), "float32", [None, 0.0], [0]),
        (pa.array([Decimal("0.35"), Decimal("0.41")]), "float64", [0.35, 0.41], []),
    ],
)  # fmt: skip
def test_a_number_beyond_the_range_of_its_type_does_not_fit(
    cells: Cells, declared: str, values: list[object], misfits: list[int]
) -> None:
    assert outcome(cells, declared) == (values, misfits)


@pytest.mark.parametrize("number", [pa.int32(), pa.int64(), pa.float64(), pa.decimal128(9, 2)])
@pytest.mark.parametrize(
    "moment", [pa.timestamp("us"), pa.timestamp("us", "UTC"), pa.date32(), pa.time64("us"), pa.duration("us")]
)
def test_a_number_is_no_moment_and_a_moment_no_number(number: pa.DataType, moment: pa.DataType) -> None:
    assert not can_cast(number, moment)
    assert not can_cast(moment, number)


@pytest.mark.parametrize("dtype", [pa.int64(), pa.int8(), pa.float64()])
def test_only_one_and_zero_are_true_and_false(dtype: pa.DataType) -> None:
    values, bad = cast(pa.array([0, 1, 2, -5, None], pa.float64()).cast(dtype), pa.bool_())

    assert values.to_pylist() == [False, True, None, None, None]
    assert bad is not None
    assert bad.tolist() == [False, False, True, True, False]


def test_a_double_as_text_is_written_as_postgresql_writes_it() -> None:
    values, bad = cast(pa.array([0.00001, float("nan"), float("inf"), 1.5]), pa.string())

    assert (values.to_pylist(), bad) == (["1e-05", "NaN", "Infinity", "1.5"], None)
