"""What is known of the types of a source's columns before the source is read.

A cell of a text format travels as the characters of the source until the type of its column is known. The type is
known from, in this order: a declared type (a step casts the column), an existing column of the target, inference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeAlias

import pyarrow as pa

SQL_TYPE = b"sql_type"
"""Key of a field's metadata: the PostgreSQL type that the characters of a text column stand for in a new table."""

INFERRED = b"inferred"
"""Key of a field's metadata: the type is inferred from samples, so a value in another form does not fit."""
AS_CHARACTERS = b"as_characters"
"""Key of a field's metadata: the existing target column takes any text, so the sampled type rejects no value."""

SAMPLED_TYPE = b"sampled_type"
"""Key of a field's metadata: the PostgreSQL type of the numbers that a declared column of text shows in samples."""

SEEN_SCALE = b"seen_scale"
"""Key of a field's metadata: the scale of the decimals as which steps see a text column that they do not change."""

NO_TEXT = b"no_text"
"""Key of a field's metadata: the characters of a text column stand for values that are not text."""

MAX_DIGITS = 38
"""Digits of the decimals that steps compute with."""
COMPUTED_SCALE = 9
"""Digits after the point that such a decimal has at least, because a sample does not show all of them."""

DOUBLE = "double precision"
NUMBER_TYPES = ("smallint", "integer", "bigint", "numeric", "real", DOUBLE)
DOCUMENTS = ("json", "jsonb")
TEXT_TYPES = ("text", "character varying", "character", "citext", "name", "bytea")
"""PostgreSQL types that have a value without characters."""

Field: TypeAlias = "pa.Field[Any]"


class TargetColumn(NamedTuple):
    """A column of an existing target: its type as PostgreSQL calls it, and the Arrow type that steps compute with.

    `dtype` is `None` where Arrow has no such type.
    """

    sql_type: str
    dtype: pa.DataType | None


class Kind(NamedTuple):
    """An inferred type: as PostgreSQL calls it, and the Arrow type that steps compute with."""

    sql_type: str
    dtype: pa.DataType


@dataclass(frozen=True, slots=True)
class SourceColumns:
    """What the steps of a job, and its target, say of columns; all names are those in the source.

    `declared` columns are cast by a step, those in `valued` to a type that is not text. With `computed` ones a step
    computes (names in lower case, as expressions do not tell cases apart); `None`: with all of them. Steps read the
    values of `looked` ones without a change. `renamed` has the last name of each column that is not called the same at
    the end, `None` for one that does not arrive.
    `target` has the columns of an existing target by their own names, `late` those that the run has met after the
    samples.
    """

    declared: frozenset[str] = frozenset()
    computed: frozenset[str] | None = frozenset()
    looked: frozenset[str] = frozenset()
    renamed: Mapping[str, str | None] = field(default_factory=dict)
    target: Mapping[str, TargetColumn] = field(default_factory=dict)
    valued: frozenset[str] = frozenset()
    late: Mapping[str, Kind] = field(default_factory=dict)

    def with_target(self, target: Mapping[str, TargetColumn], late: Mapping[str, Kind]) -> SourceColumns:
        """Return the same with the columns of an existing target, and late ones."""
        return replace(self, target=target, late=late)

    def field(self, name: str, kind: Kind, *, is_json: bool = False) -> Field:
        """Return how a column with values of an inferred kind is read; with `is_json`, from values of JSON.

        A value of JSON is one in a column of documents, whatever the others are: the string `"42"` stays a string.
        """
        if name in self.declared:
            return declared_field(name, kind)
        column = self.target_of(name)
        if is_json and column is not None and column.sql_type in DOCUMENTS:
            return text_field(name, "jsonb")
        if self.is_computed(name):
            return computed_field(name, kind, column)
        if name.lower() not in self.looked:
            return written_field(name, kind, column)
        scale = self.seen_scale(name, kind)
        if scale is None:
            return computed_field(name, kind, column)
        return with_seen_scale(written_field(name, kind, column), scale)

    def seen_scale(self, name: str, kind: Kind) -> int | None:
        """Return the scale of the decimals as which steps see a column of exact numbers; `None` for other columns."""
        column = self.target_of(name)
        if not (kind.sql_type == "numeric" if column is None else column.sql_type.startswith("numeric")):
            return None
        return kind.dtype.scale if isinstance(kind.dtype, pa.Decimal128Type) else COMPUTED_SCALE

    def schema(self, kinds: Mapping[str, Kind], *, is_json: bool = False) -> pa.Schema:
        """Return how columns with values of inferred kinds are read."""
        return pa.schema([self.field(name, kind, is_json=is_json) for name, kind in kinds.items()])

    def cell_schema(self, kinds: Mapping[str, Kind]) -> pa.Schema:
        """Return the same for the cells of CSV; a column of characters carries whether they stand for text."""
        return pa.schema([self.cell_field(name, kind) for name, kind in kinds.items()])

    def cell_field(self, name: str, kind: Kind) -> Field:
        """Return how a column of CSV is read."""
        column = self.field(name, kind)
        if not pa.types.is_string(column.type) or self.is_text(name, kind):
            return column
        return pa.field(name, column.type, metadata={**(column.metadata or {}), NO_TEXT: b"yes"})

    def is_text(self, name: str, kind: Kind) -> bool:
        """Return whether the values of a column are text."""
        if name in self.declared:
            return name not in self.valued
        column = self.target_of(name)
        return (kind if column is None else column).sql_type.partition("(")[0] in TEXT_TYPES

    def is_computed(self, name: str) -> bool:
        """Return whether a step needs the values of a column, not only its characters."""
        return self.computed is None or name.lower() in self.computed

    def is_known(self, name: str) -> bool:
        """Return whether a step declares the type of a column, or the target has it."""
        return name in self.declared or self.target_of(name) is not None

    def target_of(self, name: str) -> TargetColumn | None:
        """Return the existing column that a column goes into, if there is one."""
        last = self.renamed.get(name, name)
        return None if last is None else self.target.get(last)


