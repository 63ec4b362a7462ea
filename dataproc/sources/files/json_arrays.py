"""JSON files that hold one array of objects, read an object at a time; types come from a sample.

Such a file is one unit: where an object begins can only be told from the start. JSON Lines are read in parallel.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice, takewhile

import pyarrow as pa

from dataproc.domain.chunk import Piece
from dataproc.domain.contract import NO_CONTRACT, Contract
from dataproc.domain.errors import BadDataError
from dataproc.domain.source_columns import EVERYTHING_INFERRED, SourceColumns
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.sources.files.damage import Tolerance
from dataproc.sources.files.formats import readable
from dataproc.sources.files.json_elements import ElementReader, Elements
from dataproc.sources.files.json_rows import RecordReader, kinds_in
from dataproc.sources.files.lines import BOM, TextForm, peeked, skipped
from dataproc.sources.files.samples import samples_of
from dataproc.sources.files.storage import Files, FoundFile
from dataproc.sources.inference import Sample, kinds_of
from dataproc.sources.json_values import BadLineError, Raw, is_json, object_of
from dataproc.sources.schemas import checked_names


@dataclass(frozen=True, slots=True)
class JsonArrayFormat:
    """JSON with the array of records at the JSON Pointer `records`; `columns` tells which values stay as written."""

    records: str
    columns: SourceColumns = EVERYTHING_INFERRED
    form: TextForm = field(default_factory=TextForm)
    skips_bad: bool = False
    contract: Contract = NO_CONTRACT

    def plan(self, storage: Files, files: Sequence[FoundFile]) -> SourcePlan:
        """Sample the files; each is a unit, and the columns are those of the first one that has records."""
        tolerance = Tolerance(self.skips_bad)
        samples = samples_of(partial(self.sampled, storage), files, tolerance)
        schema = self.columns.schema(kinds_of(samples, self.contract, self.columns), is_json=True)
        units = tuple(file.unit(schema, size=file.size, rows=None) for file in files)
        return tolerance.checked(SourcePlan(units, schema))

    def shown(self, schema: pa.Schema) -> pa.Schema:
        """Return `schema`: rows are read in the types of the plan."""
        return schema

    def sampled(self, storage: Files, file: FoundFile, size: int) -> Sample:
        """Return the names and kinds that the first `size` bytes of a file show."""
        with storage.open(file.uri, file.version, file.size) as source, readable(file.uri, "json"):
            parts = self.as_array(self.form.whole(source, file.uri, size))
            blocks = ElementReader(file.uri, self.records, block=size // 2).blocks(parts)
            found = list(chain.from_iterable(islice(blocks, 1)))
            records = list(readable_objects(found))
            kinds = kinds_in(records)
            checked_names(kinds, file.uri)
        return Sample(kinds, len(records) if kinds else 0)

    def read(self, storage: Files, unit: Unit, schema: pa.Schema) -> Iterator[Piece]:
        """Yield the rows and rejects of a file; those before some damage come before its error."""
        reader = RecordReader(unit.uri, schema, lambda number: f"record {number + 1}", self.contract)
        with (
            storage.open(unit.uri, unit.version, unit.size, ahead=True) as file,
            readable(unit.uri, "json", lambda: reader.where(reader.count)),
        ):
            for block in ElementReader(unit.uri, self.records).blocks(self.as_array(self.form.whole(file, unit.uri))):
                yield from pieces(reader, block)

    def as_array(self, parts: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the text of an array: a file that is one object is one record, unless `records` names its array."""
        first, parts = peeked(parts)
        text = first.removeprefix(BOM)
        if self.records or not text.lstrip().startswith(b"{"):
            return parts
        return chain([b"["], skipped(parts, len(first) - len(text)), [b"]"])


def pieces(reader: RecordReader, block: Elements) -> Iterator[Piece]:
    """Yield the rows and rejects of a block; raise after those before its first element that is not JSON."""
    rows = None if reader.decoder is None else reader.decoder.rows_of_array(block.text)
    if rows is not None:
        yield reader.piece(rows, (), object_of, text_of)
        return
    sound = list(takewhile(is_json, block))
    yield reader.piece(None, sound, partial(object_of, noun="record"), text_of)
    if len(sound) <= len(block.commas):
        msg = f"{reader.uri} cannot be read as json: record {reader.count + 1} is not JSON; it is damaged or cut off"
        raise BadDataError(msg, uri=reader.uri)


def readable_objects(elements: Iterable[bytes]) -> Iterator[Mapping[str, Raw]]:
    """Yield the elements that are objects; the others will be rejects when they are read."""
    for element in elements:
        with suppress(BadLineError):
            yield object_of(element)


def text_of(element: bytes) -> str:
    """Return a record as its text."""
    return element.decode(errors="replace").strip()
