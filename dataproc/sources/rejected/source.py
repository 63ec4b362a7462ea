"""The source of a replay: rows that a job has set aside, as they were when a rule was broken."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import pyarrow as pa

from dataproc.domain.chunk import Chunk, Piece, no_rejects, number, with_positions
from dataproc.domain.errors import BadDataError, InvalidSpecError, Problem, SourceChangedError, SourceNotFoundError
from dataproc.domain.replay import Replay, Selection
from dataproc.domain.row_text import row_of
from dataproc.domain.source_columns import EVERYTHING_INFERRED, SourceColumns
from dataproc.domain.sources.rejects import RejectsSource
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.ports.memory import BLANK, Memory
from dataproc.ports.rejects import RawRow, RejectedRows
from dataproc.sources.json_values import BadLineError, object_of, raws_of
from dataproc.sources.rejected.columns import Row, schema_of, table_of
from dataproc.sources.schemas import checked_names

ROWS_IN_UNIT, BYTES_IN_UNIT = 50_000, 32 * 1024 * 1024
ROWS_IN_PIECE, BYTES_IN_PIECE = 10_000, 8 * 1024 * 1024


@dataclass(slots=True)
class Cut:
    """A unit that grows row by row."""

    first: int
    end: int = 0
    rows: int = 0
    size: int = 0

    def add(self, row: RawRow) -> None:
        """Take a row in."""
        self.end, self.rows, self.size = row.id + 1, self.rows + 1, self.size + len(row.text)


@dataclass(frozen=True, slots=True)
class RejectedSource:
    """Rows that a job has set aside and that no other has loaded since; a row that broke several rules comes once."""

    spec: RejectsSource
    rejected: RejectedRows
    columns: SourceColumns = EVERYTHING_INFERRED
    rows_in_unit: int = ROWS_IN_UNIT
    rows_in_piece: int = ROWS_IN_PIECE

    @property
    def selection(self) -> Selection:
        """Which rejects are meant."""
        return Selection(self.spec.job, self.spec.rule, self.spec.column)

    def plan(self, memory: Memory = BLANK) -> SourcePlan:
        """Cut the rows that wait into units; the types of the columns are told from all of them."""
        if not self.rejected.is_published(self.spec.job):
            raise SourceNotFoundError(
                f"source/job: job {self.spec.job} has published nothing; rejects are there once a job is completed",
                job=self.spec.job,
            )
        cuts: list[Cut] = []
        schema = schema_of(self.counted(cuts), self.columns.with_target(memory.target_columns(), memory.late_columns()))
        checked_names(schema.names, f"the rejects of job {self.spec.job}")
        units = tuple(replace(self.unit_of(cut), schema=schema) for cut in cuts)
        replay = Replay(self.selection, sum(cut.rows for cut in cuts))
        return SourcePlan(units, schema, notes=tuple(self.notes()), replay=replay)

    def counted(self, cuts: list[Cut]) -> Iterator[Row]:
        """Yield all rows, and add to `cuts` where they are."""
        for raw in self.rejected.rows(self.selection):
            self.demand_care(raw)
            if not cuts or self.is_full(cuts[-1]):
                cuts.append(Cut(raw.id))
            cuts[-1].add(raw)
            yield parsed(raw)

    def is_full(self, cut: Cut) -> bool:
        """Return whether the next row begins another unit."""
        return cut.rows >= self.rows_in_unit or cut.size >= BYTES_IN_UNIT

    def demand_care(self, raw: RawRow) -> None:
        """Refuse to treat personal rows as others: what is set aside of them again would be readable."""
        if raw.was_encrypted and not self.spec.personal:
            wrong = Problem("/source/personal", "these rows are personal: write `personal: true`")
            raise InvalidSpecError(f"{wrong.pointer}: {wrong.message}", (wrong,))

    def unit_of(self, cut: Cut) -> Unit:
        """Return a unit; as rows can only be taken away, its number of rows tells whether they are still the same."""
        name = f"rejects/{self.spec.job}"
        span = (cut.first, cut.end)
        return Unit(f"{name}/{cut.first}-{cut.end}/{cut.rows}", name, str(cut.rows), cut.size, span, cut.rows)

    def notes(self) -> Iterator[str]:
        """Yield what should be known of what is left behind."""
        if stuck := self.rejected.stuck(self.selection):
            yield f"{stuck} rejects of job {self.spec.job} hold no whole row: they stay, and cannot be replayed"

    def read(self, unit: Unit) -> Iterator[Chunk]:
        """Yield the chunks of a unit."""
        if unit.schema is None:
            raise TypeError(unit)
        return number(unit.id, unit.schema, self.pieces(unit, unit.schema))

    def pieces(self, unit: Unit, schema: pa.Schema) -> Iterator[Piece]:
        """Yield the rows of a unit, some at a time; fewer than were planned means that another replay took them."""
        count = 0
        for rows in in_pieces(self.rejected.rows(self.selection, unit.span), self.rows_in_piece):
            yield Piece(with_positions(table_of(rows, schema), count), no_rejects())
            count += len(rows)
        if count != unit.rows:
            told = f"{unit.id}: another replay took some of these rows; the next attempt takes what is left"
            raise SourceChangedError(told, unit=unit.id)


def in_pieces(raws: Iterable[RawRow], rows_in_piece: int) -> Iterator[list[Row]]:
    """Yield rows in lists of at most `rows_in_piece`, or of some megabytes."""
    rows: list[Row] = []
    size = 0
    for raw in raws:
        rows.append(parsed(raw))
        size += len(raw.text)
        if len(rows) >= rows_in_piece or size >= BYTES_IN_PIECE:
            yield rows
            rows, size = [], 0
    if rows:
        yield rows


def parsed(raw: RawRow) -> Row:
    """Return the row that a reject holds, each value as its characters."""
    try:
        return object_of(raw.text.encode())
    except BadLineError:
        # Earlier releases kept rows with words such as NaN in place of numbers.
        row = row_of(raw.text)
    if row is None:
        raise BadDataError(f"reject {raw.id} does not hold a whole row, although it was kept as one; was it changed?")
    return raws_of(row)