EVERYTHING_INFERRED = SourceColumns()
"""Nothing declared, no target, no step."""


def declared_field(name: str, kind: Kind) -> Field:
    """Return the field of a column that a step reads as text; it carries which numbers its samples show, if any."""
    metadata = {SAMPLED_TYPE: kind.sql_type.encode()} if kind.sql_type in ("numeric", DOUBLE) else None
    return pa.field(name, pa.string(), metadata=metadata)


def sampled_fractions(column: Field) -> str | None:
    """Return the type of the numbers in a column of text that are not whole numbers of 64 bits; `None`: it has none."""
    found = (column.metadata or {}).get(SAMPLED_TYPE)
    sql_type = sql_type_of(column) if found is None else found.decode()
    return sql_type if sql_type in ("numeric", "real", DOUBLE) else None


def inferred_field(name: str, kind: Kind) -> Field:
    """Return the field of a column of an inferred type; of numbers, it carries that no digit may be lost."""
    sql_type = {SQL_TYPE: kind.sql_type.encode()} if kind.sql_type in ("numeric", DOUBLE) else {}
    return pa.field(name, kind.dtype, metadata={**sql_type, INFERRED: b"yes"})


def inferred_text(name: str, kind: Kind) -> Field:
    """Return the field of a column whose characters stand for values of an inferred type."""
    return pa.field(name, pa.string(), metadata={SQL_TYPE: kind.sql_type.encode(), INFERRED: b"yes"})


def is_inferred(column: Field) -> bool:
    """Return whether a column has its type because of its values."""
    return INFERRED in (column.metadata or {})


def is_inferred_double(column: Field) -> bool:
    """Return whether a column is `double precision` because of its values: one that it would round does not fit."""
    return sql_type_of(column) == DOUBLE


def computed_field(name: str, kind: Kind, column: TargetColumn | None) -> Field:
    """Return the field of a column whose values come to a step."""
    if column is not None and column.dtype is not None:
        return pa.field(name, column.dtype)
    return text_field(name, "jsonb") if kind.sql_type == "jsonb" else inferred_field(name, kind)


def written_field(name: str, kind: Kind, column: TargetColumn | None) -> Field:
    """Return the field of a column that no step changes."""
    if column is not None:
        return targeted_field(name, kind, column)
    return inferred_text(name, kind) if kind.sql_type in ("numeric", "jsonb") else inferred_field(name, kind)


def targeted_field(name: str, kind: Kind, column: TargetColumn) -> Field:
    """Return the field of a column whose characters go into an existing column."""
    if column.sql_type.partition("(")[0] in NUMBER_TYPES or kind.sql_type not in ("numeric", "jsonb"):
        return text_field(name, kind.sql_type)
    return pa.field(name, pa.string(), metadata={SQL_TYPE: kind.sql_type.encode(), AS_CHARACTERS: b"yes"})


def text_field(name: str, sql_type: str) -> Field:
    """Return the field of a text column whose characters stand for values of a PostgreSQL type."""
    return pa.field(name, pa.string(), metadata=None if sql_type == "text" else {SQL_TYPE: sql_type.encode()})


def sql_type_of(column: Field) -> str | None:
    """Return the PostgreSQL type that a field carries besides its Arrow type; `None`: it carries none."""
    found = (column.metadata or {}).get(SQL_TYPE)
    return None if found is None else found.decode(errors="replace")


def holds_text(column: Field) -> bool:
    """Return whether the values of a column of a CSV file are text."""
    return pa.types.is_string(column.type) and NO_TEXT not in (column.metadata or {})


def with_seen_scale(column: Field, scale: int) -> Field:
    """Return a text column with the scale of the decimals as which steps see it."""
    return pa.field(column.name, column.type, metadata={**(column.metadata or {}), SEEN_SCALE: str(scale).encode()})


def seen_field(column: Field) -> Field:
    """Return a column as steps see it that do not change it: the same field, unless it carries a scale."""
    scale = (column.metadata or {}).get(SEEN_SCALE)
    if scale is None:
        return column
    return inferred_field(column.name, Kind("numeric", pa.decimal128(MAX_DIGITS, int(scale))))


def read_as(column: Field) -> str | None:
    """Return the PostgreSQL type that a reader checks the values of a text column against, or `None`."""
    return None if AS_CHARACTERS in (column.metadata or {}) else sql_type_of(column)


def type_name(column: Field) -> str:
    """Return the name of a column's type for messages and plans."""
    return sql_type_of(column) or str(column.type)


def with_inferred(made: Field, names: Iterable[str], before: pa.Schema) -> Field:
    """Return a column that a step has made of others as inferred as well, where decimals come from inferred numbers.

    The scale of such decimals tells nothing of their values, so that a new table has them without a precision.
    """
    is_inferred = pa.types.is_decimal(made.type) and any(sql_type_of(before.field(each)) == "numeric" for each in names)
    return made.with_metadata({SQL_TYPE: b"numeric"}) if is_inferred else made
