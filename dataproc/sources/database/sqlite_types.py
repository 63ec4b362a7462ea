"""Types of SQLite as Arrow types. A column may hold values of any type: those of another than its own are set aside."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from dataproc.sources.database.fitting import Fitted

REASON = "is not of the type of its column; name the column in as_text of the source, or cast it in a query"
LEAST, MOST = -(2**63), 2**63 - 1
Test = Callable[[object], bool]


def is_whole(value: object) -> bool:
    """Whether a value is an integer."""
    return isinstance(value, int)


def is_real(value: object) -> bool:
    """Whether a value is a number that a double holds exactly."""
    return isinstance(value, float) or (isinstance(value, int) and abs(value) <= 2**53)


def is_text(value: object) -> bool:
    """Whether a value is text."""
    return isinstance(value, str)


def is_bytes(value: object) -> bool:
    """Whether a value is a blob."""
    return isinstance(value, bytes)


TESTS: dict[pa.DataType, Test] = {
    pa.int64(): is_whole,
    pa.float64(): is_real,
    pa.string(): is_text,
    pa.binary(): is_bytes,
}


@dataclass(frozen=True, slots=True)
class SqliteColumn:
    """A column: its name, whether any value of it is written as text, and the Arrow type of its cells."""

    name: str
    arrow_type: pa.DataType
    as_text: bool = False

    def fit(self, values: Sequence[Any]) -> Fitted:
        """Return values in the column's type; those that do not fit are marked."""
        if self.as_text:
            values = [value if value is None or isinstance(value, bytes) else written(value) for value in values]
        test = TESTS[self.arrow_type]
        bad = np.fromiter((value is not None and not test(value) for value in values), np.bool_, len(values))
        if not bad.any():
            return Fitted(pa.array(values, self.arrow_type))
        cells: Any = pa.array(values, self.arrow_type, mask=bad) if self.arrow_type == pa.binary() else None
        if cells is None:
            cells = pa.array(
                [None if wrong else value for value, wrong in zip(values, bad, strict=True)], self.arrow_type
            )
        return Fitted(cells, bad, f"{self.name} {REASON}")


def written(value: object) -> str:
    """Return a number as text that loses nothing."""
    if isinstance(value, float) and math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return str(value)


def column_of(name: str, declared: str, sampled: Sequence[str], *, as_text: bool) -> SqliteColumn:
    """Return how a column is read: by the affinity of its declared type, else by the types that a sample holds."""
    if as_text:
        return SqliteColumn(name, pa.string(), as_text=True)
    return by_affinity(name, declared.upper()) or by_sample(name, frozenset(sampled) - {"null"})


def by_affinity(name: str, declared: str) -> SqliteColumn | None:
    """Return a column by its declared type; `None` where that says nothing.

    Numeric columns hold whole numbers, fractions and what is neither: as text nothing of them is lost.
    """
    if not declared or "BLOB" in declared:
        return SqliteColumn(name, pa.binary()) if declared else None
    if "INT" in declared:
        return SqliteColumn(name, pa.int64())
    if any(word in declared for word in ("CHAR", "CLOB", "TEXT")):
        return SqliteColumn(name, pa.string())
    if any(word in declared for word in ("REAL", "FLOA", "DOUB")):
        return SqliteColumn(name, pa.float64())
    return SqliteColumn(name, pa.int64()) if "BOOL" in declared else SqliteColumn(name, pa.string(), as_text=True)


def by_sample(name: str, found: frozenset[str]) -> SqliteColumn:
    """Return a column by what it holds; text where it is mixed."""
    if found == {"integer"}:
        return SqliteColumn(name, pa.int64())
    if found and found <= {"integer", "real"}:
        return SqliteColumn(name, pa.float64())
    if found == {"blob"}:
        return SqliteColumn(name, pa.binary())
    return SqliteColumn(name, pa.string(), as_text=True)
