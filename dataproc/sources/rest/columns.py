"""Columns of records: their types, and their values without loss."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.types as t

from dataproc.domain.cells import Cells, Mask
from dataproc.domain.rules import DECIMAL
from dataproc.domain.source_columns import Field, Kind, sql_type_of, text_field
from dataproc.sources.files.cells import values_of
from dataproc.sources.inference import (
    BOOLEAN,
    JSON,
    LARGEST,
    NULL,
    SMALLEST,
    TEXT,
    is_exact_double,
    joined,
    number_kind,
)
from dataproc.sources.json_values import BadLineError, misfit
from dataproc.sources.rest.answer import Written

ARROW: Mapping[str, pa.DataType] = {
    "bool": pa.bool_(), "int16": pa.int16(), "int32": pa.int32(), "int64": pa.int64(), "float32": pa.float32(),
    "float64": pa.float64(), "string": pa.string(), "date": pa.date32(), "time": pa.time64("us"),
    "timestamp": pa.timestamp("us"), "timestamptz": pa.timestamp("us", "UTC"),
    "email": pa.string(), "uuid": pa.string(),
}  # fmt: skip

Bad = dict[int, BadLineError]


def declared(columns: Mapping[str, str]) -> pa.Schema:
    """Return the types of declared columns."""
    return pa.schema([declared_field(name, kind) for name, kind in columns.items()])


def declared_field(name: str, kind: str) -> Field:
    """Return the field of a column type."""
    if kind == "json":
        return text_field(name, "jsonb")
    decimal = DECIMAL.fullmatch(kind)
    dtype = ARROW[kind] if decimal is None else pa.decimal128(int(decimal["precision"]), int(decimal["scale"]))
    return pa.field(name, dtype)


def kinds_in(records: Iterable[object]) -> dict[str, Kind]:
    """Return the kinds of the values of records, their fields in the order in which they appear."""
    kinds: dict[str, Kind] = {}
    for record in records:
        if isinstance(record, dict):
            for name, value in record.items():
                kinds[name] = joined(kinds.get(name, NULL), kind_of(value))
    return {name: TEXT if kind == NULL else kind for name, kind in kinds.items()}


def kind_of(value: object) -> Kind:
    """Return the kind that a value shows."""
    match value:
        case None:
            return NULL
        case bool():
            return BOOLEAN
        case Written():
            return number_kind(value.text, powers_are_numbers=True)
        case int():
            return number_kind(str(value), powers_are_numbers=True)
        case dict() | list():
            return JSON
        case _:
            return TEXT


def column_of(values: Sequence[Any], column: Field, *, is_declared: bool) -> tuple[Cells, Bad]:
    """Return the values of a column, null where they do not fit, and why they do not."""
    if (fast := at_once(values, column)) is not None:
        return fast, {}
    if not t.is_string(column.type) and (is_declared or not is_counted(column.type)):
        return from_texts(values, column)
    cells, bad = list[object](), dict[int, BadLineError]()
    for at, value in enumerate(values):
        try:
            cells.append(one_value(value, column))
        except BadLineError as exc:
            cells.append(None)
            bad[at] = exc
    return pa.array(cells, column.type), bad


def is_counted(dtype: pa.DataType) -> bool:
    """Return whether only numbers or truth values of JSON itself are values of a type."""
    return t.is_boolean(dtype) or t.is_integer(dtype) or t.is_floating(dtype)


def at_once(values: Sequence[Any], column: Field) -> "Cells | None":
    """Return the values of a column in which all have its type; else `None`."""
    if sql_type_of(column) is not None:
        return None
    right = {pa.int64(): int, pa.float64(): Written, pa.string(): str, pa.bool_(): bool}.get(column.type)
    if right is None or not {type(value) for value in values} <= {right, type(None)}:
        return None
    try:
        cells = pa.array(values, column.type)
        return None if t.is_floating(column.type) and too_large(cells).any() else cells
    except (pa.ArrowInvalid, OverflowError, UnicodeEncodeError):
        return None


def one_value(value: object, column: Field) -> object:
    """Return a value as its column holds it."""
    if value is None:
        return None
    if t.is_string(column.type):
        is_number = isinstance(value, int | float | str) and not isinstance(value, bool)
        if sql_type_of(column) == "numeric" and not is_number:
            raise misfit(column)
        return checked_text(text_of(value, column), column.name)
    if not fits(value, column.type):
        raise misfit(column)
    return float(value) if column.type == pa.float64() else value  # type: ignore[arg-type]  # it is a number


def fits(value: object, kind: pa.DataType) -> bool:
    """Whether a column of sampled numbers or truth values holds a value without changing it."""
    match value:
        case bool():
            return kind == pa.bool_()
        case Written():
            return kind == pa.float64() and is_exact_double(value.text)
        case int():
            if kind == pa.int64():
                return SMALLEST <= value <= LARGEST
            return kind == pa.float64() and is_exact_double(str(value))
        case _:
            return False


def too_large(cells: Cells) -> Mask:
    """Return which numbers became infinite."""
    found: Mask = np.isinf(cells.to_numpy(zero_copy_only=False))
    return found


def text_of(value: object, column: Field) -> str:
    """Return a value as text, or as JSON text, with every digit that it was written with."""
    if isinstance(value, str) and sql_type_of(column) != "jsonb":
        return value
    return json_text(value)


def json_text(value: object) -> str:
    """Return a value as JSON text, with every digit that it was written with."""
    match value:
        case Written():
            return value.text
        case dict():
            return "{" + ", ".join(f"{json_text(name)}: {json_text(one)}" for name, one in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(json_text, value)) + "]"
        case _:
            return json.dumps(value, ensure_ascii=False)


def checked_text(text: str, name: str) -> str:
    """Return a text that UTF-8 can hold."""
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise BadLineError("parse", f"column {name!r} holds half a character", name) from exc
    return text


def from_texts(values: Sequence[Any], column: Field) -> tuple[Cells, Bad]:
    """Return values cast from how they are written: so no digit is lost."""
    texts = [None if value is None else text_of(value, column).encode(errors="replace").decode() for value in values]
    cells, mask = values_of(pa.array(texts, pa.string()), column.type)
    return cells, {int(at): misfit(column) for at in mask.nonzero()[0]}
