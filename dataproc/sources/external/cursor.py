"""The cursor of an incremental source: which rows are new, and how far they reach."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from dataproc.domain.chunk import POSITION, Piece
from dataproc.domain.errors import ContractViolationError
from dataproc.domain.memory import CursorKind, CursorMove, joined_digests
from dataproc.sources.boundary import Known, digests_of
from dataproc.sources.rejects import Reject, reject_table, row_text


def kind_of_cursor(schema: pa.Schema, cursor: str) -> CursorKind:
    """Return how the values of a column are ordered, or refuse a column that is not there or has no order."""
    if cursor not in schema.names:
        msg = f"incremental/cursor: the rows have no column {cursor!r}; they have {', '.join(schema.names)}"
        raise ContractViolationError(msg, column=cursor)
    kind = schema.field(cursor).type
    if t.is_timestamp(kind):
        return "timestamp"
    if t.is_integer(kind) or t.is_floating(kind):
        return "number"
    if t.is_string(kind) or t.is_date(kind):
        return "text"
    msg = f"incremental/cursor: column {cursor!r} is {kind}, which does not grow; name a number, a time or a text"
    raise ContractViolationError(msg, column=cursor)


def value_of(move: CursorMove) -> object:
    """Return the value of Python that a watermark stands for; `None`: nothing was read yet."""
    if move.before is None:
        return None
    match move.kind:
        case "number":
            number = Decimal(move.before)
            return int(number) if number == number.to_integral_value() else float(number)
        case "timestamp":
            return datetime.fromisoformat(move.before)
        case "text":
            return move.before


@dataclass(frozen=True, slots=True)
class Beyond:
    """Leaves out the rows that earlier runs have read; `known` are those at the watermark."""

    move: CursorMove
    known: Known

    @classmethod
    def of(cls, move: CursorMove) -> "Beyond":
        """Return the filter for rows that were read before `move`."""
        return cls(move, Known.of(move.known))

    def piece(self, piece: Piece) -> Piece:
        """Return a piece without the rows that were read before; a row without a cursor is set aside."""
        name = self.move.cursor
        rows = piece.rows.filter(pc.is_valid(piece.rows[name]))
        without = piece.rows.filter(pc.is_null(piece.rows[name]))
        rows = self.new(rows)
        aside = [piece.rejects, reject_table(no_cursor(row, name) for row in without.to_pylist())]
        filtered = piece.rows.num_rows - without.num_rows - rows.num_rows
        found = piece._replace(rows=rows, rejects=pa.concat_tables(aside), filtered=filtered)
        if not rows.num_rows:
            return found
        highest = pc.max(rows[name])
        if self.move.columns is None:
            return found._replace(high=as_text(highest))
        digests = digests_of(rows.filter(pc.equal(rows[name], highest)))
        return found._replace(high=as_text(highest), edge=joined_digests(list(digests.values())))

    def new(self, rows: pa.Table) -> pa.Table:
        """Return the rows that were not read before: those beyond the watermark, and at it those that are not known."""
        if self.move.before is None:
            return rows
        cursor = rows[self.move.cursor]
        before = pa.scalar(value_of(self.move), cursor.type)
        if self.move.found.by_key:
            return rows.filter(pc.greater_equal(cursor, before))
        beyond = pc.greater(cursor, before)
        if self.move.known is None:
            return rows.filter(beyond)
        digests = digests_of(rows.filter(pc.equal(cursor, before)))
        new = [position for position, one in digests.items() if not self.known.takes(one)]
        return rows.filter(pc.or_(beyond, pc.is_in(rows[POSITION], pa.array(new, pa.int64()))))


def no_cursor(row: dict[str, object], cursor: str) -> Reject:
    """Return the reject of a row that nobody can tell whether it is new."""
    position = int(str(row.pop(POSITION)))
    return Reject(position, "cursor", cursor, f"row {position + 1}: the cursor {cursor!r} is null", row_text(row))


def as_text(value: "pa.Scalar[Any]") -> str:
    """Return the value of a cursor as a watermark keeps it."""
    found = value.as_py()
    return found.isoformat() if isinstance(found, datetime) else str(found)
