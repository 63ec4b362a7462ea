"""A change of a target that its contract asks for: the statements, what they cost, and whether they may run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import psycopg
from psycopg import sql

from dataproc.domain.errors import ContractViolationError, TargetRefusedError
from dataproc.warehouse.widening import cost_of

LOCK_PATIENCE = "5s"
"""How long a publish waits for others to let go of a table that it changes; the next attempt waits again."""
SMALL = 64 * 1024 * 1024
"""Bytes of a table, with its indexes, that is written anew without asking."""

WEIGH = """
SELECT relkind = 'p', relispartition, CASE WHEN relispartition THEN (
           SELECT inhparent::regclass::text FROM pg_inherits WHERE inhrelid = pg_class.oid
       ) END, pg_total_relation_size(oid)
FROM pg_class WHERE oid = %s
"""
DEPENDENTS = """
SELECT a.attname, pg_describe_object(d.classid, d.objid, d.objsubid)
FROM pg_depend d
JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
LEFT JOIN pg_attrdef f ON d.classid = 'pg_attrdef'::regclass AND f.oid = d.objid
WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = %s AND a.attname = ANY(%s)
  AND (d.classid IN ('pg_rewrite'::regclass, 'pg_policy'::regclass, 'pg_trigger'::regclass)
       OR f.adnum <> d.refobjsubid)
ORDER BY 1, 2
"""
PATIENCE = "SELECT current_setting('lock_timeout'), set_config('lock_timeout', %s, true)"


@dataclass(frozen=True, slots=True)
class Alteration:
    """A column that is added, or becomes wider; `unsafe` tells what it costs that somebody should think about."""

    table: sql.Identifier
    column: str
    before: str | None
    after: str
    unsafe: str | None = None

    @property
    def statement(self) -> str:
        """The statement that does it."""
        # None of the names that people give, and nothing else but types, gets into it.
        act = "ADD COLUMN {} " if self.before is None else "ALTER COLUMN {} TYPE "
        text = sql.SQL("ALTER TABLE {} " + act).format(self.table, sql.Identifier(self.column))
        return text.as_string() + self.after


@dataclass(frozen=True, slots=True)
class Change:
    """All that a load changes of a table that is there."""

    table: str
    alterations: tuple[Alteration, ...] = ()

    @property
    def statements(self) -> tuple[str, ...]:
        """The statements, in their order."""
        return tuple(alteration.statement for alteration in self.alterations)

    @property
    def added(self) -> int:
        """How many columns are new."""
        return sum(1 for alteration in self.alterations if alteration.before is None)

    @property
    def is_safe(self) -> bool:
        """Whether it may be made without asking."""
        return all(alteration.unsafe is None for alteration in self.alterations)

    @property
    def fingerprint(self) -> str:
        """What tells this change from every other, of this table and of others."""
        return hashlib.sha256("\0".join((self.table, *self.statements)).encode()).hexdigest()[:16]

    def demand_accepted(self, accept: str | None) -> None:
        """Refuse an unsafe change that nobody has accepted."""
        if self.is_safe or accept == self.fingerprint:
            return
        listed = "; ".join(f"{each.statement} ({each.unsafe})" for each in self.alterations if each.unsafe)
        raise ContractViolationError(
            f"{self.table} would be changed in a way that is not safe: {listed}. Write `accept: {self.fingerprint}` "
            "into the destination, or give the column its type in a clean transform",
            columns=[each.column for each in self.alterations if each.unsafe],
            fingerprint=self.fingerprint,
        )


def weighed(conn: psycopg.Connection, oid: int, change: Change) -> Change:
    """Return a change with what is unsafe about it, or refuse what PostgreSQL cannot do."""
    if not change.alterations:
        return change
    is_partitioned, is_partition, parent, size = conn.execute(WEIGH, (oid,)).fetchone() or (False, False, None, 0)
    if is_partition:
        raise TargetRefusedError(f"{change.table} is a partition of {parent}; change {parent}, or load into it")
    retyped = [each.column for each in change.alterations if each.before is not None]
    if retyped and is_partitioned:
        raise TargetRefusedError(
            f"{change.table} is partitioned, and {named(retyped)} would have to change the type in every partition; "
            "change the table by hand, or cast in a clean transform"
        )
    if retyped:
        refuse_dependents(conn, oid, change.table, retyped)
    return replace(change, alterations=tuple(replace(a, unsafe=unsafe(a, size)) for a in change.alterations))


def refuse_dependents(conn: psycopg.Connection, oid: int, table: str, columns: Sequence[str]) -> None:
    """Refuse to change the type of columns on which something else stands, by its name."""
    for column, what in conn.execute(DEPENDENTS, (oid, list(columns))):
        raise TargetRefusedError(
            f"column {column} of {table} would have to change its type, and {what} depends on it; "
            "drop that and make it again, or cast in a clean transform",
            column=column,
        )


def unsafe(alteration: Alteration, size: int) -> str | None:
    """Return what somebody should know before it is done; `None`: it is done in no time."""
    if alteration.before is None:
        return None
    if alteration.before == "date":
        return "days become moments, for everybody who reads the table"
    if cost_of(alteration.before, alteration.after) == "catalog" or size <= SMALL:
        return None
    return f"the table is written anew, {size / 2**20:,.0f} MiB with its indexes, and nobody can use it meanwhile"


def named(columns: Sequence[str]) -> str:
    """Return names for a message."""
    return ", ".join(repr(name) for name in columns)


def make(conn: psycopg.Connection, change: Change) -> None:
    """Change the table, which nobody else can use from here to the end of the transaction."""
    for statement in change.statements:
        conn.execute(statement.encode())


@contextmanager
def impatient(conn: psycopg.Connection) -> Iterator[None]:
    """Wait for locks only a while in the block: those who come after wait behind us."""
    before, _ = conn.execute(PATIENCE, (LOCK_PATIENCE,)).fetchone() or ("0", None)
    yield
    conn.execute(PATIENCE, (before,))
