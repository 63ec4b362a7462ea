"""Rows of JSON as columns: their types are told from all values, and numbers keep their digits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa

from dataproc.domain.row_text import written

SMALLEST, LARGEST = -(2**63), 2**63 - 1
MOST_DIGITS = 76
"""Digits of the widest decimal that Arrow has."""
BYTES = re.compile(r"\\x(?:[0-9a-f]{2})*")
"""How bytes are written; a column with nothing else held bytes."""

Row = Mapping[str, object]


@dataclass(slots=True)
class Seen:
    """What the values of a column are like."""

    truths: bool = False
    numbers: bool = False
    beyond_int64: bool = False
    floats: bool = False
    bytes: bool = False
    others: bool = False
    before_point: int = 0
    after_point: int = 0

    def see(self, value: object) -> None:
        """Take note of a value."""
        match value:
            case None:
                pass
            case bool():
                self.truths = True
            case int():
                self.see_number(Decimal(value), is_large=not SMALLEST <= value <= LARGEST)
            case Decimal():
                self.see_number(value, is_large=True)
            case float():
                self.numbers = self.floats = True
            case str() if BYTES.fullmatch(value):
                self.bytes = True
            case _:
                self.others = True

    def see_number(self, number: Decimal, *, is_large: bool) -> None:
        """Take note of the digits of a number, and of whether a whole number of 64 bits cannot hold it."""
        _, digits, exponent = number.as_tuple()
        power = exponent if isinstance(exponent, int) else 0
        self.numbers, self.beyond_int64 = True, self.beyond_int64 or is_large
        self.after_point = max(self.after_point, -power)
        self.before_point = max(self.before_point, len(digits) + min(power, 0))

    @property
    def kind(self) -> pa.DataType:
        """The type that holds them all; text where there is no other."""
        if self.others or self.truths + self.numbers + self.bytes != 1:
            return pa.string()
        if not self.numbers:
            return pa.bool_() if self.truths else pa.binary()
        return self.number_kind

    @property
    def number_kind(self) -> pa.DataType:
        """The type that holds all numbers with all their digits."""
        digits = max(self.before_point + self.after_point, 1)
        if digits > MOST_DIGITS:
            return pa.string()
        if self.floats:
            return pa.float64()
        if not self.beyond_int64:
            return pa.int64()
        return pa.decimal128(digits, self.after_point) if digits <= 38 else pa.decimal256(digits, self.after_point)


def schema_of(rows: Iterable[Row], text: frozenset[str]) -> pa.Schema:
    """Return the columns of rows, in the order in which they come; those in `text` are text, to be cast later."""
    seen: dict[str, Seen] = {}
    for row in rows:
        for name, value in row.items():
            seen.setdefault(name, Seen()).see(value)
    return pa.schema([(name, pa.string() if name in text else each.kind) for name, each in seen.items()])


def table_of(rows: list[Row], schema: pa.Schema) -> pa.Table:
    """Return rows in the columns of a schema."""
    arrays: list[pa.Array[Any]] = [
        pa.array([fitted(row.get(field.name), field.type) for row in rows], field.type) for field in schema
    ]
    return pa.table(arrays, schema=schema)


def fitted(value: object, kind: pa.DataType) -> object:
    """Return a value as its column holds it; in a column of text, a number as it was written."""
    if value is None or isinstance(value, str):
        return bytes.fromhex(value[2:]) if value and kind == pa.binary() else value
    if kind == pa.string():
        return str(value) if isinstance(value, Decimal) else written(value)
    if kind == pa.float64() and isinstance(value, Decimal | int):
        return float(value)
    return Decimal(value) if pa.types.is_decimal(kind) and isinstance(value, int) else value
