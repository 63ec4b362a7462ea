"""JSON Lines: types from a sample, Arrow's reader on each block, and Python's where that fails.

Numbers, truth values and text keep their types; a column with objects or arrays becomes JSON text, one
with a mixture becomes text. Numbers with a fraction are read as float64, as most JSON readers do.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import IO, cast

import pyarrow as pa
import pyarrow.json as pj

from dataproc.domain.chunk import Piece, no_rejects, with_positions
from dataproc.domain.contract import NO_CONTRACT, Contract
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.sources.files import lines
from dataproc.sources.files.damage import Tolerance
from dataproc.sources.files.formats import readable
from dataproc.sources.files.json_rows import JsonRows, schema_of, shown
from dataproc.sources.files.lines import TextForm
from dataproc.sources.files.storage import FoundFile, Storage
from dataproc.sources.json_values import JSON, BadLineError, object_of
from dataproc.sources.schemas import checked_names, conformed, first_sampled


@dataclass(frozen=True, slots=True)
class JsonLinesFormat:
    """JSON Lines; the columns named in `text` come as text, whatever their values are."""

    unit_size: int
    text: frozenset[str] = frozenset()
    form: TextForm = field(default_factory=TextForm)
    skips_bad: bool = False
    contract: Contract = NO_CONTRACT

    def plan(self, storage: Storage, files: Sequence[FoundFile]) -> SourcePlan:
        """Sample the first file that has rows, and cut large files."""
        tolerance = Tolerance(self.skips_bad)
        samples = (
            tolerance.attempt(partial(sampled, storage, file, self.form), lambda _: pa.schema([]))
            for file in files
            if file.size
        )
        schema = first_sampled((sample, len(sample.names)) for sample in samples)
        units = tuple(unit for file in files for unit in self.units(file, schema))
        return tolerance.checked(SourcePlan(units, self.shown(schema)))

    def units(self, file: FoundFile, schema: pa.Schema) -> Iterator[Unit]:
        """Yield the units of one file."""
        for start, stop in self.form.spans(file, self.unit_size):
            yield file.unit(schema, kind="bytes", span=(start, stop), size=stop - start, rows=None)
        if not self.form.spans(file, self.unit_size):
            yield file.unit(schema, size=file.size, rows=None)

    def shown(self, schema: pa.Schema) -> pa.Schema:
        """Return the types of the rows: JSON text is text, and so are the columns named in `text`."""
        return shown(schema, self.text)

    def read(self, storage: Storage, unit: Unit, schema: pa.Schema) -> Iterator[Piece]:
        """Yield the rows and rejects of a unit, block by block."""
        size = unit.size if unit.span is None else None
        with storage.open(unit.uri, unit.version, size, ahead=True) as file, readable(unit.uri, "jsonl"):
            first, parts = lines.peeked(self.parts(file, unit))
            begins = unit.span is None or unit.span[0] == 0
            skip = len(lines.BOM) if begins and first.startswith(lines.BOM) else 0
            reader = BlockReader(unit, schema, self.shown(schema), self.contract)
            yield from map(reader.read, lines.blocks(lines.skipped(parts, skip), unit.uri, lines.last_line_end))

    def parts(self, file: pa.NativeFile, unit: Unit) -> Iterator[bytes]:
        """Yield the text of a unit: all of a file, or the lines that start in its byte range."""
        if unit.span is None:
            return self.form.whole(file, unit.uri)
        start, stop = (lines.line_start(file, edge) for edge in unit.span)
        return self.form.part(file, unit.uri, start, stop)


@dataclass(slots=True)
class BlockReader:
    """Reads the blocks of one unit in turn, and counts its records."""

    unit: Unit
    types: pa.Schema
    schema: pa.Schema
    contract: Contract = NO_CONTRACT
    count: int = field(default=0, init=False)

    def read(self, block: bytes) -> Piece:
        """Return the rows and rejects of a block."""
        rows = self.read_fast(block)
        if rows is None:
            return self.read_slowly(block)
        first = self.count
        self.count += rows.num_rows
        return Piece(with_positions(conformed(rows, self.schema), first), no_rejects())

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
        rows = JsonRows(self.unit.uri, self.types, self.schema, self.line, self.count, self.contract)
        piece = rows.piece((line for line in block.split(b"\n") if line.strip()), object_of, text_of)
        self.count = rows.count
        return piece

    def line(self, position: int) -> str:
        """Return where a record stands; lines are those of the file where it has no blank ones."""
        where = "" if self.unit.span is None or self.unit.span[0] == 0 else f" after byte {self.unit.span[0]}"
        return f"line {position + 1}{where}"


def text_of(line: bytes) -> str:
    """Return a line as text."""
    return line.decode(errors="replace").rstrip("\r")


def sampled(storage: Storage, file: FoundFile, form: TextForm) -> pa.Schema:
    """Return the names and types that the start of a file shows."""
    with readable(file.uri, "jsonl"):
        sample = form.head(storage, file).removeprefix(lines.BOM)
    if len(sample) >= lines.SAMPLE - len(lines.BOM):
        sample = sample[: lines.last_line_end(sample)]
    found = schema_of(readable_objects(sample.split(b"\n")))
    checked_names(found.names, file.uri)
    return found


def readable_objects(sample: Iterable[bytes]) -> Iterator[Mapping[str, object]]:
    """Yield the objects of the lines that can be read; the others will be rejects when they are read."""
    for line in sample:
        with suppress(BadLineError):
            if line.strip():
                yield object_of(line)
