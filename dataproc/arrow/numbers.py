"""Text of numbers: digits that are none, and values that a floating-point type cannot hold."""

from __future__ import annotations

from decimal import Decimal
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from dataproc.domain.cells import Cells, Mask, failing
from dataproc.domain.row_text import NOT_FINITE

FLOAT_DIGITS, DOUBLE_DIGITS = 6, 15
"""Decimals of so many digits all have a number of single or double precision of their own (FLT_DIG, DBL_DIG of C)."""
LEAST_PLAIN, LEAST_POWER = 1e-4, -4
INFINITE = r"(?i)^[+-]?inf(inity)?$"
NOT_ZERO = r"^[+-]?[0.]*[1-9]"


def out_of_range(text: Cells, values: Cells) -> Mask:
    """Return which numbers are too large or too small for a floating-point type, as PostgreSQL refuses them.

    Arrow gives infinity or zero for such text.
    """
    infinite, zero = (is_true(each) for each in (pc.is_inf(values), pc.equal(values, pa.scalar(0, values.type))))
    found = np.zeros(len(text), np.bool_)
    if infinite.any():
        found |= infinite & failing(pc.match_substring_regex(text, INFINITE))
    if zero.any():
        found |= zero & ~failing(pc.match_substring_regex(text, NOT_ZERO))
    return found


def float_texts(cells: Cells) -> Cells:
    """Return floating-point numbers as the texts that PostgreSQL writes: `1e-05`, `NaN`, `Infinity`.

    Arrow's texts have the same digits, the fewest that tell a number from its neighbours, but other exponents.
    PostgreSQL writes one below 0.0001, and above the digits that a type always keeps (`float8out`, `float4out`). Of
    whole numbers with more digits than the type has bits for, it may write digits more than the fewest.
    """
    texts = cells.cast(pa.string())
    digits = FLOAT_DIGITS if t.is_float32(cells.type) else DOUBLE_DIGITS
    numbers = np.abs(np.asarray(cells.fill_null(1).to_numpy(zero_copy_only=False), np.float64))
    other = ~((numbers >= LEAST_PLAIN) & (numbers < 10.0**digits)) | is_true(pc.match_substring(texts, "e"))
    if not other.any():
        return texts
    pairs = zip(texts.to_pylist(), other, strict=True)
    rewritten = [postgres_text(text, digits) if text and is_other else text for text, is_other in pairs]
    return pa.array(rewritten, pa.string())


def postgres_text(text: str, plain_digits: int) -> str:
    """Return PostgreSQL's text of a floating-point number, with an exponent below 0.0001 and from `plain_digits` on."""
    if not isfinite(float(text)):
        return NOT_FINITE[str(float(text))]
    number = Decimal(text)
    sign, digits, _ = number.as_tuple()
    power = number.adjusted()
    if number and not LEAST_POWER <= power < plain_digits:
        rest = "".join(map(str, digits[1:])).rstrip("0")
        return f"{'-' * sign}{digits[0]}{'.' * bool(rest)}{rest}e{'-' if power < 0 else '+'}{abs(power):02}"
    return format(number, "f")


def is_true(answers: Cells | pa.ChunkedArray[Any]) -> Mask:
    """Return where an answer is true, and neither false nor null."""
    return np.asarray(pc.coalesce(answers, pa.scalar(value=False)), np.bool_)


def has_strange_bytes(text: Cells) -> bool:
    """Whether a cell has more than digits, a sign and a point: Arrow takes hexadecimal digits for a number."""
    edges, data = edges_and_bytes(text)
    found = data[edges[0] : edges[-1]]
    return bool((found > ord("9")).any() or (found < ord("-")).any())


def edges_and_bytes(text: Cells) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    """Return where the texts of an array begin and end, one more than there are texts, and the bytes of all."""
    _, offsets, data = text.buffers()
    if offsets is None or data is None:
        return np.zeros(len(text) + 1, np.int32), np.empty(0, np.uint8)
    edges = np.frombuffer(memoryview(offsets), np.int32)[text.offset : text.offset + len(text) + 1]
    return edges, np.frombuffer(memoryview(data), np.uint8)
