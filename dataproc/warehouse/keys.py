"""Rules over the keys of all rows of a run: told from hashes in a direct load, from tables in a staged one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, assert_never

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from dataproc.domain.chunk import POSITION, LoadedChunk
from dataproc.domain.errors import DoubledKeysError
from dataproc.domain.keys import KeyRule, come_once
from dataproc.warehouse.columns import LIMITS, Column, declare
from dataproc.warehouse.target import names_of
from dataproc.warehouse.widening import LIMITED

UNIT = "__unit"
"""The column (integer) that tells the number of a staged row's unit in the plan."""
PLACE = (
    Column(UNIT, "integer", pa.int32(), required=True),
    Column(POSITION, "bigint", pa.int64(), required=True),
)
"""Where a staged row comes from."""


EXACT = frozenset({
    "bigint", "integer", "smallint", "text", "character varying", "uuid", "bytea", "boolean",
    "date", "timestamp", "timestamp without time zone", "timestamp with time zone",
})  # fmt: skip
"""Types of which a value has one form, so that keys with other hashes are other keys; a collation may say otherwise."""


def rule_of(columns: Sequence[Column], keys: Sequence[str]) -> KeyRule | None:
    """Return the rule by which the keys of a mode come once; `None`: hashes do not tell whether they do."""
    found = {column.name: column for column in columns}
    if not keys or any(unlimited(found[name].sql_type) not in EXACT for name in keys):
        return None
    schema = pa.schema([(f"k{at}", found[name].arrow_type) for at, name in enumerate(keys)])
    return KeyRule(tuple(keys), schema, "fail")


def unlimited(sql_type: str) -> str:
    """Return a type without its length; limits that round values, such as those of `timestamp(0)`, stay."""
    return LIMITS.sub("", sql_type) if sql_type.startswith("character varying") else sql_type


def as_stored(values: pa.ChunkedArray[Any], sql_type: str) -> pa.ChunkedArray[Any]:
    """Return texts as a column keeps them: `varchar(4)` cuts blanks beyond its length, and refuses other characters."""
    limit = LIMITED.fullmatch(sql_type)
    return values if limit is None else pc.utf8_slice_codeunits(values, 0, int(limit[2]))


def hashes(keys: Sequence[pa.Table], rules: Sequence[KeyRule]) -> tuple[bytes, ...]:
    """Return 8 bytes for each key: equal keys have equal ones, and others hardly ever."""
    return tuple(hashed(table, rule) for table, rule in zip(keys, rules, strict=True))


def hashed(keys: pa.Table, rule: KeyRule) -> bytes:
    """Return the hashes of the keys of one rule; where nulls are not equal, keys with one are left out."""
    compared = keys.select(list(rule.names))
    if not rule.nulls_are_equal:
        compared = compared.drop_null()
    with engine().cursor() as cursor:
        found = cursor.from_arrow(compared).project(f"hash({', '.join(rule.names)}) AS hash").to_arrow_table()
    return np.asarray(found["hash"], np.uint64).tobytes()


@cache
def engine() -> duckdb.DuckDBPyConnection:
    """Return a database in memory that hashes; one for a process, as each takes some milliseconds to make."""
    return duckdb.connect(config={"threads": 1})


@dataclass(slots=True)
class Doubles:
    """The hashes of the keys of a direct load, 8 bytes a row and rule."""

    seen: list[tuple[bytes, ...]] = field(default_factory=list)

    def add(self, chunk: LoadedChunk) -> None:
        """Take note of the keys of a chunk."""
        if chunk.keys:
            self.seen.append(chunk.keys)

    def cover(self, rows: int) -> bool:
        """Whether the last rule has seen a key without nulls in each of so many rows."""
        return bool(self.seen) and sum(len(of_chunk[-1]) for of_chunk in self.seen) == rows * np.uint64().nbytes

    def refuse(self) -> None:
        """Raise `DoubledKeysError` if a key seems to have come twice."""
        for of_chunks in zip(*self.seen, strict=True):
            if not come_once(np.frombuffer(b"".join(of_chunks), np.uint64)):
                raise DoubledKeysError


@dataclass(frozen=True, slots=True)
class KeyTable:
    """The table of the keys of one rule, beside the staging table."""

    identifier: sql.Identifier
    rule: KeyRule

    @property
    def columns(self) -> tuple[Column, ...]:
        """Its columns: the place of the row, the key, and what decides."""
        fields = [self.rule.schema.field(at) for at in range(len(self.rule.schema))]
        return (*PLACE, *map(declare, fields))

    @property
    def copy(self) -> sql.Composed:
        """The statement that fills it."""
        return sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(self.identifier, names_of(self.columns))

    @property
    def key(self) -> sql.Composed:
        """The names of the key's columns, with commas between."""
        return sql.SQL(", ").join(map(sql.Identifier, self.rule.names))

    @property
    def compared(self) -> sql.Composable:
        """The condition for keys that can be the same as others."""
        if self.rule.nulls_are_equal:
            return sql.SQL("true")
        return sql.SQL(" AND ").join(sql.SQL("{} IS NOT NULL").format(sql.Identifier(name)) for name in self.rule.names)

    @property
    def order(self) -> sql.Composable:
        """The order in which rows would rather stay."""
        # Text is compared by its bytes, as the workers do.
        by = sql.SQL('by COLLATE "C"' if self.columns[-1].sql_type == "text" else "by")
        match self.rule.keep:
            case "first":
                return sql.SQL("__unit, __position")
            case "last":
                return sql.SQL("__unit DESC, __position DESC")
            case "latest":
                return sql.SQL("{} DESC NULLS LAST, __unit, __position").format(by)
            case "earliest":
                return sql.SQL("{} NULLS LAST, __unit, __position").format(by)
            case _:
                assert_never(self.rule.keep)
