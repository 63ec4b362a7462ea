"""`replace`: the rows are put in place of all that is there; readers see the old rows or the new ones, never none."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg import errors as pg
from psycopg import sql

from dataproc.domain.destination import Destination
from dataproc.domain.errors import TargetRefusedError
from dataproc.ports.warehouse import Effect
from dataproc.warehouse.modes.append import append
from dataproc.warehouse.modes.checks import rows_named
from dataproc.warehouse.modes.freezing import move_all
from dataproc.warehouse.modes.kept import demand_none
from dataproc.warehouse.modes.move import Move
from dataproc.warehouse.modes.obstacles import deleting_key, obstacle
from dataproc.warehouse.modes.swap import NewTable
from dataproc.warehouse.target import Target

OLD_ROWS = "FROM (SELECT FROM {target} OFFSET {inserted}) AS beyond"
# One statement: foreign keys that point here look at its end, when the rows they need are there again.
IN_PLACE = """
WITH gone AS (DELETE FROM {target} RETURNING 1),
added AS (INSERT INTO {target} ({columns}) SELECT {columns} FROM {staged}
          WHERE (SELECT count(*) FROM gone) >= 0 RETURNING 1)
SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM added)
"""


@dataclass(frozen=True, slots=True)
class Replacement:
    """What replaces the rows of a table; `filled` is the new table, where the rows are in it already."""

    move: Move
    filled: NewTable | None = None

    def replace(self) -> Effect:
        """Replace all rows by swapping the table, or in place."""
        if not self.move.target.exists:
            return append(self.move)
        if (reason := reason_to_stay(self.move)) is not None:
            return self.in_place(reason)
        new = self.filled or NewTable.made(self.move.conn, self.move.load_id, self.move.target, lasting=True)
        if self.filled is None:
            self.move.demand(move_all(new, self.move.staged), self.move.rows, "added")
        with rows_named(self.move):
            new.build_indexes()
        return self.swap(new)

    def swap(self, new: NewTable) -> Effect:
        """Put the new table in the old one's place; if others do not let go of the old one, only its rows."""
        try:
            new.hold_old()
        except pg.LockNotAvailable:
            if self.move.destination.replace == "swap":
                raise
            effect = self.in_place("others were reading it for long")
            new.run("DROP TABLE IF EXISTS {new}")
            return effect
        new.take_place()
        notes = (f"{self.move.target.name} was replaced by a new table",)
        return Effect(self.move.rows, deleted=None, notes=notes, set_aside=True)

    def in_place(self, reason: str) -> Effect:
        """Delete all rows and insert the new ones, in one statement."""
        refuse_deleting_keys(self.move)
        with rows_named(self.move):
            deleted, inserted = self.move.ask(IN_PLACE)
        self.move.demand(inserted, self.move.rows, "added")
        demand_none(self.move, OLD_ROWS, "deleted", inserted=sql.Literal(inserted))
        return Effect(inserted, deleted=deleted, notes=(f"{self.move.target.name} was replaced in place: {reason}",))


def is_swapped(conn: psycopg.Connection, target: Target, destination: Destination) -> bool:
    """Whether a table will be swapped, as far as one can tell before."""
    return destination.replace != "in_place" and obstacle(conn, target.identifier.as_string(conn)) is None


def reason_to_stay(move: Move) -> str | None:
    """Return why a table is replaced in place; `None`: it is swapped."""
    if move.destination.replace == "in_place":
        return "as its destination says"
    found = obstacle(move.conn, move.table)
    if found is not None and move.destination.replace == "swap":
        raise TargetRefusedError(
            f"{move.target.name} cannot be swapped without losing something: {found}; set `replace` to auto or in_place"
        )
    return found


def refuse_deleting_keys(move: Move) -> None:
    """Refuse a table whose rows other tables lose with it."""
    found = deleting_key(move.conn, move.table)
    if found is not None:
        name, table = found
        raise TargetRefusedError(
            f"{move.target.name} cannot be replaced: the foreign key {name} of {table} acts when its rows are deleted; "
            "use mode merge with merge: delete_missing"
        )
