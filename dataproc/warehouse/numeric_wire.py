"""Text of numbers as PostgreSQL's binary `numeric`: every digit and the scale stay as they were written.

The format is that of `numeric_send` in PostgreSQL's src/backend/utils/adt/numeric.c: four 16-bit fields (count of
digits, weight, sign, display scale), then the digits in base 10,000. The weight is the power of 10,000 of the first
digit. Example: `-12.50` is one integer digit 12 and one fractional digit 5000:
`0002 0000 4000 0002 000C 1388`.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataproc.arrow.numbers import edges_and_bytes, has_strange_bytes
from dataproc.domain.cells import Cells, Mask, failing

BASE = 10_000
DIGITS = 4
"""Decimal digits in one digit of base 10,000."""
MAX_FAST_SCALE = 16
"""Digits after the point of a number whose fraction fits an int64 when it is padded to whole digits of base 10,000."""
LONGEST_SIGNS = 2
"""A sign and a point."""
MAX_EXPONENT = 1000
"""Powers of ten beyond this are left to PostgreSQL, which refuses most of them."""
MAX_LENGTH = 4000
"""Characters of a number; longer ones are left to PostgreSQL, which has a limit of 131,072 digits and 16,383 more."""
NEGATIVE, NAN, PLUS_INFINITY, MINUS_INFINITY = 0x4000, 0xC000, 0xD000, 0xF000
SPECIAL = {
    "nan": NAN, "inf": PLUS_INFINITY, "infinity": PLUS_INFINITY, "+inf": PLUS_INFINITY, "+infinity": PLUS_INFINITY,
    "-inf": MINUS_INFINITY, "-infinity": MINUS_INFINITY,
}  # fmt: skip
PLAIN = r"^-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)$"
ANY_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE]([+-]?[0-9]+))?", re.ASCII)
SPACE = " \t\n\r\v\f"
"""White space that PostgreSQL passes over around a number."""

POWERS = 10 ** np.arange(MAX_FAST_SCALE + DIGITS, dtype=np.uint64)

Integers = npt.NDArray[np.int64]


def numeric_wire(text: Cells) -> tuple[Cells, Mask]:
    """Return text (`string`) as the bytes of `numeric` (`binary`), and which cells are not numbers; these are null."""
    wire = fast_wire(text)
    if wire is not None:
        return wire, np.zeros(len(text), np.bool_)
    edges, _ = edges_and_bytes(text)
    is_short = np.diff(edges) <= MAX_FAST_SCALE + LONGEST_SIGNS
    plain = is_short & ~failing(pc.match_substring_regex(text, PLAIN))
    fast = fast_wire(text.filter(pa.array(plain)))
    if fast is None:
        plain = np.zeros(len(text), np.bool_)
        fast = pa.array([], pa.binary())
    others = text.filter(pa.array(~plain))
    slow = pa.array([None if each is None else wire_of(each) for each in others.to_pylist()], pa.binary())
    order = np.empty(len(text), np.int64)
    order[plain], order[~plain] = np.arange(len(fast)), len(fast) + np.arange(len(slow))
    found: Cells = pa.concat_arrays([fast, slow]).take(pa.array(order, pa.int64()))
    return found, np.asarray(found.is_null(), np.bool_) & np.asarray(text.is_valid(), np.bool_)


def fast_wire(text: Cells) -> Cells | None:
    """Return plain numbers of at most 18 digits in their binary form; `None`: a cell is something else."""
    point: Cells = pc.call_function("find_substring", [text], pc.MatchSubstringOptions("."))
    try:
        unscaled: Cells = pc.replace_substring(text, ".", "", max_replacements=1).cast(pa.int64())
    except pa.ArrowInvalid:
        return None
    if has_strange_bytes(text):
        return None
    edges, _ = edges_and_bytes(text)
    length = np.diff(edges).astype(np.int64)
    at = np.asarray(point.fill_null(-1), np.int64)
    scale = np.where(at < 0, 0, length - at - 1)
    if len(text) and scale.max() > MAX_FAST_SCALE:
        return None
    data, offsets = encoded(np.asarray(unscaled.fill_null(0), np.int64), scale)
    validity = text.is_valid()
    buffers = [None if text.null_count == 0 else validity.buffers()[1], offsets, data]
    return pa.Array.from_buffers(pa.binary(), len(text), buffers, text.null_count)


def encoded(unscaled: Integers, scale: Integers) -> tuple[pa.Buffer, pa.Buffer]:
    """Return the data and the offsets of numbers `unscaled / 10 ** scale`."""
    fraction_groups = -(-int(scale.max(initial=0)) // DIGITS)
    # The absolute value of the least int64 is right once it is taken as unsigned.
    magnitude = np.abs(unscaled).view(np.uint64)
    whole, fraction = np.divmod(magnitude, POWERS[scale])
    fraction *= POWERS[DIGITS * fraction_groups - scale]
    whole_groups = -(-len(str(int(whole.max(initial=0)))) // DIGITS)
    width = whole_groups + fraction_groups
    digits = np.empty((width, len(unscaled)), np.uint16)
    into_digits(fraction, digits[whole_groups:])
    into_digits(whole, digits[:whole_groups])
    first, last = np.full(len(unscaled), width), np.full(len(unscaled), -1)
    for column in range(width):
        last[digits[column] != 0] = column
    for column in range(width - 1, -1, -1):
        first[digits[column] != 0] = column
    count = np.maximum(last - first + 1, 0)
    fields = np.empty((len(unscaled), 4 + width), ">u2")
    fields[:, 0] = count
    fields[:, 1] = np.where(count, whole_groups - 1 - first, 0).astype(np.int16).view(np.uint16)
    fields[:, 2] = np.where(unscaled < 0, NEGATIVE, 0)
    fields[:, 3] = scale
    kept = np.ones(fields.shape, np.bool_)
    for column in range(width):
        fields[:, 4 + column] = digits[column]
        kept[:, 4 + column] = (first <= column) & (column <= last)
    offsets = np.zeros(len(unscaled) + 1, np.int32)
    np.cumsum(8 + 2 * count, out=offsets[1:])
    return buffer_of(fields[kept].view(np.uint8)), buffer_of(offsets)


def buffer_of(numbers: npt.NDArray[Any]) -> pa.Buffer:
    """Return the memory of an array without a copy."""
    found: pa.Buffer | None = pa.array(numbers).buffers()[1]
    return pa.py_buffer(b"") if found is None else found


def into_digits(numbers: npt.NDArray[np.uint64], digits: npt.NDArray[np.uint16]) -> None:
    """Write numbers into rows of digits of base 10,000, the last of them in the last row."""
    left = numbers
    for row in digits[:0:-1]:
        left, row[:] = np.divmod(left, np.uint64(BASE))
    if len(digits):
        digits[0] = left


def wire_of(text: str) -> bytes | None:
    """Return one number in its binary form; `None`: PostgreSQL has to judge the text."""
    tidy = text.strip(SPACE)
    if len(tidy) > MAX_LENGTH:
        return None
    if (special := SPECIAL.get(tidy.lower())) is not None:
        return b"".join(each.to_bytes(2) for each in (0, 0, special, 0))
    found = ANY_NUMBER.fullmatch(tidy)
    if found is None or len(found[1] or "") > len(str(MAX_EXPONENT)) + 1 or abs(int(found[1] or 0)) > MAX_EXPONENT:
        return None
    return wire_of_decimal(Decimal(tidy))


def wire_of_decimal(number: Decimal) -> bytes:
    """Return one finite number in its binary form."""
    sign, figures, exponent = number.as_tuple()
    power = int(exponent)
    scale = max(0, -power)
    figures_text = "".join(map(str, figures)) + "0" * max(0, power)
    whole, fraction = (figures_text[:-scale], figures_text[-scale:].rjust(scale, "0")) if scale else (figures_text, "")
    whole = whole.rjust(-(-len(whole) // DIGITS) * DIGITS, "0")
    fraction = fraction.ljust(-(-len(fraction) // DIGITS) * DIGITS, "0")
    joined = whole + fraction
    digits = [int(joined[at : at + DIGITS]) for at in range(0, len(joined), DIGITS)]
    weight = len(whole) // DIGITS - 1
    while digits and digits[0] == 0:
        digits, weight = digits[1:], weight - 1
    while digits and digits[-1] == 0:
        digits.pop()
    negative = NEGATIVE if sign and digits else 0
    fields = (len(digits), (weight if digits else 0) & 0xFFFF, negative, scale, *digits)
    return b"".join(each.to_bytes(2) for each in fields)
