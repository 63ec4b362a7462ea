"""Blocks of JSON records as Arrow rows, where every record is an object whose values fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from typing import Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from dataproc.arrow.numbers import edges_and_bytes
from dataproc.domain.cells import Cells, Mask, cleared
from dataproc.domain.chunk import POSITION_FIELD
from dataproc.domain.source_columns import Field, is_inferred_double, read_as, sql_type_of
from dataproc.sources.files.cells import values_of, words_in
from dataproc.sources.json_values import ESCAPED, NUMBER_STARTS, OBJECT, OPENING, TEXT_STARTS, Casting, text_of

OBJECTS = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
PLAIN: tuple[tuple[Callable[[pa.DataType], bool], type], ...] = (
    (t.is_boolean, bool),
    (t.is_integer, int),
    (t.is_string, str),
)
"""The types that the decoder of a line makes; all other columns come as the characters of their values."""
Bytes = npt.NDArray[np.uint8]
Decode: TypeAlias = Callable[[bytes], msgspec.Struct]
DecodeArray: TypeAlias = Callable[[bytes], list[msgspec.Struct]]


@dataclass(frozen=True, slots=True)
class SiftedRecords:
    """The rows of records whose values fit, numbered by `POSITION`, and the places of the others in their list.

    `broken` are those that are not an object or have an unknown key; `misfits` have a place for each wrong value.
    """

    rows: pa.Table
    broken: Sequence[int]
    misfits: Sequence[tuple[int, Field]]


@dataclass(frozen=True, slots=True)
class BlockDecoder:
    """Decodes records into the columns of a schema, each into an object of a fixed type.

    A key that is not a column is an error, unless `ignores_unknown`.
    """

    schema: pa.Schema
    casting: Casting = Casting.NATIVE
    ignores_unknown: bool = False
    decoders: tuple[Decode, Decode] = field(init=False)
    array_decoders: tuple[DecodeArray, DecodeArray] = field(init=False)
    columns: tuple[tuple[Callable[[msgspec.Struct], Any], Field], ...] = field(init=False)

    def __post_init__(self) -> None:
        """Make the types of the records: one whose decoder makes values, and one that keeps all their characters."""
        keys = [f"f{at}" for at in range(len(self.schema))]
        if any(map(ESCAPED.search, self.schema.names)):
            named = NamedDecoder(dict(zip(self.schema.names, keys, strict=True)), self.ignores_unknown)
            object.__setattr__(self, "decoders", (named.decode, named.decode))
            object.__setattr__(self, "array_decoders", (named.decode_array, named.decode_array))
        else:
            typed = [field_of(key, column) for key, column in zip(keys, self.schema, strict=True)]
            records = self.record(typed), self.record([raw_field(key) for key in keys])
            object.__setattr__(self, "decoders", tuple(map(decoder_of, records)))
            object.__setattr__(self, "array_decoders", tuple(map(array_decoder_of, records)))
        object.__setattr__(self, "columns", tuple(zip(map(attrgetter, keys), self.schema, strict=True)))

    def record(self, fields: Sequence[tuple[str, Any, Any]]) -> type[msgspec.Struct]:
        """Return the type of records with these fields."""
        names = {key: name for (key, *_), name in zip(fields, self.schema.names, strict=True)}
        is_strict = not self.ignores_unknown
        return msgspec.defstruct("Record", fields, rename=names, forbid_unknown_fields=is_strict, gc=False)

    def rows_of_lines(self, block: bytes) -> pa.Table | None:
        """Return the rows of a block, one a line; `None`: a line is blank, damaged, or does not fit."""
        found = block.split(b"\n")
        if not found[-1]:
            found.pop()
        return self.rows_of(found) if are_utf8([block]) else None

    def rows_of(self, records: Sequence[bytes]) -> pa.Table | None:
        """Return the rows of records in UTF-8; `None`: one is not an object, or does not fit."""
        return self.fitting(partial(decoded, decode, records) for decode in self.decoders)

    def rows_of_array(self, elements: bytes) -> pa.Table | None:
        """Return the rows of the elements of an array, given without brackets; `None`: one does not fit."""
        if not are_utf8([elements]):
            return None
        return self.fitting(partial(decode, b"[%b]" % elements) for decode in self.array_decoders)

    def fitting(self, attempts: Iterable[Callable[[], Sequence[msgspec.Struct]]]) -> pa.Table | None:
        """Return the rows of the first attempt to decode records that succeeds.

        The second one keeps all characters: values of several types stand in one column of text, or a number is too
        large for its column.
        """
        for attempt in attempts:
            try:
                found = attempt()
            except (msgspec.DecodeError, RecursionError):
                continue
            if (rows := self.table(found)) is not None:
                return rows
        return None

    def sifted(self, records: Sequence[bytes], positions: Sequence[int]) -> SiftedRecords:
        """Return the rows of those records in UTF-8 that fit, and which do not."""
        found, places, broken = list[msgspec.Struct](), list[int](), list[int]()
        decode = self.decoders[1]
        for place, record in enumerate(records):
            try:
                found.append(decode(record))
                places.append(place)
            except (msgspec.DecodeError, RecursionError):
                broken.append(place)
        fits, misfits, columns = np.ones(len(found), np.bool_), list[tuple[int, Field]](), list[Cells]()
        for value_of, column in self.columns:
            cells, bad = judged(raws_of(list(map(value_of, found))), column, self.casting)
            columns.append(cells)
            fits &= ~bad
            misfits += [(places[at], column) for at in bad.nonzero()[0]]
        numbers = pa.array([positions[place] for place in places], pa.int64())
        rows = pa.table([*columns, numbers], schema=self.schema.append(POSITION_FIELD))
        return SiftedRecords(rows.filter(pa.array(fits)), broken, misfits)

    def table(self, found: Sequence[msgspec.Struct]) -> pa.Table | None:
        """Return decoded records as rows; `None`: a value does not fit."""
        # A list for each column takes half the time of a tuple for each record, which Python's collector looks at.
        cells = [cells_of(list(map(value_of, found)), column, self.casting) for value_of, column in self.columns]
        fitting = [each for each in cells if each is not None]
        return pa.table(fitting, schema=self.schema) if len(fitting) == len(cells) else None


@dataclass(frozen=True, slots=True)
class NamedDecoder:
    """Decodes records whose columns have any names into objects that keep the characters of all values.

    `keys` are the fields of the objects by the names of the columns.
    """

    keys: Mapping[str, str]
    ignores_unknown: bool
    record: type[msgspec.Struct] = field(init=False)

    def __post_init__(self) -> None:
        """Make the type of the objects."""
        fields = [raw_field(key) for key in self.keys.values()]
        object.__setattr__(self, "record", msgspec.defstruct("Record", fields, gc=False))

    def decode(self, text: bytes) -> msgspec.Struct:
        """Return the object of a record."""
        return self.object_of(OBJECT.decode(text))

    def decode_array(self, text: bytes) -> list[msgspec.Struct]:
        """Return the objects of an array of records."""
        return list(map(self.object_of, OBJECTS.decode(text)))

    def object_of(self, members: Mapping[str, msgspec.Raw]) -> msgspec.Struct:
        """Return the object with these members."""
        if not self.ignores_unknown and any(name not in self.keys for name in members):
            raise msgspec.ValidationError("a key is not a column")
        return self.record(**{self.keys[name]: value for name, value in members.items() if name in self.keys})


def decoded(decode: Decode, records: Iterable[bytes]) -> list[msgspec.Struct]:
    """Return decoded records."""
    return list(map(decode, records))


def decoder_of(record: type[msgspec.Struct]) -> Decode:
    """Return what decodes a record of a type."""
    return msgspec.json.Decoder(record).decode


def array_decoder_of(record: type[msgspec.Struct]) -> DecodeArray:
    """Return what decodes an array of records of a type."""
    return msgspec.json.Decoder(list[record]).decode  # type: ignore[valid-type]  # it is made of a schema


def are_utf8(texts: Iterable[bytes]) -> bool:
    """Return whether texts are UTF-8; the decoder does not look at the bytes of values that are kept as they are."""
    try:
        for text in texts:
            text.decode()
    except UnicodeDecodeError:
        return False
    return True


def field_of(key: str, column: Field) -> tuple[str, Any, Any]:
    """Return the field of the records for a column."""
    made = None if sql_type_of(column) else next((kind for is_such, kind in PLAIN if is_such(column.type)), None)
    return raw_field(key) if made is None else (key, made | None, None)


def raw_field(key: str) -> tuple[str, Any, Any]:
    """Return a field that keeps the characters of its value."""
    return (key, msgspec.Raw, msgspec.Raw(b"null"))


def cells_of(values: Sequence[Any], column: Field, casting: Casting) -> Cells | None:
    """Return the values of a column; `None`: one does not fit."""
    if not values or not isinstance(values[0], msgspec.Raw):
        try:
            made: Cells = pa.array(values, column.type)
        except (pa.ArrowInvalid, OverflowError):
            return None
        return made
    found, bad = judged(raws_of(values), column, casting)
    return None if bad.any() else found


def raws_of(values: Sequence[msgspec.Raw]) -> Cells:
    """Return the characters of values."""
    raws: Cells = pa.array(list(map(bytes, values)), pa.binary())
    return raws.cast(pa.string())


def judged(raws: Cells, column: Field, casting: Casting) -> tuple[Cells, Mask]:
    """Return values from their characters, `null` among them, and which of them do not fit."""
    present: Cells = pc.if_else(pc.equal(raws, pa.scalar("null")), None, raws)
    if read_as(column) == "jsonb":
        return present, np.zeros(len(raws), np.bool_)
    starts = first_bytes(raws)
    is_text = starts == TEXT_STARTS
    if t.is_string(column.type):
        texts = unquoted(present, is_text)
        return texts, misnumbered(texts, starts, is_text, column)
    strange = np.isin(starts, list(strange_starts(column.type, casting)))
    texts = unquoted(cleared(present, strange), is_text)
    values, bad = values_of(texts, column.type, is_exact=is_inferred_double(column), has_codes=False)
    return values, strange | bad


def misnumbered(texts: Cells, starts: Bytes, is_text: Mask, column: Field) -> Mask:
    """Return which values of a text column are not numbers, where it is one of exact numbers."""
    if read_as(column) != "numeric":
        return np.zeros(len(texts), np.bool_)
    is_number = np.isin(starts, list(NUMBER_STARTS)) | np.asarray(pc.is_null(texts), np.bool_)
    words = words_in(texts) if is_text.any() else np.zeros(len(texts), np.bool_)
    return np.where(is_text, words, ~is_number)


def strange_starts(dtype: pa.DataType, casting: Casting) -> frozenset[int]:
    """Return the first characters of values of JSON that a column does not take; a number or word is cast instead."""
    if casting is Casting.DECLARED:
        return frozenset()
    is_counted = t.is_boolean(dtype) or t.is_integer(dtype) or t.is_floating(dtype)
    numbers = NUMBER_STARTS if t.is_boolean(dtype) else frozenset[int]()
    return OPENING | numbers | (frozenset({TEXT_STARTS}) if is_counted else frozenset())


def first_bytes(raws: Cells) -> Bytes:
    """Return the first byte of each text; there are no empty ones."""
    edges, data = edges_and_bytes(raws)
    return data[edges[:-1]]


def unquoted(raws: Cells, is_text: Mask) -> Cells:
    """Return the texts of strings, and other values as they are."""
    if not is_text.any():
        return raws
    if not pc.any(pc.match_substring(raws, "\\")).as_py():
        # Without a backslash, no quote stands within.
        found: Cells = pc.if_else(pa.array(is_text), pc.utf8_slice_codeunits(raws, 1, -1), raws)
        return found
    return pa.array([None if each is None else text_of(each.encode()) for each in raws.to_pylist()], pa.string())
