"""Exact casts: what passes and what does not, compared with Python's decimals."""

import struct
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataproc.domain.cells import Cells
from dataproc.warehouse.exact_cast import cast_exactly

FINITE = st.floats(allow_nan=False, allow_infinity=False)
SHORT = st.builds(lambda units, scale: units / 10.0**scale, st.integers(-(10**16), 10**16), st.integers(0, 8))
DOUBLES = st.one_of(FINITE, SHORT)


def passes(cells: Cells, dtype: pa.DataType) -> bool:
    """Whether a cast is exact; what it gives is valid."""
    try:
        cast_exactly(cells, dtype).validate(full=True)
    except ValueError:
        return False
    return True


def fits(number: Decimal, precision: int, scale: int) -> bool:
    """Whether a decimal type has room for all digits of a number."""
    units = number.scaleb(scale)
    return abs(units) < 10**precision and units == units.to_integral_value()


@given(number=DOUBLES, precision=st.integers(1, 38), data=st.data())
def test_a_double_becomes_a_decimal_when_its_shortest_text_fits(
    number: float, precision: int, data: st.DataObject
) -> None:
    scale = data.draw(st.integers(0, precision))
    cells, dtype = pa.array([number, None]), pa.decimal128(precision, scale)

    assert passes(cells, dtype) == fits(Decimal(repr(number)), precision, scale)
    if passes(cells, dtype):
        assert cast_exactly(cells, dtype).to_pylist() == [Decimal(repr(number)), None]


@pytest.mark.parametrize("number", [3.515076098710908e-35, 1.46e-58, 5e-324, 4e29, 1.45696687921e30])
@pytest.mark.parametrize("dtype", [pa.decimal128(11, 11), pa.decimal128(38, 38), pa.decimal128(38, 9)])
def test_a_double_of_any_size_does_not_become_another_number(number: float, dtype: pa.Decimal128Type) -> None:
    assert passes(pa.array([number]), dtype) == fits(Decimal(repr(number)), dtype.precision, dtype.scale)


@given(number=DOUBLES)
def test_a_double_becomes_a_real_when_the_number_or_its_shortest_text_stays(number: float) -> None:
    cells = pa.array([None, number, 0.5])
    try:
        (real,) = struct.unpack("f", struct.pack("f", number))
    except OverflowError:
        assert not passes(cells, pa.float32())
        return
    named = Decimal(str(pa.scalar(real, pa.float32()).cast(pa.string()).as_py()))

    assert passes(cells, pa.float32()) == (real == number or named == Decimal(repr(number)))


@pytest.mark.parametrize("width", [32, 64])
@given(number=st.integers(-(2**63), 2**63 - 1))
def test_a_whole_number_becomes_a_float_when_it_stays(width: int, number: int) -> None:
    dtype = pa.float32() if width == 32 else pa.float64()
    found = float(number) if width == 64 else struct.unpack("f", struct.pack("f", number))[0]

    assert passes(pa.array([number, None]), dtype) == (int(found) == number)


@given(units=st.integers(-(10**20), 10**20), scale=st.integers(0, 18))
def test_a_decimal_becomes_a_double_when_the_number_or_its_shortest_text_stays(units: int, scale: int) -> None:
    number = Decimal(units).scaleb(-scale)
    cells = pa.array([number, None], pa.decimal128(38, scale))

    assert passes(cells, pa.float64()) == (number in (Decimal(repr(float(number))), Decimal(float(number))))
    if passes(cells, pa.float64()):
        assert cast_exactly(cells, pa.float64()).to_pylist() == [float(number), None]


@given(units=st.lists(st.integers(-(10**15) + 1, 10**15 - 1)), scale=st.integers(0, 15))
def test_a_decimal_of_15_digits_becomes_the_nearest_double_and_back(units: list[int], scale: int) -> None:
    numbers = [Decimal(each).scaleb(-scale) for each in units]
    dtype = pa.decimal128(15, scale)

    doubles = cast_exactly(pa.array(numbers, dtype), pa.float64())

    assert doubles.to_pylist() == [float(number) for number in numbers]
    assert cast_exactly(doubles, dtype).to_pylist() == numbers


def test_a_slice_is_cast_as_itself() -> None:
    cells = pa.array([2.555, None, 0.25, 0.5])[1:]

    assert cast_exactly(cells, pa.decimal128(5, 2)).to_pylist() == [None, Decimal("0.25"), Decimal("0.50")]
