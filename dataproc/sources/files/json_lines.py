"""JSON Lines: types from samples, a decoder of fixed records for each block, and one of single lines where that fails.

Numbers, objects and arrays keep the characters of the file; a column with objects or arrays becomes `jsonb`, one with a
mixture becomes text.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import pyarrow as pa

from dataproc.domain.chunk import Piece
from dataproc.domain.contract import NO_CONTRACT, Contract
from dataproc.domain.source_columns import EVERYTHING_INFERRED, SourceColumns
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.sources.files import lines
from dataproc.sources.files.damage import Tolerance
from dataproc.sources.files.formats import readable
from dataproc.sources.files.json_rows import RecordReader, kinds_in
from dataproc.sources.files.lines import TextForm
from dataproc.sources.files.samples import samples_of
from dataproc.sources.files.storage import Files, FoundFile
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

    def plan(self, storage: Files, files: Sequence[FoundFile]) -> SourcePlan:
        """Sample the files, and cut large ones; the columns are those of the first file that has rows."""
        tolerance = Tolerance(self.skips_bad)
        samples = samples_of(partial(sampled, storage, self.form), files, tolerance)
        schema = self.columns.schema(kinds_of(samples, self.contract, self.columns), is_json=True)
        units = tuple(unit for file in files for unit in self.units(storage, file, schema, tolerance))
        return tolerance.checked(SourcePlan(units, schema))

    def units(self, storage: Files, file: FoundFile, schema: pa.Schema, tolerance: Tolerance) -> Iterator[Unit]:
        """Yield the units of one file."""
        spans = tolerance.attempt(partial(self.form.spans, storage, file, self.unit_size), lambda _: [])
        for start, stop in spans:
            yield file.unit(schema, kind="bytes", span=(start, stop), size=stop - start, rows=None)
        if not spans:
            yield file.unit(schema, size=file.size, rows=None)

    def shown(self, schema: pa.Schema) -> pa.Schema:
        """Return `schema`: rows are read in the types of the plan."""
        return schema

    def read(self, storage: Files, unit: Unit, schema: pa.Schema) -> Iterator[Piece]:
        """Yield the rows and rejects of a unit, block by block."""
        size = unit.size if unit.span is None else None
        reader = RecordReader(unit.uri, schema, partial(place_of, unit), self.contract)
        with (
            storage.open(unit.uri, unit.version, size, ahead=True) as file,
            readable(unit.uri, "jsonl", lambda: reader.where(reader.count)),
        ):
            first, parts = lines.peeked(self.parts(file, unit))
            begins = unit.span is None or unit.span[0] == 0
            skip = len(lines.BOM) if begins and first.startswith(lines.BOM) else 0
            for block in lines.blocks(lines.skipped(parts, skip), unit.uri, lines.last_line_end):
                rows = None if reader.decoder is None else reader.decoder.rows_of_lines(block)
                yield reader.piece(rows, filter(bytes.strip, block.split(b"\n")), object_of, text_of)

    def parts(self, file: pa.NativeFile, unit: Unit) -> Iterator[bytes]:
        """Yield the text of a unit: all of a file, or the lines that start in its byte range."""
        if unit.span is None:
            return self.form.whole(file, unit.uri)
        start, stop = (lines.line_start(file, edge) for edge in unit.span)
        return self.form.part(file, unit.uri, start, stop)


def place_of(unit: Unit, position: int) -> str:
    """Return where a record of a unit stands; lines are those of the file where it has no blank ones."""
    where = "" if unit.span is None or unit.span[0] == 0 else f" after byte {unit.span[0]}"
    return f"line {position + 1}{where}"


def text_of(line: bytes) -> str:
    """Return a line as text."""
    return line.decode(errors="replace").rstrip("\r")


def sampled(storage: Files, form: TextForm, file: FoundFile, size: int) -> Sample:
    """Return the names and kinds that the first `size` bytes of a file show."""
    with readable(file.uri, "jsonl"):
        head = form.head(storage, file, size, has_record=lambda text: b"\n" in text)
        sample = head.text if head.is_whole else head.text[: lines.last_line_end(head.text)]
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
