"""Columns of records: their types, and their values without loss."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.types as t

from dataproc.domain.cells import Cells, Mask
from dataproc.domain.rules import DECIMAL
from dataproc.sources.files.cells import values_of
from dataproc.sources.json_values import JSON, LARGEST, SMALLEST, BadLineError, kind_of, widened
from dataproc.sources.rest.answer import Written

ARROW: Mapping[str, pa.DataType] = {
    "bool": pa.bool_(), "int16": pa.int16(), "int32": pa.int32(), "int64": pa.int64(), "float32": pa.float32(),
    "float64": pa.float64(), "string": pa.string(), "date": pa.date32(), "time": pa.time64("us"),
    "timestamp": pa.timestamp("us"), "timestamptz": pa.timestamp("us", "UTC"), "json": JSON,
    "email": pa.string(), "uuid": pa.string(),
}  # fmt: skip

EXACT = 2**53
"""Whole numbers up to this are the same as float64."""
Bad = dict[int, BadLineError]


def declared(columns: Mapping[str, str]) -> pa.Schema:
    """Return the types of declared columns."""
    return pa.schema([(name, arrow_type(kind)) for name, kind in columns.items()])


def arrow_type(name: str) -> pa.DataType:
    """Return the Arrow type of a column type."""
    decimal = DECIMAL.fullmatch(name)
    return ARROW[name] if decimal is None else pa.decimal128(int(decimal["precision"]), int(decimal["scale"]))


def sampled(records: Iterable[object]) -> pa.Schema:
    """Return the types that records show, their fields in the order in which they appear."""
    kinds: dict[str, pa.DataType] = {}
    for record in records:
        if isinstance(record, dict):
            for name, value in record.items():
                kinds[name] = widened(kinds.get(name, pa.null()), kind_of(value))
    return pa.schema([(name, pa.string() if kind == pa.null() else kind) for name, kind in kinds.items()])


def as_rows(types: pa.Schema) -> pa.Schema:
    """Return the types of rows: JSON text is text."""
    return pa.schema([pa.field(f.name, pa.string() if f.type == JSON else f.type) for f in types])


def column_of(values: Sequence[Any], name: str, kind: pa.DataType, *, is_declared: bool) -> tuple[Cells, Bad]:
    """Return the values of a column, null where they do not fit, and why they do not."""
    if (fast := at_once(values, kind)) is not None:
        return fast, {}
    if is_declared and kind != JSON and not t.is_string(kind):
        return from_texts(values, name, kind)
    field = pa.field(name, pa.string() if kind == JSON else kind)
    cells, bad = list[object](), dict[int, BadLineError]()
    for at, value in enumerate(values):
        try:
            cells.append(one_value(value, kind, field))
        except BadLineError as exc:
            cells.append(None)
            bad[at] = exc
    return pa.array(cells, field.type), bad


def at_once(values: Sequence[Any], kind: pa.DataType) -> "Cells | None":
    """Return the values of a column in which all have its type; else `None`."""
    right = {pa.int64(): int, pa.float64(): Written, pa.string(): str, pa.bool_(): bool}.get(kind)
    if right is None or not {type(value) for value in values} <= {right, type(None)}:
        return None
    try:
        cells = pa.array(values, kind)
        return None if t.is_floating(kind) and too_large(cells).any() else cells
    except (pa.ArrowInvalid, OverflowError, UnicodeEncodeError):
        return None


def one_value(value: object, kind: pa.DataType, field: "pa.Field[Any]") -> object:
    """Return a value as its column holds it."""
    if value is None:
        return None
    if kind == JSON or field.type == pa.string():
        return checked_text(text_of(value, kind), field.name)
    if not fits(value, kind):
        raise BadLineError("type", f"column {field.name!r} does not fit type {kind}", field.name)
    return float(value) if kind == pa.float64() else value  # type: ignore[arg-type]  # it is a number


def fits(value: object, kind: pa.DataType) -> bool:
    """Whether a column of sampled numbers or truth values holds a value without changing it."""
    match value:
        case bool():
            return kind == pa.bool_()
        case int():
            return SMALLEST <= value <= LARGEST if kind == pa.int64() else kind == pa.float64() and abs(value) <= EXACT
        case float():
            return kind == pa.float64() and math.isfinite(value)
        case _:
            return False


def too_large(cells: Cells) -> Mask:
    """Return which numbers became infinite."""
    found: Mask = np.isinf(cells.to_numpy(zero_copy_only=False))
    return found


def text_of(value: object, kind: pa.DataType) -> str:
    """Return a value as text, or as JSON text, with every digit that it was written with."""
    if isinstance(value, str) and kind != JSON:
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


def from_texts(values: Sequence[Any], name: str, kind: pa.DataType) -> tuple[Cells, Bad]:
    """Return values cast from how they are written: so no digit is lost."""
    texts = [None if value is None else text_of(value, kind).encode(errors="replace").decode() for value in values]
    cells, mask = values_of(pa.array(texts, pa.string()), kind)
    if t.is_floating(kind):
        mask |= too_large(cells)
    reason = f"column {name!r} does not fit type {kind}"
    return cells, {int(at): BadLineError("type", reason, name) for at in mask.nonzero()[0]}
