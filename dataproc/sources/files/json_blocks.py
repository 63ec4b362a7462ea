"""Blocks of JSON records as Arrow rows, where every record is an object whose values fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from dataproc.arrow.numbers import edges_and_bytes
from dataproc.domain.cells import Cells, Mask
from dataproc.domain.source_columns import Field, sql_type_of
from dataproc.sources.files.cells import values_of, words_in
from dataproc.sources.json_values import NUMBER_STARTS, OPENING, TEXT_STARTS, text_of

NULL = pa.scalar("null")
PLAIN: tuple[tuple[Callable[[pa.DataType], bool], type], ...] = (
    (t.is_boolean, bool),
    (t.is_integer, int),
    (t.is_string, str),
)
"""The types that the decoder of a line makes; all other columns come as the characters of their values."""
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class BlockDecoder:
    """Decodes blocks of records into the columns of a schema, by a record of a fixed type."""

    schema: pa.Schema
    decode: Callable[[bytes], msgspec.Struct] = field(init=False)
    decode_array: Callable[[bytes], list[msgspec.Struct]] = field(init=False)
    columns: tuple[tuple[Callable[[msgspec.Struct], Any], Field], ...] = field(init=False)

    def __post_init__(self) -> None:
        """Make the type of the records; a key that is not a column is an error."""
        names = {f"f{at}": name for at, name in enumerate(self.schema.names)}
        fields = [field_of(key, column) for key, column in zip(names, self.schema, strict=True)]
        record = msgspec.defstruct("Record", fields, rename=names, forbid_unknown_fields=True, gc=False)
        object.__setattr__(self, "decode", msgspec.json.Decoder(record).decode)
        object.__setattr__(self, "decode_array", msgspec.json.Decoder(list[record]).decode)  # type: ignore[valid-type]  # it is made here
        object.__setattr__(self, "columns", tuple(zip(map(attrgetter, names), self.schema, strict=True)))

    def rows_of_lines(self, block: bytes) -> pa.Table | None:
        """Return the rows of a block, one a line; `None`: a line is blank, damaged, or does not fit."""
        found = block.split(b"\n")
        if not found[-1]:
            found.pop()
        return self.rows(block, lambda: list(map(self.decode, found)))

    def rows_of(self, records: Sequence[bytes]) -> pa.Table | None:
        """Return the rows of single records; `None`: one is damaged, or does not fit."""
        return self.rows(b"\n".join(records), lambda: list(map(self.decode, records)))

    def rows_of_array(self, elements: bytes) -> pa.Table | None:
        """Return the rows of the elements of an array, given without brackets; `None`: one does not fit."""
        return self.rows(elements, lambda: self.decode_array(b"[%b]" % elements))

    def rows(self, text: bytes, decode: Callable[[], list[msgspec.Struct]]) -> pa.Table | None:
        """Return the rows of the records that `decode` makes of a text; `None`: one does not fit."""
        try:
            # The decoder takes the bytes of values that are kept as they are for UTF-8.
            text.decode()
            records = decode()
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        # A list for each column takes half the time of a tuple for each record, which Python's collector looks at.
        cells = [cells_of(list(map(value_of, records)), column) for value_of, column in self.columns]
        fitting = [each for each in cells if each is not None]
        return pa.table(fitting, schema=self.schema) if len(fitting) == len(cells) else None


def field_of(key: str, column: Field) -> tuple[str, Any, Any]:
    """Return the field of the records for a column."""
    made = None if sql_type_of(column) else next((kind for is_such, kind in PLAIN if is_such(column.type)), None)
    return (key, msgspec.Raw, msgspec.Raw(b"null")) if made is None else (key, made | None, None)


def cells_of(values: Sequence[Any], column: Field) -> Cells | None:
    """Return the values of a column; `None`: one does not fit."""
    if not values or not isinstance(values[0], msgspec.Raw):
        try:
            made: Cells = pa.array(values, column.type)
        except (pa.ArrowInvalid, OverflowError):
            return None
        return made
    raws: Cells = pa.array(list(map(bytes, values)), pa.binary())
    return cells_of_raws(raws.cast(pa.string()), column)


def cells_of_raws(raws: Cells, column: Field) -> Cells | None:
    """Return values from their characters, `null` among them; `None`: one does not fit."""
    present: Cells = pc.if_else(pc.equal(raws, NULL), None, raws)
    if sql_type_of(column) == "jsonb":
        return present
    starts = first_bytes(raws)
    is_text = starts == TEXT_STARTS
    if t.is_string(column.type):
        if sql_type_of(column) == "numeric" and not are_numbers(starts[~is_text], raws.filter(pa.array(~is_text))):
            return None
        texts = unquoted(present, is_text)
        is_wrong = sql_type_of(column) == "numeric" and is_text.any() and words_in(texts).any()
        return None if is_wrong else texts
    if np.isin(starts, list(OPENING)).any() or (t.is_floating(column.type) and is_text.any()):
        return None
    values, bad = values_of(unquoted(present, is_text), column.type)
    return None if bad.any() else values


def are_numbers(starts: Bytes, raws: Cells) -> bool:
    """Return whether values are numbers or null."""
    return bool(np.isin(starts, list(NUMBER_STARTS)).all()) or bool(
        (np.isin(starts, list(NUMBER_STARTS)) | np.asarray(pc.equal(raws, NULL))).all()
    )


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
