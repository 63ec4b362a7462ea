"""Types told from the characters of values, for columns whose type is neither declared nor that of a target.

Every value of an inferred type is the number, moment or text that its characters say: digits that a type would lose
make the column `numeric` or `text`. `docs/sources/files.md` has the table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain

import pyarrow as pa

from dataproc.domain.contract import NO_CONTRACT, Contract
from dataproc.domain.source_columns import COMPUTED_SCALE, EVERYTHING_INFERRED, MAX_DIGITS, Kind, SourceColumns

SMALLEST, LARGEST = -(2**63), 2**63 - 1

NULL = Kind("null", pa.null())
TEXT = Kind("text", pa.string())
BOOLEAN = Kind("boolean", pa.bool_())
BIGINT = Kind("bigint", pa.int64())
DOUBLE = Kind("double precision", pa.float64())
JSON = Kind("jsonb", pa.string())
DATE = Kind("date", pa.date32())
TIME = Kind("time without time zone", pa.time64("us"))
TIMESTAMP = Kind("timestamp without time zone", pa.timestamp("us"))
TIMESTAMPTZ = Kind("timestamp with time zone", pa.timestamp("us", "UTC"))
NUMBERS = ("bigint", "numeric", "double precision")

WHOLE = re.compile(r"-?(?:0|[1-9][0-9]*)", re.ASCII)
FRACTION = re.compile(r"-?(?:(?:0|[1-9][0-9]*)\.[0-9]*|\.[0-9]+)", re.ASCII)
WITH_POWER = re.compile(r"-?(?:(?:0|[1-9][0-9]*)\.[0-9]*|\.[0-9]+)[eE][+-]?[0-9]{1,5}", re.ASCII)
WHOLE_WITH_POWER = re.compile(r"-?(?:0|[1-9][0-9]*)[eE][+-]?[0-9]{1,5}", re.ASCII)
WORDS = frozenset({"nan", "inf", "infinity", "-inf", "-infinity", "-nan"})
"""Values of `double precision` that are not numbers."""


def numeric(scale: int) -> Kind:
    """Return the kind of exact numbers; a decimal type of that scale is what steps compute with."""
    return Kind("numeric", pa.decimal128(MAX_DIGITS, min(max(scale, COMPUTED_SCALE), MAX_DIGITS - COMPUTED_SCALE)))


def number_kind(text: str, *, powers_are_numbers: bool) -> Kind:
    """Return the kind of a cell that a parser of numbers takes; codes such as `007`, `0x1F` or `1E5` are text.

    With `powers_are_numbers`, as in JSON, a whole number with an exponent is a number.
    """
    if WHOLE.fullmatch(text):
        return BIGINT if is_bigint(text) else numeric(0)
    if FRACTION.fullmatch(text):
        return numeric(len(text) - text.index(".") - 1)
    if WITH_POWER.fullmatch(text) or (powers_are_numbers and WHOLE_WITH_POWER.fullmatch(text)):
        return DOUBLE if is_exact_double(text) else numeric(0)
    return DOUBLE if text.lower() in WORDS else TEXT


def is_bigint(digits: str | bytes) -> bool:
    """Return whether a whole number without leading zeros has 64 bits; Python refuses to read very long ones."""
    return len(digits) <= len(str(SMALLEST)) and SMALLEST <= int(digits) <= LARGEST


def is_exact_double(text: str) -> bool:
    """Return whether the shortest text of the nearest double is the same number."""
    return Decimal(repr(float(text))) == Decimal(text)


def joined(one: Kind, other: Kind) -> Kind:
    """Return the kind that holds values of both without a change."""
    if other in (one, NULL):
        return one
    if one == NULL:
        return other
    if JSON in (one, other):
        return JSON
    kinds = {one.sql_type, other.sql_type}
    if kinds <= {*NUMBERS}:
        scales = [kind.dtype.scale for kind in (one, other) if isinstance(kind.dtype, pa.Decimal128Type)]
        return numeric(max(scales, default=0))
    return TIMESTAMP if kinds == {DATE.sql_type, TIMESTAMP.sql_type} else TEXT


@dataclass(frozen=True, slots=True)
class Sample:
    """The columns of the start of a file with their kinds, how many rows showed them, notes on it, and its damage."""

    kinds: Mapping[str, Kind]
    rows: int
    notes: tuple[str, ...] = ()
    damage: str | None = None


def kinds_of(
    samples: Iterable[Sample], contract: Contract = NO_CONTRACT, columns: SourceColumns = EVERYTHING_INFERRED
) -> dict[str, Kind]:
    """Return the columns of the first sample that has rows, each with the kind that holds the values of all samples.

    A column that only later samples have, or that the run has met after them, joins them where its contract is
    `evolve`, or where it is known (declared, or a column of the target); the reader of a file refuses or leaves out
    its other columns.

    Where no sample has rows, the first that names columns tells them. A column without values is text. One whose
    contract freezes it, or discards what does not fit, keeps the kind that it has first.
    """
    found: dict[str, Kind] = {}
    has_rows = False
    late = [Sample(columns.late, 1)] if columns.late else []
    for sample in chain(samples, late):
        if not has_rows and (sample.rows or not found):
            found, has_rows = dict(sample.kinds), bool(sample.rows)
        elif sample.rows:
            found = {
                name: kind if is_fixed(kind, name, contract) else joined(kind, sample.kinds.get(name, NULL))
                for name, kind in found.items()
            } | {
                name: kind
                for name, kind in sample.kinds.items()
                if name not in found and (contract.of(name) == "evolve" or columns.is_known(name))
            }
    return {name: TEXT if kind == NULL else kind for name, kind in found.items()}


def is_fixed(kind: Kind, name: str, contract: Contract) -> bool:
    """Return whether a contract keeps a column as it came first."""
    return kind != NULL and (contract.of(name) == "freeze" or contract.discards(name))
