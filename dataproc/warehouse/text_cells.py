"""Text on its way into columns of other types: what workers read as PostgreSQL would, and what is left for PostgreSQL.

PostgreSQL is the judge of text. Workers read only spellings whose meaning does not depend on the version or the
settings of a server; for every other cell they report a misfit, and the load sends its column as text in a staged load,
where PostgreSQL casts it. Text without a zone is UTC as `timestamptz`; a `timestamp` has no zone, so one in the text is
passed over, as PostgreSQL does.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from dataproc.arrow.byte_strings import byte_strings
from dataproc.arrow.numbers import has_strange_bytes, out_of_range
from dataproc.arrow.texts import joined_text
from dataproc.arrow.timestamps import since_year_one, times_of, timestamps_of
from dataproc.domain.cells import Cells, Mask, cast_fitting, cleared, failing
from dataproc.warehouse.columns import Column
from dataproc.warehouse.numeric_wire import numeric_wire

Parsed = tuple[Cells, Mask]

DAY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
CLOCK = r"^[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?$"
MOMENT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?)?"
ZONE = r"(Z|[+-][0-9]{2}(:?[0-9]{2})?)"
UUID = r"^[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}$"
TRUE, FALSE = ("true", "t", "yes", "y", "on", "1"), ("false", "f", "no", "n", "off", "0")
"""https://www.postgresql.org/docs/current/datatype-boolean.html"""


def parsed(text: Cells, column: Column) -> Parsed:
    """Return text as the values that are sent to a column, null where a cell is left to PostgreSQL, and where."""
    if column.coding == "numeric":
        return numeric_wire(text)
    if column.coding == "uuid":
        return uuids(text)
    for is_such, parse in PARSERS:
        if is_such(column.arrow_type):
            return parse(text, column.arrow_type)
    return text, np.zeros(len(text), np.bool_)


def integers(text: Cells, dtype: pa.DataType) -> Parsed:
    """Return whole numbers in decimal digits."""
    if has_strange_bytes(text):
        text = pc.replace_substring_regex(pc.utf8_trim_whitespace(text), r"^\+([0-9])", r"\1")
        strange = failing(pc.match_substring_regex(text, "^-?[0-9]+$"))
        return cast_fitting(text, strange, dtype)
    return cast_fitting(text, np.zeros(len(text), np.bool_), dtype)


def floats(text: Cells, dtype: pa.DataType) -> Parsed:
    """Return floating-point numbers; one out of range is left to PostgreSQL, which refuses it."""
    tidy = pc.replace_substring_regex(pc.utf8_trim_whitespace(text), r"^\+([0-9.])", r"\1")
    values, bad = cast_fitting(tidy, np.zeros(len(text), np.bool_), dtype)
    beyond = out_of_range(tidy, values)
    return cleared(values, beyond), bad | beyond


def truths(text: Cells, dtype: pa.DataType) -> Parsed:
    """Return truth values in the words that PostgreSQL knows."""
    words = pc.utf8_lower(pc.utf8_trim_whitespace(text))
    is_true, is_false = (pc.is_in(words, pa.array(known)) for known in (TRUE, FALSE))
    known = pc.or_(is_true, is_false)
    bad = np.asarray(pc.and_(pc.invert(known), text.is_valid()), np.bool_)
    return pc.if_else(known, is_true, pa.scalar(None, dtype)), bad


def days(text: Cells, dtype: pa.DataType) -> Parsed:
    """Return days as ISO 8601 writes them."""
    moments, bad = moments_like(text, DAY, pa.timestamp("us"))
    return moments.cast(dtype), bad


def clocks(text: Cells, dtype: pa.DataType) -> Parsed:
    """Return times of day."""
    strange = failing(pc.match_substring_regex(text, CLOCK))
    times, bad = times_of(cleared(text, strange))
    return times.cast(dtype), strange | bad


def moments(text: Cells, dtype: pa.DataType) -> Parsed:
    """Return moments as ISO 8601 writes them, with a blank or a T before the time."""
    if not isinstance(dtype, pa.TimestampType):
        raise TypeError(dtype)
    if dtype.tz is None:
        return moments_like(pc.replace_substring_regex(text, rf"(:[0-9.]+){ZONE}$", r"\1"), f"{MOMENT}$", dtype)
    has_zone = pc.match_substring_regex(text, rf":[0-9.]+{ZONE}$")
    with_zone = pc.if_else(has_zone, text, joined_text(with_clock(text), "Z"))
    return moments_like(with_zone, f"{MOMENT}{ZONE}$", dtype)


def with_clock(text: Cells) -> Cells:
    """Return text with midnight after a day alone."""
    return pc.replace_substring_regex(text, r"^([0-9]{4}-[0-9]{2}-[0-9]{2})$", r"\1T00:00:00")


def moments_like(text: Cells, pattern: str, dtype: pa.DataType) -> Parsed:
    """Return text of a pattern as moments of the years 1 to 9999."""
    strange = failing(pc.match_substring_regex(text, pattern))
    values, bad = timestamps_of(cleared(text, strange), dtype)
    return since_year_one(values, strange | bad)


def uuids(text: Cells) -> Parsed:
    """Return the 16 bytes of each uuid, written with hyphens or without."""
    strange = failing(pc.match_substring_regex(text, UUID))
    digits = pc.replace_substring(cleared(text, strange), "-", "").to_pylist()
    return pa.array([None if each is None else bytes.fromhex(each) for each in digits], pa.binary()), strange


PARSERS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[Cells, pa.DataType], Parsed]], ...] = (
    (t.is_integer, integers),
    (t.is_floating, floats),
    (t.is_boolean, truths),
    (t.is_date, days),
    (t.is_time, clocks),
    (t.is_timestamp, moments),
    (t.is_binary, byte_strings),
)
