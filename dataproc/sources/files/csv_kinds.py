"""Kinds of CSV columns, told from what Arrow's reader takes them for and from how they are written."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from dataproc.arrow.timestamps import early_in
from dataproc.domain.source_columns import Kind
from dataproc.domain.sources.files import CsvOptions
from dataproc.sources.files.csv_parsing import parsed_csv, without_blanks
from dataproc.sources.inference import (
    BOOLEAN,
    DATE,
    NULL,
    TEXT,
    TIME,
    TIMESTAMP,
    TIMESTAMPTZ,
    joined,
    number_kind,
)

KINDS: tuple[tuple[Callable[[pa.DataType], bool], Kind], ...] = (
    (t.is_null, NULL),
    (t.is_date, DATE),
    (t.is_time, TIME),
    (lambda dtype: isinstance(dtype, pa.TimestampType) and dtype.tz is not None, TIMESTAMPTZ),
    (t.is_timestamp, TIMESTAMP),
)
"""What Arrow's reader tells of columns; text that is not UTF-8 is text, and its cells are set aside."""


@dataclass(frozen=True, slots=True)
class CellKinds:
    """Tells the kinds of columns from a sample of their cells."""

    options: CsvOptions
    names: Sequence[str]

    def found(self, body: bytes) -> tuple[dict[str, Kind], int]:
        """Return the kind of each column in the records of a text, and the number of these records."""
        rows = parsed_csv(body, self.options, self.names, {}, [])
        types = {column.name: column.type for column in rows.schema} | self.types_without_blanks(body, rows)
        unsure = [name for name, dtype in types.items() if is_number(dtype) or t.is_boolean(dtype)]
        written = rows
        if unsure:
            written = parsed_csv(body, self.options, self.names, dict.fromkeys(unsure, pa.string()), [])
        return {name: cell_kind(types[name], without_blanks(written[name])) for name in self.names}, rows.num_rows

    def types_without_blanks(self, body: bytes, rows: pa.Table) -> dict[str, pa.DataType]:
        """Return the types that columns of text have if their empty cells in quotes mean null."""
        names = [] if self.options.quoted_empty == "text" else [n for n in self.names if self.may_have_values(n, rows)]
        if not names:
            return {}
        blank = self.options.model_copy(update={"nulls": (*self.options.nulls, "")})
        again = parsed_csv(body, blank, self.names, {}, [], has_quoted_nulls=True)
        return {name: again.schema.field(name).type for name in names}

    def may_have_values(self, name: str, rows: pa.Table) -> bool:
        """Return whether a column of text has empty cells, and no `"NULL"` in quotes, which is text."""
        cells = rows[name]
        if not t.is_string(cells.type):
            return False
        is_blank = pc.equal(cells, pa.scalar(""))
        is_quoted_null = pc.and_not(pc.is_in(cells, pa.array(self.options.nulls, pa.string())), is_blank)
        return bool(pc.any(is_blank).as_py()) and not pc.any(is_quoted_null).as_py()


def is_number(dtype: pa.DataType) -> bool:
    """Return whether Arrow takes a column for numbers."""
    return t.is_integer(dtype) or t.is_floating(dtype)


def cell_kind(dtype: pa.DataType, written: "pa.ChunkedArray[Any]") -> Kind:
    """Return the kind of a column that Arrow's reader takes for `dtype`, and that is `written` like that.

    Arrow takes codes such as `007` for numbers, rounds long ones, takes `1` beside `true` for a truth value, and has
    the year 0.
    """
    if is_number(dtype):
        texts = pc.unique(pc.utf8_trim_whitespace(written)).drop_null()
        return reduce(joined, (number_kind(str(text), powers_are_numbers=False) for text in texts.to_pylist()), NULL)
    if t.is_boolean(dtype):
        words = pc.unique(pc.utf8_lower(written)).drop_null().to_pylist()
        return BOOLEAN if {"true", "false"}.issuperset(words) else TEXT
    if (t.is_date(dtype) or t.is_timestamp(dtype)) and early_in(written).any():
        return TEXT
    return next((kind for is_such, kind in KINDS if is_such(dtype)), TEXT)
