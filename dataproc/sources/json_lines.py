"""JSON Lines: types from a sample, Arrow's reader on each block, and Python's where that fails.

Numbers, truth values and text keep their types; a column with objects or arrays becomes JSON text, one
with a mixture becomes text. Numbers with a fraction are read as float64, as most JSON readers do.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, cast

import pyarrow as pa
import pyarrow.json as pj

from dataproc.domain.chunk import POSITION_FIELD, no_rejects, with_positions
from dataproc.domain.errors import ContractViolationError
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.sources import lines
from dataproc.sources.formats import readable
from dataproc.sources.json_values import JSON, BadLineError, kind_of, object_of, to_value, widened
from dataproc.sources.rejects import Reject, reject_table
from dataproc.sources.schemas import checked_names, conformed, first_sampled
from dataproc.sources.storage import FoundFile, Storage

Piece = tuple[pa.Table, pa.Table]


@dataclass(frozen=True, slots=True)
class JsonLinesFormat:
    """JSON Lines; the columns named in `text` come as text, whatever their values are."""

    unit_size: int
    text: frozenset[str] = frozenset()

    def plan(self, storage: Storage, files: Sequence[FoundFile]) -> SourcePlan:
        """Sample the first file that has rows, and cut large files."""
        samples = (sampled(storage, file) for file in files if file.size)
        schema = first_sampled((sample, len(sample.names)) for sample in samples)
        units = tuple(unit for file in files for unit in self.units(file, schema))
        return SourcePlan(units, self.shown(schema))

    def units(self, file: FoundFile, schema: pa.Schema) -> Iterator[Unit]:
        """Yield the units of one file."""
        for start, stop in lines.spans(file, self.unit_size):
            yield file.unit(schema, kind="bytes", span=(start, stop), size=stop - start, rows=None)
        if not lines.spans(file, self.unit_size):
            yield file.unit(schema, size=file.size, rows=None)

    def shown(self, schema: pa.Schema) -> pa.Schema:
        """Return the types of the rows: JSON text is text, and so are the columns named in `text`."""
        return pa.schema(
            [pa.field(f.name, pa.string() if f.type == JSON or f.name in self.text else f.type) for f in schema]
        )

    def read(self, storage: Storage, unit: Unit, schema: pa.Schema) -> Iterator[Piece]:
        """Yield the rows and rejects of a unit, block by block."""
        size = unit.size if unit.span is None else None
        with storage.open(unit.uri, unit.version, size, ahead=True) as file, readable(unit.uri, "jsonl"):
            first, parts = lines.peeked(lines.pieces(file, unit))
            begins = unit.span is None or unit.span[0] == 0
            skip = len(lines.BOM) if begins and first.startswith(lines.BOM) else 0
            reader = BlockReader(unit, schema, self.shown(schema))
            yield from map(reader.read, lines.blocks(lines.skipped(parts, skip), unit.uri, lines.last_line_end))


@dataclass(slots=True)
class BlockReader:
    """Reads the blocks of one unit in turn, and counts its records."""

    unit: Unit
    types: pa.Schema
    schema: pa.Schema
    count: int = field(default=0, init=False)

    def read(self, block: bytes) -> Piece:
        """Return the rows and rejects of a block."""
        rows = self.read_fast(block)
        if rows is None:
            return self.read_slowly(block)
        first = self.count
        self.count += rows.num_rows
        return with_positions(conformed(rows, self.schema), first), no_rejects()

    def read_fast(self, block: bytes) -> pa.Table | None:
        """Return the rows of a block in which every line is an object that fits; else `None`."""
        if JSON in self.types.types or not self.types.names:
            return None
        try:
            rows = pj.read_json(
                cast("IO[bytes]", pa.BufferReader(block)),
                pj.ReadOptions(use_threads=False, block_size=len(block) + 1),
                pj.ParseOptions(explicit_schema=self.types, unexpected_field_behavior="error"),
            )
        except (pa.ArrowInvalid, UnicodeDecodeError):
            return None
        # Arrow takes several objects on one line, and passes over blank lines.
        lines_in_block = block.count(b"\n") + (not block.endswith(b"\n"))
        return rows if rows.num_rows == lines_in_block else None

    def read_slowly(self, block: bytes) -> Piece:
        """Return the same as `read` for any block, line by line."""
        values: dict[str, list[object]] = {name: [] for name in self.schema.names}
        positions: list[int] = []
        rejects: list[Reject] = []
        for line in block.split(b"\n"):
            if not line.strip():
                continue
            try:
                self.add(object_of(line), values)
                positions.append(self.count)
            except BadLineError as exc:
                rejects.append(self.reject(exc, line))
            self.count += 1
        columns = [pa.array(values[f.name], f.type) for f in self.schema]
        rows = pa.table([*columns, pa.array(positions, pa.int64())], schema=self.schema.append(POSITION_FIELD))
        return rows, reject_table(rejects)

    def add(self, found: dict[str, object], values: dict[str, list[object]]) -> None:
        """Add the values of one line to their columns, all or none."""
        for name in found:
            if name not in values:
                msg = f"{self.unit.uri}: {self.line()} has the key {name!r}, which the first lines of the source lack"
                raise ContractViolationError(f"{msg}; put it into the first line", uri=self.unit.uri, column=name)
        row = {f.name: to_value(found.get(f.name), self.types.field(f.name).type, f) for f in self.schema}
        for name, value in row.items():
            values[name].append(value)

    def reject(self, exc: BadLineError, line: bytes) -> Reject:
        """Return the reject for a line that cannot be read."""
        text = line.decode(errors="replace").rstrip("\r")
        return Reject(self.count, exc.rule, exc.column, f"{self.line()}: {exc.reason}", text)

    def line(self) -> str:
        """Return where the record stands; lines are those of the file where it has no blank ones."""
        where = "" if self.unit.span is None or self.unit.span[0] == 0 else f" after byte {self.unit.span[0]}"
        return f"line {self.count + 1}{where}"


def sampled(storage: Storage, file: FoundFile) -> pa.Schema:
    """Return the names and types that the start of a file shows."""
    with readable(file.uri, "jsonl"):
        sample = lines.head(storage, file).removeprefix(lines.BOM)
    if len(sample) >= lines.SAMPLE - len(lines.BOM):
        sample = sample[: lines.last_line_end(sample)]
    found = schema_of(sample.split(b"\n"))
    checked_names(found.names, file.uri)
    return found


def schema_of(sample: Iterable[bytes]) -> pa.Schema:
    """Return the schema of the lines that can be read; keys in the order in which they appear."""
    kinds: dict[str, pa.DataType] = {}
    for line in sample:
        try:
            found = object_of(line) if line.strip() else {}
        except BadLineError:
            continue  # it will be a reject when it is read
        for name, value in found.items():
            kinds[name] = widened(kinds.get(name, pa.null()), kind_of(value))
    return pa.schema([(name, pa.string() if kind == pa.null() else kind) for name, kind in kinds.items()])
