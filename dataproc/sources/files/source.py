"""The source of files: a place that has them, and a format that reads them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import assert_never

import pyarrow as pa

from dataproc.domain.chunk import Chunk, Piece, number
from dataproc.domain.contract import NO_CONTRACT, Contract
from dataproc.domain.source_columns import EVERYTHING_INFERRED, SourceColumns
from dataproc.domain.sources.files import FileOptions
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.ports.memory import BLANK, Memory
from dataproc.sources.files.avro import AvroFormat
from dataproc.sources.files.damage import lost, tolerated
from dataproc.sources.files.decoder_memory import step_by_step
from dataproc.sources.files.delimited import CsvFormat
from dataproc.sources.files.formats import FileFormat, FormatName, common_format, format_of
from dataproc.sources.files.json_arrays import JsonArrayFormat
from dataproc.sources.files.json_lines import JsonLinesFormat
from dataproc.sources.files.kept import FEW_FILES, SMALL_FILE, CarriedFile, KeepingFiles
from dataproc.sources.files.lines import TextForm
from dataproc.sources.files.parquet import ParquetFormat
from dataproc.sources.files.partitions import Partition, partitions_of, with_partition
from dataproc.sources.files.readers import Readers, ReadersHere
from dataproc.sources.files.recognition import Dialect, Recognition
from dataproc.sources.files.storage import Files, FoundFile, Storage
from dataproc.sources.files.tracking import choose

TEXT_FORMATS = ("csv", "jsonl", "json")


@dataclass(frozen=True, slots=True)
class FileSource:
    """Rows of files in a place, all of one format; `columns` tells which cells of text formats stay as written."""

    storage: Storage
    options: FileOptions
    columns: SourceColumns = EVERYTHING_INFERRED
    contract: Contract = NO_CONTRACT
    readers: Readers = field(default_factory=ReadersHere)

    def plan(self, memory: Memory = BLANK) -> SourcePlan:
        """Find the files that `memory` does not have, and cut them into units."""
        choice = choose(self.storage, self.options, memory, self.holds_data)
        files = choice.files or ((choice.known,) if choice.known else ())
        if not files:
            return SourcePlan((), pa.schema([]))  # all that was loaded before is gone, and nothing new is there
        name = self.options.format if self.options.format != "auto" else common_format(files)
        # The files of other formats tell their types themselves.
        columns = self.columns
        if name in TEXT_FORMATS:
            columns = columns.with_target(memory.target_columns(), memory.late_columns())
        plan = self.readers.plan(Planning(self, name, columns), self.storage, files)
        if not choice.files:
            return SourcePlan((), plan.schema)
        return replace(plan, objects=choice.objects, notes=(*choice.notes, *plan.notes))

    def detailed(
        self, plan: SourcePlan, files: Sequence[FoundFile], dialect: Dialect, content_of: Callable[[Unit], bytes | None]
    ) -> SourcePlan:
        """Return a plan whose units know their dialect, their partition, and what is to become of damage."""
        partitions = partitions_of(files, self.columns.declared) if self.options.partitions == "hive" else {}
        schema = with_partition(plan.schema, partitions[files[0].uri]) if partitions else plan.schema
        units = tuple(self.unit(each, partitions.get(each.uri), dialect, content_of(each)) for each in plan.units)
        return replace(plan, units=units, schema=schema, choices=dialect.choices)

    def unit(self, unit: Unit, partition: Partition | None, dialect: Dialect, content: bytes | None) -> Unit:
        """Return a unit with its details; where damage is passed over, it cannot promise its rows."""
        damage = unit.detail if isinstance(unit.detail, str) else None
        rows = None if self.skips_bad else unit.rows
        is_small = unit.span is None and unit.size <= SMALL_FILE
        details = Details(dialect, damage, unit.rows, partition, content)
        return replace(unit, rows=rows, detail=details, is_small=is_small)

    def holds_data(self, file: FoundFile) -> bool:
        """Return whether a file is not an empty marker such as `_SUCCESS`, whose name has no format."""
        is_hidden = file.uri.rpartition("/")[2][:1] in ("", "_", ".")
        may_be_marker = is_hidden or self.options.format == "auto"
        return file.size > 0 or not may_be_marker or format_of(file.uri) is not None

    def read(self, unit: Unit) -> Iterator[Chunk]:
        """Yield the chunks of a unit; the unit carries the schema of the plan it belongs to."""
        details = unit.detail if isinstance(unit.detail, Details) else Details(Dialect(self.format_name(unit.uri)))
        form = self.format(details.dialect, self.columns)
        schema = pa.schema([]) if unit.schema is None else unit.schema
        shown = form.shown(schema)
        pieces = self.pieces(form, unit, schema, details)
        if details.partition is not None:
            pieces = details.partition.added(pieces)
            shown = with_partition(shown, details.partition)
        return number(unit.id, shown, pieces)

    def pieces(self, form: FileFormat, unit: Unit, schema: pa.Schema, details: "Details") -> Iterator[Piece]:
        """Return the rows and rejects of a unit, without those that its folders tell."""
        if details.damage is not None:
            return iter([lost(details.damage, unit.uri, form.shown(schema))])
        if not unit.size:
            return iter(())
        files: Files = self.storage if details.content is None else CarriedFile(details.content)
        if unit.isolated:
            pieces = self.readers.read(form, files, unit, schema)
        else:
            pieces = step_by_step(form.read(files, unit, schema))
        return tolerated(pieces, unit.uri, form.shown(schema), details.promised) if self.skips_bad else pieces

    @property
    def skips_bad(self) -> bool:
        """Whether a file that is damaged is set aside."""
        return self.options.on_bad_file == "skip"

    def format_name(self, uri: str) -> FormatName:
        """Return the format of a file that was planned."""
        named = format_of(uri) if self.options.format == "auto" else self.options.format
        return named or "parquet"

    @property
    def text_form(self) -> TextForm:
        """How the characters of text files are stored."""
        return TextForm(self.options.compression, self.options.encoding, self.options.max_unpacked)

    def format(self, dialect: Dialect, columns: SourceColumns) -> FileFormat:
        """Return the format of files of a dialect."""
        options, form = self.options, self.text_form
        match dialect.format:
            case "parquet":
                return ParquetFormat(options.unit_size, options.max_unpacked, self.skips_bad, self.contract)
            case "avro":
                return AvroFormat(options.unit_size, options.max_unpacked, self.skips_bad, self.contract)
            case "csv":
                csv = options.csv.model_copy(update={"delimiter": dialect.delimiter})
                return CsvFormat(csv, options.unit_size, columns, form, self.skips_bad, self.contract)
            case "jsonl":
                return JsonLinesFormat(options.unit_size, columns, form, self.skips_bad, self.contract)
            case "json":
                return JsonArrayFormat(options.records, columns, form, self.skips_bad, self.contract)
            case _:
                assert_never(dialect.format)


@dataclass(frozen=True, slots=True)
class Planning:
    """Plans the files of a source of which the names, or the specification, say that they have a format."""

    source: FileSource
    name: FormatName
    columns: SourceColumns

    def plan(self, storage: Files, files: Sequence[FoundFile]) -> SourcePlan:
        """Find out how text files are read, and cut all files into units."""
        source = self.source
        keeping = KeepingFiles(storage)
        storage = keeping if len(files) > FEW_FILES else storage
        dialect = Recognition(storage, source.options, source.text_form).dialect(self.name, files)
        plan = source.format(dialect, self.columns).plan(storage, files)
        return source.detailed(plan, files, dialect, keeping.content_of)


@dataclass(frozen=True, slots=True)
class Details:
    """The facts of a unit's file: dialect, damage, announced rows, columns of its folders, and its kept bytes."""

    dialect: Dialect
    damage: str | None = None
    promised: int | None = None
    partition: Partition | None = None
    content: bytes | None = field(default=None, repr=False)
