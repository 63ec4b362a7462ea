"""Staged rows that must not stay, listed by their places in a temporary table of the publish transaction."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter

import psycopg
import pyarrow as pa
from psycopg import sql

from dataproc.domain.chunk import Account, rule_name, shortened
from dataproc.domain.tally import Tally
from dataproc.domain.unit import SourcePlan
from dataproc.ports.cipher import Cipher
from dataproc.ports.warehouse import LoadId
from dataproc.warehouse import rejects
from dataproc.warehouse.target import Target

FIRST = "SELECT __unit, __position FROM dataproc_others ORDER BY __unit, __position LIMIT 1"
TAKE_OUT = """
WITH gone AS (
    DELETE FROM {table} AS held USING dataproc_others AS other
    WHERE held.__unit = other.__unit AND held.__position = other.__position RETURNING held.__unit
)
SELECT __unit, count(*) FROM gone GROUP BY __unit
"""
SHOW = """
SELECT __unit, __position, (SELECT row_to_json(picked)::text FROM (SELECT {columns}) AS picked)
FROM {table} JOIN dataproc_others USING (__unit, __position) ORDER BY __unit, __position
"""
FORGET = "DROP TABLE dataproc_others"
SHOWN = 10_000
"""Rows set aside that are written at once."""

Counted = Callable[[int], Account]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why rows are set aside; `code` is its SQLSTATE, where the warehouse refused the rows."""

    rule: str
    column: str | None
    text: str
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Others:
    """The rows of `rows` that are listed in the table `dataproc_others`."""

    conn: psycopg.Connection
    load_id: LoadId
    target: Target
    plan: SourcePlan
    tally: Tally
    rows: sql.Identifier
    cipher: Cipher | None = field(default=None, repr=False)

    def first(self) -> tuple[str, int]:
        """Return the unit and the position of the first listed row."""
        unit, position = self.conn.execute(FIRST).fetchone() or (0, 0)
        return self.plan.units[unit].id, position

    def set_aside(self, reason: Reason) -> None:
        """Write the listed rows as rejects, as they would have been loaded, and take them out."""
        for unit, found in self.shown():
            aside = [
                {
                    "position": position,
                    "rule": reason.rule,
                    "code": reason.code,
                    "column": reason.column,
                    "reason": reason.text,
                    "row": shortened(text),
                }
                for position, text in found
            ]
            packed = rejects.pack(pa.Table.from_pylist(aside, schema=rejects.CODED), self.cipher)
            rejects.copy_rejects(self.conn, self.load_id, self.target.name, [(self.plan.units[unit].id, packed)])
        self.remove(lambda rows: Account(rejected=rows), rule_name(reason.rule, reason.column))

    def shown(self) -> Iterator[tuple[int, list[tuple[int, str]]]]:
        """Yield units and some of their listed rows, as position and JSON text."""
        with self.conn.cursor(name="dataproc_shown") as cursor:
            cursor.execute(sql.SQL(SHOW).format(columns=self.target.column_list, table=self.rows))
            while found := cursor.fetchmany(SHOWN):
                for unit, rows in groupby(found, key=itemgetter(0)):
                    yield unit, [(position, text) for _, position, text in rows]

    def remove(self, counted: Counted, broken: str = "") -> None:
        """Take the listed rows out, and count those that were still there."""
        for unit, rows in self.take_out(self.rows):
            self.tally.take_out(self.plan.units[unit].id, counted(rows), broken)

    def take_out(self, table: sql.Identifier) -> list[tuple[int, int]]:
        """Delete the listed rows from a table; return how many of which unit."""
        return self.conn.execute(sql.SQL(TAKE_OUT).format(table=table)).fetchall()

    def forget(self) -> None:
        """End the list."""
        self.conn.execute(FORGET)
