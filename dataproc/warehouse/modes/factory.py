"""Which mode a destination asks for, and what it does with rows that are staged, or that went straight into a table."""

from typing import assert_never

from dataproc.domain.chunk import Account
from dataproc.domain.destination import Destination
from dataproc.domain.errors import BadDataError
from dataproc.ports.warehouse import Effect
from dataproc.warehouse.modes.append import append
from dataproc.warehouse.modes.checks import refuse_nulls, unless_doubled
from dataproc.warehouse.modes.filling import fill_by
from dataproc.warehouse.modes.indexes import index_keys, with_staleness
from dataproc.warehouse.modes.merge import Merge
from dataproc.warehouse.modes.move import Move
from dataproc.warehouse.modes.nothing import move_nothing
from dataproc.warehouse.modes.partition import replace_partitions
from dataproc.warehouse.modes.replace import Replacement
from dataproc.warehouse.modes.scd2 import History
from dataproc.warehouse.modes.swap import NewTable


def refuse_rejects(destination: Destination, account: Account) -> None:
    """Refuse rows that were set aside where the mode would take them for missing, and delete what they stand for."""
    if account.rejected and destination.drops_what_is_missing and destination.mode != "replace":
        raise BadDataError(
            f"{account.rejected} rows were set aside, and mode {destination.mode} would treat their rows in "
            f"{destination.table} as missing; correct them, or let it keep rows that are missing",
            rows=account.rejected,
        )


def move_rows(move: Move) -> Effect:
    """Bring the staged rows into the target as its mode says; return what that has done to it."""
    return with_staleness(move, moved(move, move.destination))


def moved(move: Move, destination: Destination) -> Effect:
    """Return what a mode has done with staged rows."""
    match destination.mode:
        case "append":
            return append(move)
        case "merge":
            return Merge(move).merge()
        case "replace":
            return Replacement(move).replace()
        case "replace_partition":
            return replace_partitions(move)
        case "scd2":
            return History(move).keep()
        case _:
            assert_never(destination.mode)


def settle(move: Move, new: NewTable | None) -> Effect:
    """Finish a load whose rows went straight into the target, or into a new table that takes its place."""
    if not move.target.columns:
        return move_nothing(move)
    if new is not None:
        return with_staleness(move, put_in_place(move, new))
    if move.destination.mode == "merge":
        settle_keys(move)
    return with_staleness(move, Effect(inserted=move.rows))


def put_in_place(move: Move, new: NewTable) -> Effect:
    """Let a new table that has the rows take the place of the target, or bring them into it."""
    match move.destination.mode:
        case "append":
            return fill_by(move, new, move.rows)
        case "merge":
            effect = Merge(move, new).merge()
        case "replace":
            effect = Replacement(move, new).replace()
        case _:
            effect = moved(move, move.destination)
    # Where it has not become the target, it has held the rows until they were brought in.
    new.run("DROP TABLE IF EXISTS {new}")
    return effect


def settle_keys(move: Move) -> None:
    """Give a new table an index on its keys; whether these tell one row from another shows by that."""
    with unless_doubled(move.target):
        index_keys(move)
    if not move.distinct:
        refuse_nulls(move, move.keys, "a key")
