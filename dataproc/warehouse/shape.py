"""What a mode asks of the columns: which of them only staging has, and which the mode fills itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
import pyarrow as pa
import pyarrow.types as t

from dataproc.domain.destination import Destination
from dataproc.domain.errors import ContractViolationError
from dataproc.warehouse.attributes import Attribute
from dataproc.warehouse.columns import Column

OWN_TYPES: tuple[tuple[str, pa.DataType, bool], ...] = (
    ("timestamp with time zone", pa.timestamp("us", "UTC"), True),
    ("timestamp with time zone", pa.timestamp("us", "UTC"), False),
    ("boolean", pa.bool_(), True),
)
"""Type, type of the values, and whether it is never null: of `valid_from`, `valid_to` and `is_current`."""
REFUSALS = """
SELECT relkind = 'p', EXISTS (SELECT FROM pg_index WHERE indrelid = pg_class.oid AND indisunique)
FROM pg_class WHERE oid = %s
"""


@dataclass(frozen=True, slots=True)
class Shape:
    """The fields that the target takes, the columns that only staging has, and those that the mode fills itself."""

    fields: tuple[pa.Field[pa.DataType], ...]
    beside: tuple[Column, ...] = ()
    own: tuple[Column, ...] = ()

    @classmethod
    def of(
        cls, destination: Destination, fields: Sequence[pa.Field[pa.DataType]], attributes: Sequence[Attribute]
    ) -> Shape:
        """Return the shape of a load into a table with these columns; none: it will be made."""
        refuse_missing(destination, [field.name for field in fields])
        own = own_columns(destination, fields, attributes)
        flag = destination.delete_flag
        known = {attribute.name for attribute in attributes}
        for field in fields:
            if field.name == flag and not t.is_boolean(field.type):
                raise ContractViolationError(
                    f"delete_flag: column {flag} is {field.type}, and must be bool; cast it in a clean transform",
                    column=flag,
                )
        if flag is None or flag in known:
            return cls(tuple(fields), own=own)
        left = tuple(field for field in fields if field.name != flag)
        return cls(left, (Column(flag, "boolean", pa.bool_()),), own)


def refuse_missing(destination: Destination, names: Sequence[str]) -> None:
    """Refuse options that name columns which the rows do not have."""
    versions, mode = destination.versions, destination.mode
    asked = {
        "keys": destination.keys,
        "delete_flag": () if destination.delete_flag is None else (destination.delete_flag,),
        "partition": destination.partition.by,
        "versions": () if versions.effective is None else (versions.effective,),
    }
    for option, columns in asked.items():
        if missing := [name for name in columns if name not in names]:
            raise ContractViolationError(
                f"{option}: the rows have no column {', '.join(map(repr, missing))} for mode {mode}; "
                "name one that they have, or rename it in a clean transform",
                columns=missing,
            )


def refuse_left_out(destination: Destination, left_out: Sequence[Column]) -> None:
    """Refuse a contract that discards a column which the mode needs."""
    versions = destination.versions.effective
    needed = {*destination.keys, *destination.partition.by, *([versions] if versions else [])}
    if missing := sorted(needed.intersection(column.name for column in left_out)):
        raise ContractViolationError(
            f"mode {destination.mode} needs {', '.join(map(repr, missing))}, and the contract of {destination.table} "
            "discards it; change the table or the contract",
            columns=missing,
        )


def own_columns(
    destination: Destination, fields: Sequence[pa.Field[pa.DataType]], attributes: Sequence[Attribute]
) -> tuple[Column, ...]:
    """Return the columns that the mode fills; refuse a source that has them, and a table that lacks them."""
    known = {attribute.name: attribute for attribute in attributes}
    for name in destination.own_columns:
        if name in {field.name for field in fields}:
            raise ContractViolationError(
                f"versions: the source has a column {name!r} of its own; drop it in a clean transform, "
                "or choose another name in `versions`",
                column=name,
            )
        if known and name not in known:
            raise ContractViolationError(
                f"versions: {destination.table} has no column {name!r}; add it, or name another in `versions`",
                column=name,
            )
    made = zip(destination.own_columns, OWN_TYPES, strict=False)
    return tuple(Column(name, sql_type, dtype, required=required) for name, (sql_type, dtype, required) in made)


def refusals(conn: psycopg.Connection, oid: int) -> tuple[bool, bool]:
    """Return whether a table consists of partitions, none of which may fit a row, and whether it has a unique index."""
    is_partitioned, is_unique = conn.execute(REFUSALS, (oid,)).fetchone() or (False, False)
    return is_partitioned, is_unique
