"""`scd2`: every version of a row stays, with the time for which it was the one that held."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from dataproc.domain.errors import BadDataError
from dataproc.ports.warehouse import Effect
from dataproc.warehouse.modes.checks import demand_places, place_of, refuse_nulls, refuse_unclear_keys, rows_named
from dataproc.warehouse.modes.comparing import differing
from dataproc.warehouse.modes.indexes import index_keys, is_empty, note_on_index
from dataproc.warehouse.modes.kept import demand_none
from dataproc.warehouse.modes.move import Move, assigned, listed, matching

NOW = "SELECT greatest(clock_timestamp(), (SELECT max({valid_from}) FROM {target} WHERE {is_current}))"
OLDER = """
FROM {staged} AS s JOIN {target} AS t ON {same} AND t.{is_current} WHERE {differs} AND {since} < {earliest}
"""
LATE = "SELECT count(*) " + OLDER
FIRST_LATE = "SELECT __unit, __position " + OLDER + " ORDER BY 1, 2 LIMIT 1"
CORRECT = """
UPDATE {target} AS t SET {assigned} FROM {staged} AS s
WHERE {same} AND t.{is_current} AND {differs} AND {since} <= t.{valid_from}
"""
LEFT_LATE = """
FROM {target} AS t JOIN {staged} AS s ON {same}
WHERE t.{is_current} AND {differs} AND {since} <= t.{valid_from}
"""
CLOSE = """
UPDATE {target} AS t SET {valid_to} = {since}, {is_current} = false FROM {staged} AS s
WHERE {same} AND t.{is_current} AND {differs}
"""
LEFT_OPEN = "FROM {target} AS t JOIN {staged} AS s ON {same} WHERE t.{is_current} AND {differs}"
CLOSE_MISSING = """
UPDATE {target} AS t SET {valid_to} = greatest({now}, t.{valid_from}), {is_current} = false
WHERE t.{is_current} AND NOT EXISTS (SELECT FROM {staged} AS s WHERE {same})
"""
LEFT_MISSING = "FROM {target} AS t WHERE t.{is_current} AND NOT EXISTS (SELECT FROM {staged} AS s WHERE {same})"
INSERT = """
INSERT INTO {target} ({columns}, {valid_from}, {valid_to}, {is_current})
SELECT {columns}, {since}, NULL, true FROM {staged} AS s
"""
INSERT_NEW = """
WITH fresh AS MATERIALIZED (
    SELECT s.* FROM {staged} AS s WHERE NOT EXISTS (SELECT FROM {target} AS t WHERE {same} AND t.{is_current})
), ended AS (
    SELECT {their_keys}, max(t.{valid_to}) AS __ended FROM {target} AS t JOIN fresh AS s ON {same} GROUP BY {their_keys}
)
INSERT INTO {target} ({columns}, {valid_from}, {valid_to}, {is_current})
SELECT {our_columns}, greatest({since}, t.__ended), NULL, true FROM fresh AS s LEFT JOIN ended AS t ON {same}
"""
"""A version begins where the last one of its key ended, if that is later: a key that was closed may come back."""
COUNT_ALL = "SELECT count(*) FROM {staged}"
COUNT_NEW = """
SELECT count(*) FROM {staged} AS s
WHERE NOT EXISTS (SELECT FROM {target} AS t WHERE {same} AND t.{is_current})
"""


@dataclass(frozen=True, slots=True)
class History:
    """The versions of a table's rows, which a load adds to."""

    move: Move

    def keep(self) -> Effect:
        """Close the versions that are over, and add those that are new."""
        refuse_unclear_keys(self.move)
        if (effective := self.move.destination.versions.effective) is not None:
            refuse_nulls(self.move, (effective,), "since when a row is so")
        had_rows = not is_empty(self.move)
        parts = self.parts()
        updated, closed = self.change(parts) if had_rows else (0, 0)
        inserted = self.insert(parts, COUNT_NEW, INSERT_NEW) if had_rows else self.insert(parts, COUNT_ALL, INSERT)
        if not self.move.target.exists:
            index_keys(self.move, current=self.move.destination.versions.is_current)
        return Effect(inserted, updated + closed, 0, self.move.rows - inserted - updated, note_on_index(self.move))

    def parts(self) -> dict[str, sql.Composable]:
        """Return what the statements are made of."""
        versions = self.move.destination.versions
        # A date begins at midnight somewhere: here in UTC, and not where the session happens to be.
        self.move.run("SET LOCAL TimeZone = 'UTC'")
        names = zip(("valid_from", "valid_to", "is_current"), map(sql.Identifier, versions.names), strict=True)
        parts: dict[str, sql.Composable] = dict(names)
        now: datetime = self.move.ask(NOW, **parts)[0]
        since = sql.Literal(now) if versions.effective is None else sql.Identifier("s", versions.effective)
        others = tuple(c.name for c in self.move.others)
        tracked = tuple(name for name in others if name != versions.effective)
        parts |= {"now": sql.Literal(now), "since": since, "same": matching(self.move.keys)}
        parts |= {"differs": differing(self.move, tracked), "assigned": assigned(others), "earliest": self.earliest()}
        parts["their_keys"] = listed(self.move.keys, "t")
        parts["our_columns"] = listed((column.name for column in self.move.target.columns), "s")
        return parts

    def earliest(self) -> sql.Composable:
        """Return since when a row corrects the version that holds: the version's own time, where it began later."""
        versions = self.move.destination.versions
        began = sql.Identifier("t", versions.valid_from)
        if versions.effective not in {column.name for column in self.move.target.columns}:
            return began
        return sql.SQL("least({}, {})").format(began, sql.Identifier("t", str(versions.effective)))

    def change(self, parts: dict[str, sql.Composable]) -> tuple[int, int]:
        """Correct versions that began at the same time, and close those that are over; return how many of each."""
        versions = self.move.destination.versions
        corrected = 0
        if versions.effective is not None:
            self.refuse_late(parts)
            if any(column.name != versions.effective for column in self.move.others):
                corrected = self.move.run(CORRECT, **parts).rowcount
                demand_none(self.move, LEFT_LATE, "corrected", **parts)
        closed = self.move.run(CLOSE, **parts).rowcount
        demand_none(self.move, LEFT_OPEN, "closed", **parts)
        if versions.missing == "close":
            closed += self.move.run(CLOSE_MISSING, **parts).rowcount
            demand_none(self.move, LEFT_MISSING, "closed", **parts)
        return corrected, closed

    def refuse_late(self, parts: dict[str, sql.Composable]) -> None:
        """Refuse rows that are older than what holds already: which versions lie between, nobody could tell."""
        (count,) = self.move.ask(LATE, **parts)
        if count:
            demand_places(self.move)
            unit, position = self.move.ask(FIRST_LATE, **parts)
            raise BadDataError(
                f"{count} rows are older ({self.move.destination.versions.effective}) than the versions that hold in "
                f"{self.move.target.name}, the first is {place_of(self.move, unit, position)}; leave such rows out",
                rows=count,
            )

    def insert(self, parts: dict[str, sql.Composable], count: str, insert: str) -> int:
        """Add a version of each row whose key has none that holds; return how many."""
        (new,) = self.move.ask(count, **parts)
        with rows_named(self.move):
            inserted = self.move.run(insert, **parts).rowcount
        self.move.demand(inserted, new, "added")
        return inserted
