"""JSON Lines: types from samples, a decoder of fixed records for each block, and one of single lines where that fails.

Numbers, objects and arrays keep the characters of the file; a column with objects or arrays becomes `jsonb`, one with a
mixture becomes text.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import pyarrow as pa

from dataproc.domain.chunk import Piece, no_rejects, with_positions
from dataproc.domain.contract import NO_CONTRACT, Contract
from dataproc.domain.source_columns import EVERYTHING_INFERRED, SourceColumns
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.sources.files import lines
from dataproc.sources.files.damage import Tolerance
from dataproc.sources.files.formats import readable
from dataproc.sources.files.json_blocks import BlockDecoder
from dataproc.sources.files.json_rows import JsonRows, kinds_in
from dataproc.sources.files.lines import TextForm
from dataproc.sources.files.samples import samples_of
from dataproc.sources.files.storage import FoundFile, Storage
from dataproc.sources.inference import Sample, kinds_of
from dataproc.sources.json_values import BadLineError, Raw, object_of
from dataproc.sources.schemas import checked_names


@dataclass(frozen=True, slots=True)
class JsonLinesFormat:
    """JSON Lines; `columns` tells which values stay as they are written."""

    unit_size: int
    columns: SourceColumns = EVERYTHING_INFERRED
    form: TextForm = field(default_factory=TextForm)
    skips_bad: bool = False
    contract: Contract = NO_CONTRACT

    def plan(self, storage: Storage, files: Sequence[FoundFile]) -> SourcePlan:
        """Sample the files, and cut large ones; the columns are those of the first file that has rows."""
        tolerance = Tolerance(self.skips_bad)
        samples = samples_of(partial(sampled, storage, self.form), files, tolerance)
        schema = self.columns.schema(kinds_of(samples, self.contract))
        units = tuple(unit for file in files for unit in self.units(file, schema))
        return tolerance.checked(SourcePlan(units, schema))

    def units(self, file: FoundFile, schema: pa.Schema) -> Iterator[Unit]:
        """Yield the units of one file."""
        for start, stop in self.form.spans(file, self.unit_size):
            yield file.unit(schema, kind="bytes", span=(start, stop), size=stop - start, rows=None)
        if not self.form.spans(file, self.unit_size):
            yield file.unit(schema, size=file.size, rows=None)

    def shown(self, schema: pa.Schema) -> pa.Schema:
        """Return `schema`: rows are read in the types of the plan."""
        return schema

    def read(self, storage: Storage, unit: Unit, schema: pa.Schema) -> Iterator[Piece]:
        """Yield the rows and rejects of a unit, block by block."""
        size = unit.size if unit.span is None else None
        with storage.open(unit.uri, unit.version, size, ahead=True) as file, readable(unit.uri, "jsonl"):
            first, parts = lines.peeked(self.parts(file, unit))
            begins = unit.span is None or unit.span[0] == 0
            skip = len(lines.BOM) if begins and first.startswith(lines.BOM) else 0
            reader = BlockReader(unit, schema, self.contract)
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
    schema: pa.Schema
    contract: Contract = NO_CONTRACT
    count: int = field(default=0, init=False)
    decoder: BlockDecoder | None = field(init=False)

    def __post_init__(self) -> None:
        """Make the decoder; without columns, every line has to be looked at alone."""
        self.decoder = BlockDecoder(self.schema) if self.schema.names else None

    def read(self, block: bytes) -> Piece:
        """Return the rows and rejects of a block."""
        rows = None if self.decoder is None else self.decoder.rows(block)
        if rows is None:
            return self.read_slowly(block)
        first = self.count
        self.count += rows.num_rows
        return Piece(with_positions(rows, first), no_rejects())

    def read_slowly(self, block: bytes) -> Piece:
        """Return the same as `read` for any block, line by line."""
        rows = JsonRows(self.unit.uri, self.schema, self.line, self.count, self.contract)
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


def sampled(storage: Storage, form: TextForm, file: FoundFile, size: int) -> Sample:
    """Return the names and kinds that the first `size` bytes of a file show."""
    with readable(file.uri, "jsonl"):
        sample = form.head(storage, file, size)
    if len(sample) == size:
        sample = sample[: lines.last_line_end(sample)]
    records = list(readable_objects(sample.removeprefix(lines.BOM).split(b"\n")))
    kinds = kinds_in(records)
    checked_names(kinds, file.uri)
    return Sample(kinds, len(records) if kinds else 0)


def readable_objects(sample: Iterable[bytes]) -> Iterator[Mapping[str, Raw]]:
    """Yield the objects of the lines that can be read; the others will be rejects when they are read."""
    for line in sample:
        with suppress(BadLineError):
            if line.strip():
                yield object_of(line)
