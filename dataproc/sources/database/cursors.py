"""Incremental reads: which rows are new, by the values of a column, and how the watermark moves."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dataproc.domain.errors import ContractViolationError
from dataproc.domain.memory import CursorKind, CursorMove, order_of
from dataproc.domain.sources.incremental import Incremental
from dataproc.ports.memory import Memory
from dataproc.sources.database.relation import Relation

Ask = Callable[[str], Sequence[Any] | None]
"""Runs a statement in the session that plans; returns its first row."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is new: how the watermark moves, and the conditions of the rows between; `None`: there is nothing new."""

    move: CursorMove | None
    conditions: Sequence[str] | None


EVERYTHING = Bounds(None, ())
"""What is read of a job that is not incremental."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The column that tells what is new, in the words of a database.

    `ordered` is the column in the order of the watermark, `shown` its greatest value as the text that is remembered,
    `finite` whether that can be compared, and `old_enough` the conditions that leave young rows for the next run.
    """

    wanted: Incremental
    relation: Relation
    kind: CursorKind
    ordered: str
    shown: str
    finite: str = "1"
    old_enough: Sequence[str] = ()
    literal: Callable[[str], str] = lambda text: "'" + text.replace("'", "''") + "'"

    def bounds(self, ask: Ask, memory: Memory) -> Bounds:
        """Return what is new on the snapshot of the session that is asked."""
        before = memory.watermark(self.wanted.cursor)
        start = before if before is not None or self.wanted.start is None else str(self.wanted.start)
        self.refuse_nulls(ask)
        greatest, finite = ask(self.relation.select([self.shown, self.finite], self.conditions(start))) or (None, 0)
        if greatest is None:
            return Bounds(CursorMove(self.wanted.cursor, self.kind, before, before), None)
        after = str(greatest)
        self.demand_order(after, finite=int(finite) == 1)
        most = f"{self.ordered} <= {self.written(after)}"
        return Bounds(CursorMove(self.wanted.cursor, self.kind, before, after), [*self.conditions(start), most])

    def conditions(self, start: str | None) -> list[str]:
        """Return the conditions of rows beyond `start` that are old enough."""
        beyond = [] if start is None else [f"{self.ordered} > {self.written(start)}"]
        return [*beyond, *self.old_enough]

    def written(self, value: str) -> str:
        """Return a value of the cursor as it stands in a statement."""
        try:
            return str(order_of(value, "number")) if self.kind == "number" else self.literal(value)
        except ArithmeticError as exc:
            raise self.refused(f"is a number, and {value!r} is none; check start") from exc

    def refuse_nulls(self, ask: Ask) -> None:
        """Refuse a cursor that is null in some row: no run would ever read it."""
        row = ask(self.relation.select(["count(*)"], [f"{self.relation.quoted(self.wanted.cursor)} IS NULL"]))
        if row is not None and int(row[0]):
            raise self.refused(f"is null in {row[0]} rows, which no run would ever read; leave them out by where")

    def demand_order(self, greatest: str, *, finite: bool) -> None:
        """Refuse a greatest value that cannot be compared with others, such as infinity."""
        try:
            fits = finite and order_of(greatest, self.kind) == order_of(greatest, self.kind)
        except (ValueError, ArithmeticError):
            fits = False
        if not fits:
            raise self.refused(
                "holds a value that nothing comes after, or no time at all; leave such rows out by where"
            )

    def refused(self, why: str) -> ContractViolationError:
        """Return the error for a column that cannot be the cursor."""
        return refusal(self.relation, self.wanted, why)


def kind_of(relation: Relation, wanted: Incremental, kinds: dict[str, CursorKind], sql_type: str) -> CursorKind:
    """Return how the values of a type are ordered, or refuse the type."""
    kind = kinds.get(sql_type)
    if kind is None:
        raise refusal(relation, wanted, f"is {sql_type}; take a number, a time or text")
    if wanted.lag and kind != "timestamp":
        raise refusal(relation, wanted, f"is {sql_type}, of which no age is known; leave lag out, or take a time")
    return kind


def place_of(relation: Relation, wanted: Incremental, names: Sequence[str]) -> int:
    """Return which of the columns the cursor is, or say that there is no such column."""
    if wanted.cursor not in names:
        raise refusal(relation, wanted, f"is not there; there are {', '.join(names)}")
    return names.index(wanted.cursor)


def refusal(relation: Relation, wanted: Incremental, why: str) -> ContractViolationError:
    """Return the error for a column that cannot be the cursor."""
    name = wanted.cursor
    return ContractViolationError(f"incremental/cursor: column {name!r} of {relation.label} {why}", column=name)
