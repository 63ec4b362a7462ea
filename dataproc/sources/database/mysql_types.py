"""Types of MySQL and MariaDB as Arrow types: Arrow reads the text that the server writes, or the row is set aside."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pyarrow.types as t
from pymysql.constants import FIELD_TYPE, FLAG

from dataproc.sources.database.fitting import Fitted, cast

BINARY = 63
"""The number of the character set that is none."""
WHOLE: dict[int, tuple[pa.DataType, pa.DataType]] = {
    FIELD_TYPE.TINY: (pa.int8(), pa.uint8()),
    FIELD_TYPE.SHORT: (pa.int16(), pa.uint16()),
    FIELD_TYPE.INT24: (pa.int32(), pa.uint32()),
    FIELD_TYPE.LONG: (pa.int32(), pa.uint32()),
    FIELD_TYPE.LONGLONG: (pa.int64(), pa.uint64()),
}
OTHERS: dict[int, pa.DataType] = {
    FIELD_TYPE.FLOAT: pa.float32(),
    FIELD_TYPE.DOUBLE: pa.float64(),
    FIELD_TYPE.DATE: pa.date32(),
    FIELD_TYPE.NEWDATE: pa.date32(),
    FIELD_TYPE.DATETIME: pa.timestamp("us"),
    FIELD_TYPE.TIMESTAMP: pa.timestamp("us", "UTC"),
    FIELD_TYPE.TIME: pa.duration("us"),
    FIELD_TYPE.YEAR: pa.int16(),
    FIELD_TYPE.BIT: pa.uint64(),
    FIELD_TYPE.JSON: pa.json_(),
    FIELD_TYPE.NULL: pa.string(),
}
WRITTEN = {FIELD_TYPE.BIT: "0 + {}", FIELD_TYPE.FLOAT: "{} + 0e0"}
"""What is selected in place of a column: bits as a number, and a float with all its digits, as text has but six."""
TIME = re.compile(r"(-?)(\d+):(\d\d):(\d\d)(?:\.(\d{1,6}))?")
REASON = "is no such value in Arrow (such as the day 0000-00-00); name the column in as_text of the source"


@dataclass(frozen=True, slots=True)
class MysqlColumn:
    """A column: its name, what is selected for it, and the Arrow type of its cells."""

    name: str
    expression: str
    arrow_type: pa.DataType

    def fit(self, values: Sequence[Any]) -> Fitted:
        """Return values as the server writes them in the column's type; those that do not fit are marked."""
        dtype = self.arrow_type
        if t.is_binary(dtype) or t.is_string(dtype):
            return Fitted(pa.array(map(encoded, values) if t.is_binary(dtype) else values, dtype))
        if dtype == pa.json_():
            return Fitted(pa.ExtensionArray.from_storage(pa.json_(), pa.array(values, pa.string())))
        if t.is_duration(dtype):
            return Fitted(pa.array([None if value is None else length(value) for value in values], dtype))
        return self.temporal(values) if t.is_timestamp(dtype) else self.plain(values)

    def plain(self, values: Sequence[Any]) -> Fitted:
        """Return numbers and days."""
        return cast(pa.array(values, pa.string()), self.arrow_type, f"{self.name} {REASON}")

    def temporal(self, values: Sequence[Any]) -> Fitted:
        """Return moments; the session's zone is UTC."""
        fitted = cast(pa.array(values, pa.string()), pa.timestamp("us"), f"{self.name} {REASON}")
        return Fitted(fitted.cells.cast(self.arrow_type), fitted.bad, fitted.reason)


def encoded(value: str | bytes | None) -> bytes | None:
    """Return bytes."""
    return value.encode() if isinstance(value, str) else value


def length(text: str) -> timedelta:
    """Return a TIME, which may be negative and longer than a day."""
    parts = TIME.fullmatch(text)
    sign, hours, minutes, seconds, fraction = parts.groups() if parts else ("", "0", "0", "0", "")
    found = timedelta(
        hours=int(hours), minutes=int(minutes), seconds=int(seconds), microseconds=int((fraction or "0").ljust(6, "0"))
    )
    return -found if sign else found


@dataclass(frozen=True, slots=True)
class Description:
    """A column as the server describes it."""

    name: str
    type_code: int
    flags: int
    length: int
    scale: int
    charset: int


def column_of(field: Description, quoted: str, *, as_text: bool) -> MysqlColumn:
    """Return how a column is read."""
    code, unsigned = field.type_code, bool(field.flags & FLAG.UNSIGNED)
    expression = quoted
    dtype: pa.DataType = pa.binary() if field.charset == BINARY else pa.string()
    if as_text:
        expression, dtype = f"CAST({quoted} AS CHAR CHARACTER SET utf8mb4)", pa.string()
    elif code in WHOLE:
        dtype = WHOLE[code][unsigned]
    elif code in {FIELD_TYPE.DECIMAL, FIELD_TYPE.NEWDECIMAL}:
        dtype = decimal_of(field.length, field.scale, unsigned=unsigned)
    elif code in OTHERS:
        expression, dtype = WRITTEN.get(code, "{}").format(quoted), OTHERS[code]
    return MysqlColumn(field.name, expression, dtype)


def decimal_of(width: int, scale: int, *, unsigned: bool) -> pa.DataType:
    """Return the type of a decimal that is written in so many characters, with its sign and point."""
    digits = width - (0 if unsigned else 1) - (1 if scale else 0)
    return pa.decimal128(digits, scale) if digits <= 38 else pa.decimal256(digits, scale)
