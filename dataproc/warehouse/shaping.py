"""SQL over all rows of a run: queries of PostgreSQL, asked where the rows are staged, in the publish transaction.

A query reads the relation `staged`, which has the columns of the rows and their place (`__unit`, `__position`), and
gives each row back at most once, with its place. So it can look at other rows (window functions) and at other tables
of the warehouse, and it still shows for each unit what became of its rows.

It is one query that only reads: it is asked inside parentheses, by the protocol that takes single statements, in a
subtransaction that is read only. What it may read is up to the role of the warehouse.
https://www.postgresql.org/docs/current/sql-set-transaction.html
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import errors as pg
from psycopg import sql

from dataproc.domain.chunk import POSITION, Account
from dataproc.domain.errors import ContractViolationError
from dataproc.domain.tally import Tally
from dataproc.domain.unit import SourcePlan
from dataproc.warehouse.connection import first_line
from dataproc.warehouse.keys import UNIT

OURS = "dataproc_load"
ASK = "WITH staged AS (SELECT * FROM {rows}) SELECT shaped.* FROM (\n{query}\n) AS shaped"
MAKE = "CREATE TEMPORARY TABLE {table} ON COMMIT DROP AS {ask} WITH NO DATA"
EXPLAIN = "EXPLAIN (VERBOSE, FORMAT JSON) {ask}"
FILL = "INSERT INTO {table} {ask}"
PLACES = "SELECT __unit, __position FROM {table}"
READ_ONLY = "SET LOCAL transaction_read_only = on"
TWICE = "SELECT __unit, __position FROM {table} GROUP BY __unit, __position HAVING count(*) > 1 LIMIT 1"
STRANGE = """
SELECT __unit, __position FROM {table} AS shaped WHERE NOT EXISTS (
    SELECT FROM {rows} AS held WHERE held.__unit = shaped.__unit AND held.__position = shaped.__position
) LIMIT 1
"""
LEFT_OUT = """
SELECT __unit, held.count - COALESCE(shaped.count, 0)
FROM (SELECT __unit, count(*) FROM {rows} GROUP BY __unit) AS held
LEFT JOIN (SELECT __unit, count(*) FROM {table} GROUP BY __unit) AS shaped USING (__unit)
WHERE held.count > COALESCE(shaped.count, 0)
"""
REFUSALS = (psycopg.DataError, psycopg.ProgrammingError, psycopg.NotSupportedError, pg.ReadOnlySqlTransaction)
"""What PostgreSQL raises for a query that is wrong, or meets a value that it cannot compute with."""


@dataclass(frozen=True, slots=True)
class Shaping:
    """Asks the queries, in their order, each over what the one before gave."""

    conn: psycopg.Connection
    queries: Sequence[str]

    def describe(self, rows: sql.Identifier) -> sql.Identifier:
        """Return an empty temporary table with the columns that come out."""
        for at, query in enumerate(self.queries):
            rows = self.made(at, query, rows)
        return rows

    def shape(self, rows: sql.Identifier, plan: SourcePlan, tally: Tally) -> sql.Identifier:
        """Return the temporary table with the rows that come out; those that do not count as filtered."""
        for at, query in enumerate(self.queries):
            table = self.made(at, query, rows)
            self.fill(table, query, rows)
            self.compare(table, rows)
            for unit, count in self.run(LEFT_OUT, rows=rows, table=table).fetchall():
                tally.take_out(plan.units[unit].id, Account(filtered=count))
            rows = table
        return rows

    def made(self, at: int, query: str, rows: sql.Identifier) -> sql.Identifier:
        """Return a new temporary table with the columns of a query."""
        table = sql.Identifier("pg_temp", f"dataproc_shaped{at}")
        try:
            self.run(MAKE, table=table, ask=asked(query, rows))
            self.run(PLACES, table=table)
            self.refuse_ours(query, rows)
        except pg.UndefinedColumn as exc:
            raise (without_place() if UNIT in first_line(exc) or POSITION in first_line(exc) else refused(exc)) from exc
        except REFUSALS as exc:
            raise refused(exc) from exc
        return table

    def refuse_ours(self, query: str, rows: sql.Identifier) -> None:
        """Refuse a query of the program's own tables, which hold rows of other jobs."""
        (plan,) = self.run(EXPLAIN, ask=asked(query, rows)).fetchone() or ([],)
        staged = rows.as_string(self.conn)
        for schema, table in relations_of(plan):
            if schema == OURS and sql.Identifier(schema, table).as_string(self.conn) != staged:
                msg = f"over the run: the query reads {schema}.{table}, which is the program's own; read staged instead"
                raise ContractViolationError(msg)

    def fill(self, table: sql.Identifier, query: str, rows: sql.Identifier) -> None:
        """Ask a query for its rows."""
        try:
            with self.conn.transaction():
                self.conn.execute(READ_ONLY)
                self.run(FILL, table=table, ask=asked(query, rows))
        except REFUSALS as exc:
            raise refused(exc) from exc

    def compare(self, table: sql.Identifier, rows: sql.Identifier) -> None:
        """Refuse rows that came twice, or out of nowhere."""
        for statement, problem in (
            (TWICE, "gives a row twice (does a lookup have a key twice?)"),
            (STRANGE, "gives a row that it was not given"),
        ):
            if self.run(statement, table=table, rows=rows).fetchone() is not None:
                told = "let it give each row of staged at most once, with its own place"
                raise ContractViolationError(f"over the run: the query {problem}; {told}")

    def run(self, text: str, **parts: sql.Composable) -> psycopg.Cursor:
        """Run a statement with these parts in it, and no second one."""
        return self.conn.execute(sql.SQL(text).format(**parts), binary=True)


def asked(query: str, rows: sql.Identifier) -> sql.Composed:
    """Return the query over rows."""
    return sql.SQL(ASK).format(rows=rows, query=sql.SQL(query))


def relations_of(plan: object) -> Iterator[tuple[str, str]]:
    """Yield schema and name of every table in a plan of PostgreSQL; views are resolved there."""
    if isinstance(plan, dict):
        if "Relation Name" in plan:
            yield str(plan.get("Schema")), str(plan["Relation Name"])
        plan = list(plan.values())
    if isinstance(plan, list):
        for part in plan:
            yield from relations_of(part)


def without_place() -> ContractViolationError:
    """Return our error for a query whose rows cannot be told apart."""
    return ContractViolationError(f"over the run: the query must give {UNIT} and {POSITION} of staged back; add them")


def refused(exc: psycopg.Error) -> ContractViolationError:
    """Return our error for a query that PostgreSQL refuses; what it says may hold values of rows, its code does not."""
    told = type(exc).__name__ if isinstance(exc, psycopg.DataError) else first_line(exc)
    return ContractViolationError(f"over the run: PostgreSQL refuses the query: {told}; correct it")
