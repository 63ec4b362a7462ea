"""CSV files: types from samples, and byte ranges that begin with a record.

A quoted value may contain newlines, so a large file is cut only where a record is known to begin.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import pyarrow as pa

from dataproc.domain.chunk import Piece
from dataproc.domain.contract import NO_CONTRACT, Contract
from dataproc.domain.errors import ContractViolationError
from dataproc.domain.source_columns import EVERYTHING_INFERRED, SourceColumns
from dataproc.domain.sources.files import CsvOptions
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.sources.files import lines
from dataproc.sources.files.comments import without_comments
from dataproc.sources.files.csv_blocks import BlockReader
from dataproc.sources.files.csv_kinds import CellKinds
from dataproc.sources.files.damage import Tolerance
from dataproc.sources.files.edges import Cutter
from dataproc.sources.files.formats import readable
from dataproc.sources.files.lines import TextForm
from dataproc.sources.files.quoting import has_record, header_of, last_record_end
from dataproc.sources.files.samples import samples_of
from dataproc.sources.files.storage import Files, FoundFile
from dataproc.sources.inference import (
    Sample,
    kinds_of,
)
from dataproc.sources.schemas import checked_names


@dataclass(frozen=True, slots=True)
class CsvFormat:
    """Comma-separated values; `columns` tells which cells stay as they are written."""

    options: CsvOptions
    unit_size: int
    columns: SourceColumns = EVERYTHING_INFERRED
    form: TextForm = field(default_factory=TextForm)
    skips_bad: bool = False
    contract: Contract = NO_CONTRACT

    def plan(self, storage: Files, files: Sequence[FoundFile]) -> SourcePlan:
        """Sample the files, and cut large ones; the columns are those of the first file that has rows."""
        tolerance = Tolerance(self.skips_bad)
        filled = [file for file in files if file.size]
        samples = list(samples_of(partial(self.sampled, storage), filled, tolerance))
        schema = self.columns.cell_schema(kinds_of(samples, self.contract, self.columns))
        if not self.options.header and self.options.columns is None:
            demand_same_columns(filled, samples)
        damage = {file.uri: sample.damage for file, sample in zip(filled, samples, strict=True)}
        units = tuple(
            unit for file in files for unit in self.units(storage, file, schema, tolerance, damage.get(file.uri))
        )
        return tolerance.checked(SourcePlan(units, schema, notes=first_note(samples)))

    def units(
        self, storage: Files, file: FoundFile, schema: pa.Schema, tolerance: Tolerance, damage: str | None = None
    ) -> Iterator[Unit]:
        """Yield the units of one file; none of its rows is read if its sample could not be."""
        if damage is not None:
            yield replace(file.unit(schema, size=file.size, rows=None), detail=damage)
            return
        spans = tolerance.attempt(partial(self.spans, storage, file), lambda _: [])
        if not spans:
            yield file.unit(schema, size=file.size, rows=None)
        for start, stop in spans:
            yield file.unit(schema, kind="bytes", span=(start, stop), size=stop - start, rows=None)

    def spans(self, storage: Files, file: FoundFile) -> list[tuple[int, int]]:
        """Return the byte ranges into which a file is cut; none for one that stays whole."""
        spans = self.form.spans(storage, file, self.unit_size)
        if not spans:
            return []
        with readable(file.uri, "csv"):
            header = header_of(self.form.head(storage, file).text, self.options, file.uri)
            return Cutter(storage, file, self.options, header.length, len(header.names)).cut(spans)

    def sampled(self, storage: Files, file: FoundFile, size: int) -> Sample:
        """Return the names and kinds that the first `size` bytes of a file show, and how many rows they have."""
        with readable(file.uri, "csv"):
            head = self.form.known_head(storage, file, size, partial(has_record, options=self.options, uri=file.uri))
            header = header_of(head.text, self.options, file.uri)
            names = header.names
            body = b"".join(without_comments([head.text[header.length :]], self.options))
            if not head.is_whole:
                body = body[: last_record_end(body, self.options)]
            checked_names(names, file.uri)
            kinds, rows = CellKinds(self.options, names).found(body)
        return Sample(kinds, rows, note_on_names(header.generated, file.uri))

    def shown(self, schema: pa.Schema) -> pa.Schema:
        """Return `schema`: rows are read in the types of the plan."""
        return schema

    def read(self, storage: Files, unit: Unit, schema: pa.Schema) -> Iterator[Piece]:
        """Yield the rows and rejects of a unit, block by block."""
        size = unit.size if unit.span is None else None
        with storage.open(unit.uri, unit.version, size, ahead=True) as file, readable(unit.uri, "csv"):
            if unit.span is None or unit.span[0] == 0:
                first, parts = lines.peeked(self.parts(file, unit))
                header = header_of(first, self.options, unit.uri)
                length, before = header.length, first[: header.length].count(b"\n")
            else:
                size = lines.BLOCK if self.options.skip else lines.SAMPLE
                header = header_of(self.form.beginning(file, unit.uri, size).text, self.options, unit.uri)
                parts, length, before = self.parts(file, unit), 0, 0
            reader = BlockReader(self.options, self.form.expected, self.contract, unit, header.names, schema, before)
            with readable(unit.uri, "csv", lambda: reader.line(reader.count)):
                yield from reader.all(without_comments(lines.skipped(parts, length), self.options))

    def parts(self, file: pa.NativeFile, unit: Unit) -> Iterator[bytes]:
        """Yield the text of a unit."""
        return self.form.part(file, unit.uri, *unit.span) if unit.span else self.form.whole(file, unit.uri)


def demand_same_columns(files: Sequence[FoundFile], samples: Sequence[Sample]) -> None:
    """Raise for a file without a header that has more or fewer cells than the first: its columns have no names."""
    found = [(file.uri, len(sample.kinds)) for file, sample in zip(files, samples, strict=True) if sample.rows]
    for uri, cells in found[1:]:
        if cells != found[0][1]:
            msg = (
                f"{uri} has {cells} cells in a record, but {found[0][0]} has {found[0][1]}, and without a header "
                "nothing shows which are missing; give all files the same cells, or name them by `csv.columns`"
            )
            raise ContractViolationError(msg, uri=uri)


def note_on_names(generated: Sequence[str], uri: str) -> tuple[str, ...]:
    """Return the sentence that names the columns to which the header of a file gives no name."""
    if not generated:
        return ()
    listed = ", ".join(generated)
    return (f"{uri}: the header has columns without a name, which are read as {listed}; `csv.columns` gives names",)


def first_note(samples: Sequence[Sample]) -> tuple[str, ...]:
    """Return the notes of the first file that has some."""
    return next((sample.notes for sample in samples if sample.notes), ())
