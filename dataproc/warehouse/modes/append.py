"""`append`: the rows are added to what is there."""

from dataproc.ports.warehouse import Effect
from dataproc.warehouse.modes.checks import rows_named
from dataproc.warehouse.modes.filling import MANY, can_be_filled, fill_by
from dataproc.warehouse.modes.move import Move
from dataproc.warehouse.modes.swap import NewTable

FILL = "INSERT INTO {new} ({columns}) SELECT {columns} FROM {staged}"
INSERT = "INSERT INTO {target} ({columns}) SELECT {columns} FROM {staged}"


def append(move: Move) -> Effect:
    """Insert all rows."""
    if move.rows >= MANY and can_be_filled(move.conn, move.target):
        new = NewTable.made(move.conn, move.load_id, move.target, lasting=True)
        move.demand(move.run(FILL, new=new.identifier).rowcount, move.rows, "added")
        return fill_by(move, new, move.rows)
    with rows_named(move):
        inserted = move.run(INSERT).rowcount
    move.demand(inserted, move.rows, "added")
    return Effect(inserted=inserted)
