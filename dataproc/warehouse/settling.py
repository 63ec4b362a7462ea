"""What the rules over all rows of a run decide once all are staged: in the publish transaction, before the mode."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import psycopg
from psycopg import sql

from dataproc.domain.chunk import Account
from dataproc.domain.errors import BadDataError
from dataproc.warehouse.keys import KeyTable
from dataproc.warehouse.others import Others, Reason

HAS_DOUBLES = "SELECT EXISTS (SELECT FROM {table} WHERE {compared} GROUP BY {key} HAVING count(*) > 1)"
FIND_OTHERS = """
CREATE TEMPORARY TABLE dataproc_others ON COMMIT DROP AS
SELECT __unit, __position FROM (
    SELECT __unit, __position, row_number() OVER (PARTITION BY {key} ORDER BY {order}) AS place
    FROM {table} WHERE {compared}
) AS ranked WHERE place > 1
"""


@dataclass(frozen=True, slots=True)
class Settling:
    """Applies the rules, in their order, to the rows of a load that are staged."""

    others: Others

    def settle(self, tables: Sequence[KeyTable]) -> None:
        """Take the rows that must not stay out of staging, and count them as what they are."""
        for at, table in enumerate(tables):
            if self.found_others(table):
                self.take_out(table)
                for later in tables[at + 1 :]:
                    self.others.take_out(later.identifier)
                self.others.forget()

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
                self.others.set_aside(Reason("unique", ", ".join(table.rule.columns), table.rule.reason))
            case "drop":
                self.others.remove(lambda rows: Account(filtered=rows))
            case "dedupe":
                self.others.remove(lambda rows: Account(deduplicated=rows))
            case others:
                assert_never(others)

    def failure(self, table: KeyTable) -> BadDataError:
        """Return the error for the first listed row; it names the row, but shows none of its values."""
        name, position = self.others.first()
        msg = f"{name}, row {position}: {table.rule.reason}; correct the row, or set on_error to quarantine"
        return BadDataError(msg, unit=name, position=position, columns=table.rule.columns, rule="unique")

    def run(self, text: str, **parts: sql.Composable) -> psycopg.Cursor:
        """Run a statement with these parts in it."""
        return self.others.conn.execute(sql.SQL(text).format(**parts))
