"""`merge`: rows are brought in by their keys; those that are there just as they came are not written again."""

from __future__ import annotations

from dataclasses import dataclass, replace

from psycopg import sql

from dataproc.ports.warehouse import Effect
from dataproc.warehouse.modes.checks import refuse_unclear_keys, rows_named
from dataproc.warehouse.modes.comparing import differing
from dataproc.warehouse.modes.filling import MANY, can_be_filled, fill_by
from dataproc.warehouse.modes.indexes import index_keys, is_empty, note_on_index
from dataproc.warehouse.modes.kept import demand_none
from dataproc.warehouse.modes.move import Move, assigned, listed, matching
from dataproc.warehouse.modes.rebuilding import rebuild
from dataproc.warehouse.modes.swap import NewTable

# What is aggregated is one column: all of both tables would be more than PostgreSQL lets a row have.
LOOK = """
SELECT count(*) FILTER (WHERE t.{key} IS NULL), count(t.{key})
FROM {staged} AS s LEFT JOIN {target} AS t ON {same} WHERE {stays} AND (t.{key} IS NULL OR {differs})
"""
STAYING = "SELECT count(*) FROM {staged} AS s WHERE {stays}"
DELETE_FLAGGED = "DELETE FROM {target} AS t USING {staged} AS s WHERE {same} AND NOT ({stays})"
LEFT_FLAGGED = "FROM {target} AS t JOIN {staged} AS s ON {same} WHERE NOT ({stays})"
MISSING = "FROM {target} AS t WHERE NOT EXISTS (SELECT FROM {staged} AS s WHERE {same})"
UPDATE = "UPDATE {target} AS t SET {assigned} FROM {staged} AS s WHERE {same} AND {stays} AND {differs}"
INSERT_ALL = "INSERT INTO {target} ({columns}) SELECT {columns} FROM {staged} AS s WHERE {stays}"
FILL = "INSERT INTO {new} ({columns}) SELECT {columns} FROM {staged} AS s WHERE {stays}"
INSERT_NEW = """
INSERT INTO {target} ({columns}) SELECT {columns} FROM {staged} AS s
WHERE {stays} AND NOT EXISTS (SELECT FROM {target} AS t WHERE {same})
"""


@dataclass(frozen=True, slots=True)
class Merge:
    """A merge of staged rows; `held` is the table that holds them, where the load made it in its own transaction."""

    move: Move
    held: NewTable | None = None

    @property
    def stays(self) -> sql.Composable:
        """The condition for staged rows that no flag deletes."""
        flag = self.move.destination.delete_flag
        return sql.SQL("true") if flag is None else sql.SQL("s.{} IS NOT TRUE").format(sql.Identifier(flag))

    def merge(self) -> Effect:
        """Bring all rows in."""
        refuse_unclear_keys(self.move)
        if is_empty(self.move):
            return self.fill()
        deleted = self.delete()
        new, changed = self.look()
        unchanged = max(self.staying() - new - changed, 0)
        if (note := self.rebuild(new, changed)) is not None:
            return Effect(new, changed, deleted, unchanged, (note,), set_aside=True)
        updated = self.update(changed) if changed else 0
        inserted = self.insert(INSERT_NEW, new) if new else 0
        return Effect(inserted, updated, deleted, unchanged, note_on_index(self.move))

    @property
    def successor(self) -> NewTable | None:
        """The table that may take the target's place: not if it was given an index to look at its keys."""
        return self.held if self.held is not None and self.held.lasting and self.move.distinct else None

    def rebuild(self, new: int, changed: int) -> str | None:
        """Write the table anew, where much of it changes and it can be done; return what to tell of that."""
        return None if self.successor is None else rebuild(self.move, self.successor, new, changed)

    def fill(self) -> Effect:
        """Insert into an empty table, and give one that we have made an index on its keys."""
        rows = self.staying()
        if self.successor is not None:
            return fill_by(self.move, self.successor, rows)
        if self.held is None and rows >= MANY and can_be_filled(self.move.conn, self.move.target):
            new = NewTable.made(self.move.conn, self.move.load_id, self.move.target, lasting=True)
            self.move.demand(self.move.run(FILL, new=new.identifier, stays=self.stays).rowcount, rows, "added")
            return replace(fill_by(self.move, new, rows), unchanged=self.move.rows - rows)
        inserted = self.insert(INSERT_ALL, rows)
        if not self.move.target.exists:
            index_keys(self.move)
        return Effect(inserted, unchanged=self.move.rows - inserted)

    def staying(self) -> int:
        """Return how many staged rows no flag deletes."""
        if self.move.destination.delete_flag is None:
            return self.move.rows
        (rows,) = self.move.ask(STAYING, stays=self.stays)
        return int(rows)

    def delete(self) -> int:
        """Delete the rows that are flagged, and those that are missing; return how many."""
        parts = {"same": matching(self.move.keys), "stays": self.stays}
        deleted = 0
        if self.move.destination.delete_flag is not None:
            deleted += self.move.run(DELETE_FLAGGED, **parts).rowcount
            demand_none(self.move, LEFT_FLAGGED, "deleted", **parts)
        if self.move.destination.merge == "delete_missing":
            deleted += self.move.run(f"DELETE {MISSING}", **parts).rowcount
            demand_none(self.move, MISSING, "deleted", **parts)
        return deleted

    def look(self) -> tuple[int, int]:
        """Return how many rows are new and how many changed; PostgreSQL finds that out in parallel."""
        insert_only = self.move.destination.merge == "insert_only"
        differs = sql.SQL("false") if insert_only else differing(self.move, self.compared)
        key = sql.Identifier(self.move.keys[0])
        new, changed = self.move.ask(LOOK, key=key, differs=differs, same=matching(self.move.keys), stays=self.stays)
        return new, changed

    @property
    def compared(self) -> tuple[str, ...]:
        """The columns in which rows may differ."""
        return tuple(column.name for column in self.move.others)

    def update(self, changed: int) -> int:
        """Change the rows that differ; return how many."""
        parts = {"same": matching(self.move.keys), "stays": self.stays, "assigned": assigned(self.compared)}
        with rows_named(self.move):
            updated = self.move.run(UPDATE, **parts, differs=differing(self.move, self.compared)).rowcount
        self.move.demand(updated, changed, "changed")
        return updated

    def insert(self, text: str, rows: int) -> int:
        """Insert rows; return how many."""
        columns = listed(column.name for column in self.move.target.columns)
        with rows_named(self.move):
            inserted = self.move.run(text, columns=columns, same=matching(self.move.keys), stays=self.stays).rowcount
        self.move.demand(inserted, rows, "added")
        return inserted
