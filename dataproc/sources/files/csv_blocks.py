"""Blocks of CSV records: Arrow's reader on each, and a slower one where that fails."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.types as t

from dataproc.arrow.timestamps import early_in
from dataproc.domain.cells import Cells, Mask
from dataproc.domain.chunk import POSITION, POSITION_FIELD, Piece, texts_of
from dataproc.domain.contract import Contract
from dataproc.domain.errors import BadDataError, ContractViolationError
from dataproc.domain.source_columns import holds_text, is_inferred, read_as, sql_type_of
from dataproc.domain.sources.files import CsvOptions
from dataproc.domain.unit import Unit
from dataproc.sources.drift import RULE, Drift, refuse_missing, unknown_column_message
from dataproc.sources.files import lines
from dataproc.sources.files.cells import are_codes, text_of, values_of, words_in
from dataproc.sources.files.csv_bytes import is_utf8
from dataproc.sources.files.csv_parsing import is_read_from_text, parsed_csv, parsed_text, without_blanks
from dataproc.sources.files.quoting import last_record_end, repaired
from dataproc.sources.rejects import Reject, reject_table, row_text
from dataproc.sources.schemas import checked_names

CODED = (t.is_integer, t.is_boolean, t.is_floating)
"""Types as which Arrow's reader accepts codes: `007` as a number, `1` as a truth value."""


