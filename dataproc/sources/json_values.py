"""Values of JSON lines and the types they fit."""

import json
import re
from collections.abc import Callable
from typing import Any, NoReturn

import pyarrow as pa

JSON = pa.json_(pa.string())
"""The type of columns that hold objects or arrays, while they are read."""

SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
SMALLEST, LARGEST = -(2**63), 2**63 - 1


class BadLineError(ValueError):
    """A line, or one of its values, cannot be read; it becomes a reject."""

    def __init__(self, rule: str, reason: str, column: str | None = None) -> None:
        super().__init__(reason)
        self.rule, self.reason, self.column = rule, reason, column


def object_of(line: bytes) -> dict[str, object]:
    """Return the object that a line holds."""
    try:
        found = json.loads(line.decode(), parse_constant=refuse)
    except UnicodeDecodeError as exc:
        raise BadLineError("parse", "the line is not UTF-8") from exc
    except json.JSONDecodeError as exc:
        raise BadLineError("parse", f"the line is not JSON: {exc.msg} at character {exc.pos + 1}") from exc
    except (RecursionError, ValueError) as exc:
        raise BadLineError("parse", "the line is not JSON that can be read: too deep, or no number") from exc
    if not isinstance(found, dict):
        raise BadLineError("parse", "the line is not a JSON object")
    if SURROGATE.search(line):
        refuse_halves(found)
    return found


def refuse_halves(found: object) -> None:
    """Raise for half of a surrogate pair, which JSON can write and UTF-8 cannot."""
    try:
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError as exc:
        raise BadLineError("parse", "the line has half of a surrogate pair, which is no character") from exc


def refuse(name: str) -> NoReturn:
    """Raise for NaN and Infinity, which JSON does not have."""
    raise ValueError(name)


def kind_of(value: object) -> pa.DataType:
    """Return the type of a value."""
    match value:
        case None:
            return pa.null()
        case bool():
            return pa.bool_()
        case int():
            return pa.int64() if SMALLEST <= value <= LARGEST else pa.string()
        case float():
            return pa.float64()
        case dict() | list():
            return JSON
        case _:
            return pa.string()


def widened(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """Return the type that holds values of both types."""
    if one == other or other == pa.null():
        return one
    if one == pa.null():
        return other
    if JSON in (one, other):
        return JSON
    return pa.float64() if {one, other} == {pa.int64(), pa.float64()} else pa.string()


def converter(kind: pa.DataType, field: "pa.Field[Any]") -> Callable[[object], object]:
    """Return what makes values as a column holds them: of its kind, as JSON text, or as plain text."""
    if kind == JSON:
        return to_json
    if field.type == pa.string():
        return to_text
    is_truth, is_fraction = kind == pa.bool_(), kind == pa.float64()
    wanted = bool if is_truth else (float, int) if is_fraction else int

    def demand(value: object) -> object:
        # A truth value is a whole number to Python.
        is_right = isinstance(value, wanted) and isinstance(value, bool) == is_truth
        if not is_right or (isinstance(value, int) and not SMALLEST <= value <= LARGEST):
            raise BadLineError("type", f"column {field.name!r} does not fit type {kind}", field.name)
        return float(value) if is_fraction else value  # type: ignore[arg-type]  # it is a number

    return demand


def to_value(value: object, kind: pa.DataType, field: "pa.Field[Any]") -> object:
    """Return a value as its column holds it."""
    return None if value is None else converter(kind, field)(value)


def to_json(value: object) -> str:
    """Return a value as JSON text."""
    return json.dumps(value, ensure_ascii=False, default=float)


def to_text(value: object) -> str:
    """Return a value as text, numbers written as Arrow writes them."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return str(pa.scalar(value).cast(pa.string()))
    return json.dumps(value, ensure_ascii=False)
