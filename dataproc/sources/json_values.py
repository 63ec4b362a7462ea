"""Values of JSON as the characters that stand in the source, and the types they show.

No number passes through a float: a value stays the characters of the source until the type of its column is known.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import Enum, auto
from functools import partial
from typing import NoReturn, TypeAlias

import msgspec
import pyarrow as pa
import pyarrow.types as t

from dataproc.domain.source_columns import Field, Kind, is_inferred_double, read_as, sql_type_of
from dataproc.sources.files.cells import values_of, words_in
from dataproc.sources.inference import BOOLEAN, JSON, NULL, TEXT, is_bigint, number_kind

Raw: TypeAlias = bytes
"""The characters of one value, in UTF-8."""

ESCAPED = re.compile(r'["\\\x00-\x1f]')
"""Characters that JSON escapes; msgspec takes no names of fields that have one."""
WHOLE = re.compile(rb"-?[0-9]+")
NUMBER_STARTS = frozenset(b"-0123456789")
OPENING = frozenset(b"[{")
TEXT_STARTS = ord('"')

ANY = msgspec.json.Decoder(msgspec.Raw)
OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
STRING = msgspec.json.Decoder(str)
EXACT = msgspec.json.Encoder(decimal_format="number")


class BadLineError(ValueError):
    """A line, or one of its values, cannot be read; it becomes a reject."""

    def __init__(self, rule: str, reason: str, column: str | None = None) -> None:
        super().__init__(reason)
        self.rule, self.reason, self.column = rule, reason, column


class Casting(Enum):
    """How values become those of a column that is not text."""

    NATIVE = auto()
    """Numbers of JSON are values of number columns, and its truth values those of boolean ones."""
    DECLARED = auto()
    """The text of a value is cast, be it a number, a string or anything else: `"7"` is a whole number."""


def object_of(text: bytes, noun: str = "line") -> dict[str, Raw]:
    """Return the object that a line, or what `noun` names, holds; of a repeated key, the last value."""
    try:
        text.decode()
        return {name: bytes(value) for name, value in OBJECT.decode(text).items()}
    except UnicodeDecodeError as exc:
        raise BadLineError("parse", f"the {noun} is not UTF-8") from exc
    except msgspec.ValidationError as exc:
        raise BadLineError("parse", f"the {noun} is not a JSON object") from exc
    except msgspec.DecodeError as exc:
        raise BadLineError("parse", f"the {noun} is not JSON: {problem_of(text, exc)}") from exc
    except RecursionError as exc:
        raise BadLineError("parse", f"the {noun} is not JSON that can be read: too deep") from exc


def member_decoder(name: str) -> Callable[[bytes], Raw]:
    """Return what gives the value of one member of an object; null where the object lacks it.

    The function raises `msgspec.DecodeError` or `RecursionError` for text that is not an object of JSON.
    """
    if ESCAPED.search(name):
        return lambda record: bytes(OBJECT.decode(record).get(name, b"null"))
    fields = [("value", msgspec.Raw, msgspec.Raw(b"null"))]
    decode = msgspec.json.Decoder(msgspec.defstruct("Member", fields, rename={"value": name}, gc=False)).decode
    return lambda record: bytes(decode(record).value)  # type: ignore[attr-defined]  # the type is made above


def problem_of(text: bytes, exc: msgspec.DecodeError) -> str:
    """Return the problem that the decoder reports, and its place."""
    if is_json(text):
        return "half of a surrogate pair is not a character"
    return str(exc).removeprefix("JSON is malformed: ").removesuffix("Input data was truncated") or "it is cut off"


def is_json(text: bytes) -> bool:
    """Return whether a text is JSON; unlike the decoder, JSON allows half of a surrogate pair as an escape."""
    with suppress(msgspec.DecodeError):
        ANY.decode(text)
        return True
    try:
        json.loads(text, parse_int=str, parse_float=str, parse_constant=refuse)
    except (ValueError, RecursionError):
        return False
    return True


def refuse(name: str) -> NoReturn:
    """Raise for NaN and Infinity, which JSON does not have."""
    raise ValueError(name)


def raws_of(record: object) -> dict[str, Raw]:
    """Return the values of a parsed object, whose numbers are `int` or `Decimal`, as their characters."""
    if not isinstance(record, dict):
        raise BadLineError("parse", "the record is not a JSON object")
    try:
        return {name: EXACT.encode(value) for name, value in record.items()}
    except UnicodeEncodeError as exc:
        raise BadLineError("parse", "the record has half of a surrogate pair, which is not a character") from exc


def text_of_object(members: Mapping[str, Raw]) -> Raw:
    """Return the text of an object with these members."""
    return b"{%b}" % b", ".join(EXACT.encode(name) + b": " + value for name, value in members.items())


def kind_of(raw: Raw) -> Kind:
    """Return the kind that a value shows."""
    start = raw[0]
    if start == TEXT_STARTS:
        return TEXT
    if start in NUMBER_STARTS:
        return number_kind(raw.decode(), powers_are_numbers=True)
    if start in OPENING:
        return JSON
    return NULL if raw == b"null" else BOOLEAN


def text_of(raw: Raw) -> str:
    """Return the text of a string, and the characters of any other value."""
    return STRING.decode(raw) if raw[0] == TEXT_STARTS else raw.decode()


def converter(column: Field) -> Callable[[Raw], object]:
    """Return the function that makes a value of a column from the characters of a value other than null."""
    dtype, sql_type = column.type, read_as(column)
    if sql_type == "jsonb":
        return bytes.decode
    if t.is_boolean(dtype):
        return partial(truth, column=column)
    if t.is_integer(dtype):
        return partial(whole, column=column)
    if not t.is_string(dtype):
        return partial(other, column=column)
    return partial(exact_number, column=column) if sql_type == "numeric" else text_of


def misfit(column: Field) -> BadLineError:
    """Return the error for a value of another type."""
    told = sql_type_of(column) or column.type
    return BadLineError("type", f"column {column.name!r} does not fit type {told}", column.name)


def truth(raw: Raw, column: Field) -> bool:
    """Return a truth value."""
    if raw not in (b"true", b"false"):
        raise misfit(column)
    return raw == b"true"


def whole(raw: Raw, column: Field) -> int:
    """Return a whole number of 64 bits."""
    if not WHOLE.fullmatch(raw) or not is_bigint(raw):
        raise misfit(column)
    return int(raw)


def exact_number(raw: Raw, column: Field) -> str:
    """Return the characters of a number; those of a string as well, which PostgreSQL may read as one."""
    if raw[0] in NUMBER_STARTS:
        return raw.decode()
    if raw[0] != TEXT_STARTS or words_in(pa.array([text := text_of(raw)])).any():
        raise misfit(column)
    return text


def other(raw: Raw, column: Field) -> object:
    """Return a value of a type that has a text form, such as a decimal or a day."""
    is_number = raw[0] in NUMBER_STARTS
    if raw[0] in OPENING or (t.is_floating(column.type) and not is_number):
        raise misfit(column)
    values, bad = values_of(pa.array([text_of(raw)]), column.type, is_exact=is_inferred_double(column), has_codes=False)
    if bad.any():
        raise misfit(column)
    return values[0].as_py()
