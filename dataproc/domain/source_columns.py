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

DOUBLE = "double precision"

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

    `declared` columns are cast by a step. With `computed` ones a step computes (names in lower case, as expressions do
    not tell cases apart); `None`: with all of them. `renamed` has the last name of each column that is not called the
    same at the end, `None` for one that does not arrive. `target` has the columns of an existing target by their own
    names.
    """

    declared: frozenset[str] = frozenset()
    computed: frozenset[str] | None = frozenset()
    renamed: Mapping[str, str | None] = field(default_factory=dict)
    target: Mapping[str, TargetColumn] = field(default_factory=dict)

    def with_target(self, target: Mapping[str, TargetColumn]) -> SourceColumns:
        """Return the same with the columns of an existing target."""
        return replace(self, target=target)

    def field(self, name: str, kind: Kind) -> Field:
        """Return how a column with values of an inferred kind is read."""
        if name in self.declared:
            return pa.field(name, pa.string())
        column = self.target_of(name)
        if not self.is_computed(name):
            as_characters = column is not None or kind.sql_type in ("numeric", "jsonb")
            return text_field(name, kind.sql_type) if as_characters else inferred_field(name, kind)
        if column is not None and column.dtype is not None:
            return pa.field(name, column.dtype)
        return text_field(name, "jsonb") if kind.sql_type == "jsonb" else inferred_field(name, kind)

    def schema(self, kinds: Mapping[str, Kind]) -> pa.Schema:
        """Return how columns with values of inferred kinds are read."""
        return pa.schema([self.field(name, kind) for name, kind in kinds.items()])

    def is_computed(self, name: str) -> bool:
        """Return whether a step needs the values of a column, not only its characters."""
        return self.computed is None or name.lower() in self.computed

    def target_of(self, name: str) -> TargetColumn | None:
        """Return the existing column that a column goes into, if there is one."""
        last = self.renamed.get(name, name)
        return None if last is None else self.target.get(last)


EVERYTHING_INFERRED = SourceColumns()
"""Nothing declared, no target, no step."""


def inferred_field(name: str, kind: Kind) -> Field:
    """Return the field of a column of an inferred type; of numbers, it carries that no digit may be lost."""
    is_number = kind.sql_type in ("numeric", DOUBLE)
    return pa.field(name, kind.dtype, metadata={SQL_TYPE: kind.sql_type.encode()} if is_number else None)


def is_inferred_double(column: Field) -> bool:
    """Return whether a column is `double precision` because of its values: one that it would round does not fit."""
    return sql_type_of(column) == DOUBLE


def text_field(name: str, sql_type: str) -> Field:
    """Return the field of a text column whose characters stand for values of a PostgreSQL type."""
    return pa.field(name, pa.string(), metadata=None if sql_type == "text" else {SQL_TYPE: sql_type.encode()})


def sql_type_of(column: Field) -> str | None:
    """Return the PostgreSQL type that a field carries besides its Arrow type; `None`: it carries none."""
    found = (column.metadata or {}).get(SQL_TYPE)
    return None if found is None else found.decode(errors="replace")


def type_name(column: Field) -> str:
    """Return the name of a column's type for messages and plans."""
    return sql_type_of(column) or str(column.type)


def with_inferred(made: Field, names: Iterable[str], before: pa.Schema) -> Field:
    """Return a column that a step has made of others as inferred as well, where decimals come from inferred numbers.

    The scale of such decimals tells nothing of their values, so that a new table has them without a precision.
    """
    is_inferred = pa.types.is_decimal(made.type) and any(sql_type_of(before.field(each)) == "numeric" for each in names)
    return made.with_metadata({SQL_TYPE: b"numeric"}) if is_inferred else made