@dataclass(slots=True)
class BlockReader:
    """Reads the blocks of one unit in turn, and counts its records."""

    options: CsvOptions
    encoding: str
    contract: Contract
    unit: Unit
    names: tuple[str, ...]
    schema: pa.Schema
    lines_before: int
    count: int = field(default=0, init=False)
    drift: Drift = field(init=False)
    blankless: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        """Begin without drift; in `blankless` columns an empty cell in quotes is null."""
        self.drift = Drift(self.unit.uri, self.contract)
        mode = self.options.quoted_empty
        self.blankless = frozenset(
            column.name for column in self.schema if mode == "null" or (mode == "auto" and not holds_text(column))
        )

    def all(self, parts: Iterator[bytes]) -> Iterator[Piece]:
        """Yield the rows and rejects of each block."""
        self.check_names()
        for block in lines.blocks(parts, self.unit.uri, lambda b: last_record_end(b, self.options)):
            rows, positions, rejects = self.read(block)
            placed, strange = self.without_strangers(rows.append_column(POSITION_FIELD, pa.array(positions)))
            yield Piece(self.shaped(placed), reject_table(rejects + strange), discarded=self.drift.taken())

    def check_names(self) -> None:
        """Raise for a column that the plan does not know, unless it may be left out, and for one that may not lack."""
        refuse_missing(self.unit.uri, [n for n in self.schema.names if n not in self.names], self.contract)
        for name in checked_names(self.names, self.unit.uri):
            if name not in self.schema.names and not self.drift.takes_stranger(name):
                msg = unknown_column_message("column", self.unit.uri, name)
                raise ContractViolationError(msg, uri=self.unit.uri, column=name)

    def read(self, block: bytes) -> tuple[pa.Table, np.ndarray, list[Reject]]:
        """Return the rows of a block, their positions, and its rejects."""
        if not is_utf8(block):
            return self.read_slowly(block)
        # Arrow's reader gives other decimals for some that are too long, rounds doubles, takes codes for numbers, and
        # the characters of PostgreSQL's forms of bytes for bytes.
        as_text = [name for name in self.names if self.is_strict(name) or is_read_from_text(self.type_of(name))]
        may_have_blanks = bool(self.blankless) and (self.options.quote or "").encode() * 2 in block
        found = self.parsed(block, as_text)
        if found is None and may_have_blanks:
            as_text = [name for name in self.names if name in as_text or name in self.blankless]
            found = self.parsed(block, as_text)
        if found is None:
            return self.read_slowly(block)
        rows, ragged = found
        if may_have_blanks:
            rows = self.with_nulls(rows)
        if self.is_suspicious(block, ragged) or self.may_have_changed(block, rows) or self.has_words(rows):
            return self.read_slowly(block)
        for name in as_text:
            values, bad = values_of(rows[name].combine_chunks(), self.type_of(name), is_exact=self.is_strict(name))
            if bad.any():
                return self.read_slowly(block)
            rows = rows.set_column(rows.schema.get_field_index(name), name, values)
        return rows, *self.numbered(rows.num_rows, ragged, np.empty(0, np.int64))

    def parsed(self, block: bytes, as_text: Sequence[str]) -> tuple[pa.Table, list[pa_csv.InvalidRow]] | None:
        """Return the rows of a block in UTF-8, some columns as text, and its ragged records.

        `None`: a cell does not fit the type of its column.
        """
        types = {name: self.type_of(name) for name in self.names} | dict.fromkeys(as_text, pa.string())
        ragged: list[pa_csv.InvalidRow] = []
        try:
            return parsed_text(block, self.options, self.names, types, ragged), ragged
        except pa.ArrowInvalid:
            return None

    def with_nulls(self, rows: pa.Table) -> pa.Table:
        """Return rows in which empty cells of columns without blanks are null."""
        for at, column in enumerate(rows.schema):
            if column.name in self.blankless and t.is_string(column.type):
                rows = rows.set_column(at, column.name, without_blanks(rows[column.name]))
        return rows

    def is_suspicious(self, block: bytes, ragged: list[pa_csv.InvalidRow]) -> bool:
        """Whether a quote may be open at the end, or may have swallowed lines."""
        quote = self.options.quote
        if quote is None:
            return False
        return block.count(quote.encode()) % 2 == 1 or any("\n" in row.text for row in ragged)

    def has_words(self, rows: pa.Table) -> bool:
        """Whether a column of exact numbers has a cell that is not a number."""
        return any(
            self.not_numbers(rows[name].combine_chunks(), name).any() for name in self.names if self.is_exact(name)
        )

    def not_numbers(self, text: Cells, name: str) -> Mask:
        """Mark the cells of a column of exact numbers that are words, and, if its type is inferred, codes."""
        words = words_in(text)
        return words | are_codes(text) if is_inferred(self.schema.field(name)) else words

    def is_exact(self, name: str) -> bool:
        """Whether a column has the characters of exact numbers."""
        return name in self.schema.names and read_as(self.schema.field(name)) == "numeric"

    def may_have_changed(self, block: bytes, rows: pa.Table) -> bool:
        """Whether Arrow may have taken hexadecimal digits for a number, or a number out of range for another one."""
        if any(map(t.is_integer, rows.schema.types)) and (b"0x" in block or b"0X" in block):
            return True
        if any(
            early_in(column).any() for column in rows.columns if t.is_date(column.type) or t.is_timestamp(column.type)
        ):
            return True
        floating = [column for column in rows.columns if t.is_floating(column.type)]
        if not floating:
            return False
        may_be_tiny = b"e-" in block or b"E-" in block
        return any(
            bool(
                pc.any(pc.is_inf(column)).as_py()
                or (may_be_tiny and pc.any(pc.equal(column, pa.scalar(0, column.type))).as_py())
            )
            for column in floating
        )

    def read_slowly(self, block: bytes) -> tuple[pa.Table, np.ndarray, list[Reject]]:
        """Return the same as `read` for a block with broken quotes or with values that do not fit."""
        whole, broken, before = repaired(block, len(self.names), self.options)
        ragged: list[pa_csv.InvalidRow] = []
        try:
            cells = parsed_csv(whole, self.options, self.names, dict.fromkeys(self.names, pa.binary()), ragged)
        except pa.ArrowInvalid as exc:
            raise BadDataError(f"{self.unit.uri} cannot be read as csv near {self.line(self.count)}") from exc
        start = self.count
        positions, rejects = self.numbered(cells.num_rows, ragged, before)
        rejects += [self.reject(start + at, "a quote is not closed", text) for at, text in broken]
        return self.fitted(cells, positions, rejects)

    def numbered(
        self, rows: int, ragged: list[pa_csv.InvalidRow], taken: np.ndarray
    ) -> tuple[np.ndarray, list[Reject]]:
        """Return the positions of the good rows and rejects for the ragged ones; `taken` are numbers used already."""
        total = rows + len(ragged) + len(taken)
        free = np.delete(np.arange(total, dtype=np.int64), taken) + self.count
        aside = np.array([(row.number or 1) - 1 for row in ragged], np.int64)
        rejects = [
            self.reject(int(free[at]), f"{row.actual_columns} cells instead of {row.expected_columns}", row.text)
            for at, row in zip(aside, ragged, strict=True)
        ]
        self.count += total
        return np.delete(free, aside), rejects

    def fitted(
        self, cells: pa.Table, positions: np.ndarray, rejects: list[Reject]
    ) -> tuple[pa.Table, np.ndarray, list[Reject]]:
        """Return the rows of which all cells fit their types; the others are added to the rejects."""
        bad = np.zeros(cells.num_rows, np.bool_)
        columns: dict[str, Cells] = {}
        left_out: dict[str, Mask] = {}
        for name in self.names:
            text, not_text = text_of(cells[name].combine_chunks())
            if name in self.blankless:
                text = without_blanks(text)
            columns[name], not_fit = values_of(text, self.type_of(name), is_exact=self.is_strict(name))
            if self.is_exact(name) and t.is_string(self.type_of(name)):
                not_fit = self.not_numbers(text, name)
            if not_fit.any() and self.drift.leaves_out(name, self.told(name, int(positions[not_fit.argmax()]))):
                left_out[name] = not_fit
                not_fit = np.zeros(len(bad), np.bool_)
            for mask, rule in ((not_text, "parse"), (not_fit, self.drift.rule(name))):
                bad |= mask
                found = [int(at) for at in mask.nonzero()[0]]
                rejects += [self.misfit(cells.slice(at, 1), int(positions[at]), name, rule) for at in found]
        self.drift.counts.update({name: int((mask & ~bad).sum()) for name, mask in left_out.items()})
        good = pa.table(columns).filter(pa.array(~bad))
        return good, positions[~bad], rejects

    def is_strict(self, name: str) -> bool:
        """Return whether a column of numbers or truth values has an inferred type."""
        dtype = self.type_of(name)
        return any(is_such(dtype) for is_such in CODED) and is_inferred(self.schema.field(name))

    def kind_of(self, name: str) -> str:
        """Return the name of a column's type for error messages."""
        sql_type = sql_type_of(self.schema.field(name)) if name in self.schema.names else None
        return sql_type or str(self.type_of(name))

    def type_of(self, name: str) -> pa.DataType:
        """Return the type of a column; one that the plan does not know is text."""
        return self.schema.field(name).type if name in self.schema.names else pa.string()

    def without_strangers(self, rows: pa.Table) -> tuple[pa.Table, list[Reject]]:
        """Return rows without those that have a value in a column that is left out, and these as rejects."""
        rejects: list[Reject] = []
        for name in (name for name in self.names if name not in self.schema.names):
            has = np.asarray(pc.is_valid(rows[name]), np.bool_)
            if self.contract.of(name) == "discard_value":
                self.drift.counts[name] += int(has.sum())
                continue
            strange, rows = rows.filter(pa.array(has)), rows.filter(pa.array(~has))
            texts = zip(strange[POSITION].to_numpy(), texts_of(strange.drop_columns([POSITION])), strict=True)
            reason = f"column {name!r} is not among the columns of the source"
            rejects += [Reject(int(at), RULE, name, f"{self.line(int(at))}: {reason}", text) for at, text in texts]
        return rows, rejects

    def told(self, name: str, position: int) -> str:
        """Return what is wrong with a value, without showing it."""
        return f"{self.line(position)}: column {name!r} does not fit type {self.kind_of(name)}"

    def misfit(self, cells: pa.Table, position: int, name: str, rule: str) -> Reject:
        """Return a reject for the one row in `cells`, of which the cell `name` does not fit."""
        row = {
            key: None if cell is None else cell.decode(errors="replace") for key, cell in cells.to_pylist()[0].items()
        }
        problem = f"is not {self.encoding}" if rule == "parse" else f"does not fit type {self.kind_of(name)}"
        return Reject(position, rule, name, f"{self.line(position)}: column {name!r} {problem}", row_text(row))

    def reject(self, position: int, reason: str, text: str) -> Reject:
        """Return a reject for a record that cannot be read."""
        return Reject(position, "parse", None, f"{self.line(position)}: {reason}", text)

    def line(self, position: int) -> str:
        """Return where a record stands: its line, unless comments, blank lines or values with newlines come before."""
        where = "" if self.unit.span is None or self.unit.span[0] == 0 else f" after byte {self.unit.span[0]}"
        return f"line {position + 1 + self.lines_before}{where}"

    def shaped(self, rows: pa.Table) -> pa.Table:
        """Return rows with all columns of the plan, in its order."""
        columns = [rows[f.name] if f.name in self.names else pa.nulls(rows.num_rows, f.type) for f in self.schema]
        return pa.table([*columns, rows[POSITION]], schema=self.schema.append(POSITION_FIELD))
