"""What the rules over all rows of a run decide once all are staged: in the publish transaction, before the mode."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import assert_never

import psycopg
import pyarrow as pa
from psycopg import sql

from dataproc.domain.chunk import REJECTS, Account, shortened
from dataproc.domain.errors import BadDataError
from dataproc.domain.tally import Tally
from dataproc.domain.unit import SourcePlan
from dataproc.ports.cipher import Cipher
from dataproc.ports.warehouse import LoadId
from dataproc.warehouse import rejects
from dataproc.warehouse.keys import KeyTable
from dataproc.warehouse.staging import staging_table
from dataproc.warehouse.target import Target

HAS_DOUBLES = "SELECT EXISTS (SELECT FROM {table} WHERE {compared} GROUP BY {key} HAVING count(*) > 1)"
FIND_OTHERS = """
CREATE TEMPORARY TABLE dataproc_others ON COMMIT DROP AS
SELECT __unit, __position FROM (
    SELECT __unit, __position, row_number() OVER (PARTITION BY {key} ORDER BY {order}) AS place
    FROM {table} WHERE {compared}
) AS ranked WHERE place > 1
"""
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
class Settling:
    """Applies the rules, in their order, to the rows of a load that are staged."""

    conn: psycopg.Connection
    load_id: LoadId
    target: Target
    plan: SourcePlan
    tally: Tally
    cipher: Cipher | None = field(default=None, repr=False)

    def settle(self, tables: Sequence[KeyTable]) -> None:
        """Take the rows that must not stay out of staging, and count them as what they are."""
        for at, table in enumerate(tables):
            if self.found_others(table):
                self.take_out(table)
                for later in tables[at + 1 :]:
                    self.run(TAKE_OUT, table=later.identifier)
                self.conn.execute(FORGET)

    def found_others(self, table: KeyTable) -> bool:
        """Return whether there are rows that must not stay; they are listed in a temporary table then."""
        named = {"table": table.identifier, "key": table.key, "compared": table.compared}
        row = self.run(HAS_DOUBLES, **named).fetchone()
        if row is None or not row[0]:
            return False
        self.run(FIND_OTHERS, **named, order=table.order)
        return True

    def take_out(self, table: KeyTable) -> None:
        """Do what the rule says with the listed rows."""
        match table.rule.others:
            case "fail":
                raise self.failure(table)
            case "quarantine":
                self.set_aside(table)
                self.remove(lambda rows: Account(rejected=rows))
            case "drop":
                self.remove(lambda rows: Account(filtered=rows))
            case "dedupe":
                self.remove(lambda rows: Account(deduplicated=rows))
            case others:
                assert_never(others)

    def failure(self, table: KeyTable) -> BadDataError:
        """Return the error for the first listed row; it names the row, but shows none of its values."""
        unit, position = self.conn.execute(FIRST).fetchone() or (0, 0)
        name = self.plan.units[unit].id
        msg = f"{name}, row {position}: {table.rule.reason}; correct the row, or set on_error to quarantine"
        return BadDataError(msg, unit=name, position=position, columns=table.rule.columns, rule="unique")

    def set_aside(self, table: KeyTable) -> None:
        """Write the listed rows as rejects, as they would have been loaded."""
        for unit, found in self.shown():
            aside = [
                {
                    "position": position,
                    "rule": "unique",
                    "column": ", ".join(table.rule.columns),
                    "reason": table.rule.reason,
                    "row": shortened(text),
                }
                for position, text in found
            ]
            packed = rejects.pack(pa.Table.from_pylist(aside, schema=REJECTS), self.cipher)
            rejects.copy_rejects(self.conn, self.load_id, self.target.name, [(self.plan.units[unit].id, packed)])

    def shown(self) -> Iterator[tuple[int, list[tuple[int, str]]]]:
        """Yield units and some of their listed rows, as position and JSON text."""
        with self.conn.cursor(name="dataproc_shown") as cursor:
            cursor.execute(self.written(SHOW, columns=self.target.column_list, table=staging_table(self.load_id)))
            while found := cursor.fetchmany(SHOWN):
                for unit, rows in groupby(found, key=itemgetter(0)):
                    yield unit, [(position, text) for _, position, text in rows]

    def remove(self, counted: Counted) -> None:
        """Take the listed rows out of staging, and count those that were still there."""
        for unit, rows in self.run(TAKE_OUT, table=staging_table(self.load_id)).fetchall():
            self.tally.take_out(self.plan.units[unit].id, counted(rows))

    def run(self, text: str, **parts: sql.Composable) -> psycopg.Cursor:
        """Run a statement with these parts in it."""
        return self.conn.execute(self.written(text, **parts))

    @staticmethod
    def written(text: str, **parts: sql.Composable) -> sql.Composed:
        """Return a statement with these parts in it."""
        return sql.SQL(text).format(**parts)
