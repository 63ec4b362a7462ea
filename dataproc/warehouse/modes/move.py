"""What every mode works with: the staged rows, the table they go to, and the transaction that publishes them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from dataproc.domain.destination import Destination
from dataproc.domain.errors import CountMismatchError
from dataproc.domain.unit import SourcePlan
from dataproc.ports.warehouse import LoadId
from dataproc.warehouse.columns import Column
from dataproc.warehouse.target import Target


@dataclass(frozen=True, slots=True)
class Move:
    """The rows of a load on their way from `staged` to their target; `placed` ones tell where they come from.

    The keys of `distinct` ones are known to come once each, without nulls; those of others are looked at.
    """

    conn: psycopg.Connection
    target: Target
    destination: Destination
    staged: sql.Identifier
    plan: SourcePlan
    rows: int
    load_id: LoadId
    placed: bool = False
    distinct: bool = False

    @property
    def table(self) -> str:
        """The quoted name of the target."""
        return self.target.identifier.as_string(self.conn)

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns that tell one row from another."""
        return self.destination.keys

    @property
    def others(self) -> tuple[Column, ...]:
        """The columns that are no keys."""
        return tuple(column for column in self.target.columns if column.name not in self.keys)

    def run(self, text: str, /, **parts: sql.Composable) -> psycopg.Cursor[Any]:
        """Run a statement with the names of both tables and these parts in it."""
        named = {"target": self.target.identifier, "staged": self.staged, "columns": self.target.column_list}
        return self.conn.execute(sql.SQL(text).format(**(named | parts)))

    def ask(self, text: str, /, **parts: sql.Composable) -> tuple[Any, ...]:
        """Return the one row that a statement gives."""
        return self.run(text, **parts).fetchone() or ()

    def demand(self, done: int, wanted: int, what: str) -> None:
        """Refuse unless the target took as many rows as it was given."""
        if done != wanted:
            raise CountMismatchError(
                f"{wanted} rows were to be {what} in {self.target.name}, and it took {done}; "
                "does one of its triggers or rules leave rows out?"
            )


def listed(names: Iterable[str], alias: str = "") -> sql.Composed:
    """Return quoted names with commas between, each of a table's alias."""
    return sql.SQL(", ").join(of(alias, name) for name in names)


def of(alias: str, name: str) -> sql.Identifier:
    """Return a quoted column of a table's alias."""
    return sql.Identifier(alias, name) if alias else sql.Identifier(name)


def matching(names: Iterable[str], left: str = "t", right: str = "s") -> sql.Composed:
    """Return the condition under which two rows have the same values in these columns."""
    return sql.SQL(" AND ").join(sql.SQL("{} = {}").format(of(left, name), of(right, name)) for name in names)


def assigned(names: Iterable[str], right: str = "s") -> sql.Composed:
    """Return the assignments of these columns from another table's."""
    return sql.SQL(", ").join(sql.SQL("{} = {}").format(sql.Identifier(name), of(right, name)) for name in names)
