"""The source of files: a place that has them, and a format that reads them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import assert_never

import pyarrow as pa

from dataproc.domain.chunk import Chunk, number
from dataproc.domain.sources.files import FileOptions
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.ports.memory import BLANK, Memory
from dataproc.sources.delimited import CsvFormat
from dataproc.sources.formats import FileFormat, FormatName, common_format, format_of
from dataproc.sources.json_lines import JsonLinesFormat
from dataproc.sources.parquet import ParquetFormat
from dataproc.sources.storage import FoundFile, Storage


@dataclass(frozen=True, slots=True)
class FileSource:
    """Rows of files in a place, all of one format; the columns in `text_columns` come as text from text formats."""

    storage: Storage
    options: FileOptions
    text_columns: frozenset[str] = frozenset()

    def plan(self, memory: Memory = BLANK) -> SourcePlan:
        """Find the files and cut them into units."""
        del memory
        files = self.readable_files()
        name = self.options.format if self.options.format != "auto" else common_format(files)
        return self.format(name).plan(self.storage, files)

    def readable_files(self) -> Sequence[FoundFile]:
        """Return the files found, without empty markers such as `_SUCCESS` whose name tells no format."""
        files = self.storage.find()
        if self.options.format != "auto":
            return files
        return [file for file in files if file.size or format_of(file.uri) is not None] or files

    def read(self, unit: Unit) -> Iterator[Chunk]:
        """Yield the chunks of a unit; the unit carries the schema of the plan it belongs to."""
        named = format_of(unit.uri) if self.options.format == "auto" else self.options.format
        form = self.format(named or "parquet")
        schema = pa.schema([]) if unit.schema is None else unit.schema
        pieces = form.read(self.storage, unit, schema) if unit.size else iter(())
        return number(unit.id, form.shown(schema), pieces)

    def format(self, name: FormatName) -> FileFormat:
        """Return the format of that name."""
        match name:
            case "parquet":
                return ParquetFormat(self.options.unit_size)
            case "csv":
                return CsvFormat(self.options.csv, self.options.unit_size, self.text_columns)
            case "jsonl":
                return JsonLinesFormat(self.options.unit_size, self.text_columns)
            case _:
                assert_never(name)
