"""Incremental reads: which rows are new, by the values of a column, and how the watermark moves."""

from collections.abc import Callable, Sequence
from dataclasses import InitVar, dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from dataproc.domain.cells import Cells, Mask
from dataproc.domain.chunk import Piece
from dataproc.domain.errors import ContractViolationError
from dataproc.domain.memory import CursorKind, CursorMove, order_of
from dataproc.domain.sources.incremental import Incremental
from dataproc.ports.memory import Memory
from dataproc.sources.boundary import EdgeOfUnit, Known, columns_of
from dataproc.sources.database.relation import Relation

Ask = Callable[[str], Sequence[Any] | None]
"""Runs a statement in the session that plans; returns its first row."""


EDGE = "dataproc_edge"
"""The column that marks rows at the new watermark; it is the last one of a statement."""


@dataclass(frozen=True, slots=True)
class AtEdge:
    """Which rows are at a watermark, `high`: those for which the expression `flag` is 1, without one all of them.

    Rows of `known` digests are left out.
    """

    high: str
    known: bytes | None = field(default=None, repr=False)
    flag: str | None = None

    def begin(self) -> EdgeOfUnit:
        """Return the state in which a unit is read."""
        return EdgeOfUnit(self.high, Known.of(self.known))


def flags_of(cells: Sequence[Cells], rows: int) -> Mask:
    """Mark the rows of a batch at the edge, by the column that marks them; without one, mark all."""
    return np.asarray(cells[0]) == 1 if cells else np.ones(rows, np.bool_)


@dataclass(slots=True)
class Batches:
    """Turns batches of rows, whose first columns were asked for, into pieces; `first` counts the rows."""

    columns: int
    at_edge: InitVar[AtEdge | None]
    first: int = 0
    edge: EdgeOfUnit | None = field(init=False)

    def __post_init__(self, at_edge: AtEdge | None) -> None:
        """Begin to follow the rows at the edge."""
        self.edge = None if at_edge is None else at_edge.begin()

    def piece(self, rows: Sequence[Any], make: Callable[[int, Sequence[Any]], Piece]) -> Piece:
        """Return the piece that `make` makes of a batch, by its first position and the columns that were asked for."""
        flags = [pa.array([int(row[self.columns]) for row in rows])] if len(rows[0]) > self.columns else []
        found = make(self.first, [row[: self.columns] for row in rows] if flags else rows)
        if self.edge is not None:
            found = self.edge.piece(found, flags_of(flags, len(rows)), self.first)
        self.first += len(rows)
        return found


@dataclass(frozen=True, slots=True)
class Part:
    """Rows that are read together."""

    conditions: Sequence[str]
    edge: AtEdge | None = None

    @property
    def is_divided(self) -> bool:
        """Whether several units may read these rows: one alone leaves out known ones."""
        return self.edge is None or self.edge.known is None

    @property
    def flags(self) -> tuple[str, ...]:
        """The column that marks the rows at the edge, where not all of them are."""
        return () if self.edge is None or self.edge.flag is None else (f"{self.edge.flag} AS {EDGE}",)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The movement of the watermark, and the parts of the relation that a run reads."""

    move: CursorMove | None
    parts: tuple[Part, ...]


EVERYTHING = Bounds(None, (Part(()),))
"""The bounds of a job that is not incremental."""


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

    def bounds(self, ask: Ask, memory: Memory, schema: pa.Schema) -> Bounds:
        """Return the bounds of the new rows on the snapshot of a session; rows have the columns of `schema`."""
        before, found = memory.watermark(self.wanted.cursor), memory.boundary()
        start = before if before is not None or self.wanted.start is None else str(self.wanted.start)
        columns = None if found.by_key else columns_of(schema)
        move = CursorMove(self.wanted.cursor, self.kind, before, before, columns, found)
        again = () if before is None or move.known is None else (Part((self.at(before),), AtEdge(before, move.known)),)
        self.refuse_nulls(ask)
        new = self.conditions(start, included=found.by_key and before is not None)
        greatest, finite = ask(self.relation.select([self.shown, self.finite], new)) or (None, 0)
        if greatest is None:
            return Bounds(move, again)
        after = str(greatest)
        self.demand_order(after, finite=int(finite) == 1)
        new.append(f"{self.ordered} <= {self.written(after)}")
        edge = None if found.by_key else AtEdge(after, flag=f"CASE WHEN {self.at(after)} THEN 1 ELSE 0 END")
        return Bounds(replace(move, after=after), (*again, Part(new, edge)))

    def conditions(self, start: str | None, *, included: bool) -> list[str]:
        """Return the conditions of rows beyond `start`, or from it on, that are old enough."""
        sign = ">=" if included else ">"
        beyond = [] if start is None else [f"{self.ordered} {sign} {self.written(start)}"]
        return [*beyond, *self.old_enough]

    def at(self, value: str) -> str:
        """Return the condition of rows at a value."""
        return f"{self.ordered} = {self.written(value)}"

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
