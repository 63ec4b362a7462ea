"""What a mode does when a source gives nothing at all, not even columns."""

from psycopg import sql

from dataproc.ports.warehouse import Effect
from dataproc.warehouse.modes.kept import demand_none
from dataproc.warehouse.modes.move import Move
from dataproc.warehouse.modes.replace import refuse_deleting_keys

LOCK = "LOCK TABLE {target} IN SHARE ROW EXCLUSIVE MODE"
DELETE = "DELETE FROM {target}"
CLOSE = """
UPDATE {target} SET {valid_to} = greatest(clock_timestamp(), {valid_from}), {is_current} = false WHERE {is_current}
"""


def move_nothing(move: Move) -> Effect:
    """Let every row leave the table, or close it, where the mode does that with what is missing."""
    if not move.target.exists or not move.destination.drops_what_is_missing:
        return Effect()
    move.run(LOCK)
    if move.destination.mode == "scd2":
        names = zip(
            ("valid_from", "valid_to", "is_current"), map(sql.Identifier, move.destination.versions.names), strict=True
        )
        parts = dict(names)
        closed = move.run(CLOSE, **parts).rowcount
        demand_none(move, "FROM {target} WHERE {is_current}", "closed", **parts)
        return Effect(updated=closed)
    refuse_deleting_keys(move)
    deleted = move.run(DELETE).rowcount
    demand_none(move, "FROM {target}", "deleted")
    return Effect(deleted=deleted)
