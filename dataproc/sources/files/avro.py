"""Avro object container files: headers make the plan, runs of blocks are the units."""

import io
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import fastavro
import pyarrow as pa

from dataproc.domain.chunk import Piece, no_rejects, with_positions
from dataproc.domain.contract import NO_CONTRACT, Contract
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.sources.files.avro_blocks import DamagedBlockError, Header, Window, blocks, header_of
from dataproc.sources.files.avro_types import Column, Types, without_logical
from dataproc.sources.files.batches import gathered
from dataproc.sources.files.compression import allowed, too_large
from dataproc.sources.files.damage import Tolerance
from dataproc.sources.files.formats import empty_file, readable
from dataproc.sources.files.storage import Files, FoundFile
from dataproc.sources.schemas import conformed, note_on_case, plain_schema, unified

HEADERS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class AvroFormat:
    """Avro; a file larger than `unit_size` is cut into byte ranges, which own the blocks that begin in them."""

    unit_size: int
    max_unpacked: int | None = None
    skips_bad: bool = False
    contract: Contract = NO_CONTRACT

    def plan(self, storage: Files, files: Sequence[FoundFile]) -> SourcePlan:
        """Read all headers, and cut large files."""
        tolerance = Tolerance(self.skips_bad)
        with ThreadPoolExecutor(HEADERS_AT_ONCE, thread_name_prefix="header") as pool:
            found = list(pool.map(lambda file: tolerance.attempt(partial(schema_of, storage, file), str), files))
        both = zip(files, found, strict=True)
        whole = [(file.uri, one) for file, one in both if not isinstance(one, str)]
        schema = unified(whole, self.contract)
        units = [u for f, one in zip(files, found, strict=True) for u in self.units(f, one, schema)]
        return tolerance.checked(SourcePlan(tuple(units), schema, notes=note_on_case(whole, schema)))

    def units(self, file: FoundFile, found: pa.Schema | str, schema: pa.Schema) -> Iterator[Unit]:
        """Yield the units of one file; in place of its schema there may be the reason why it has none."""
        if isinstance(found, str):
            yield replace(file.unit(schema, size=file.size, rows=None), detail=found)
            return
        if file.size <= self.unit_size:
            yield file.unit(schema, size=file.size, rows=None)
            return
        count = -(-file.size // self.unit_size)
        for start, stop in pairwise(file.size * index // count for index in range(count + 1)):
            yield file.unit(schema, kind="bytes", span=(start, stop), size=stop - start, rows=None)

    def shown(self, schema: pa.Schema) -> pa.Schema:
        """Return `schema`: Avro tells types itself."""
        return schema

    def read(self, storage: Files, unit: Unit, schema: pa.Schema) -> Iterator[Piece]:
        """Yield the rows of a unit in chunks."""
        size = unit.size if unit.span is None else None
        first = 0
        with storage.open(unit.uri, unit.version, size, ahead=True) as file, readable(unit.uri, "avro"):
            for tables in gathered(self.tables(file, unit, schema)):
                rows = pa.concat_tables(tables).combine_chunks()
                yield Piece(with_positions(rows, first), no_rejects())
                first += rows.num_rows

    def tables(self, file: pa.NativeFile, unit: Unit, schema: pa.Schema) -> Iterator[pa.Table]:
        """Yield the rows of each block."""
        total, bound = 0, allowed(unit.size, self.max_unpacked)
        reader = BlockReader.of(header_of(file), unit.uri)
        start, stop = unit.span or (0, unit.size)
        window = Window(file, start)
        with readable(unit.uri, "avro", lambda: f"the block before byte {window.at}"):
            for count, data in blocks(window, reader.header, stop):
                total += len(data)
                if total > bound:
                    raise too_large(unit.uri, bound)
                yield conformed(reader.table(count, data), schema, unit.uri)


@dataclass(frozen=True, slots=True)
class BlockReader:
    """Reads the records of one file's blocks."""

    header: Header
    columns: dict[str, Column]
    record: Any

    @classmethod
    def of(cls, header: Header, uri: str) -> "BlockReader":
        """Return the reader of the files that have this header."""
        named: dict[str, Any] = {}
        schema = fastavro.parse_schema(json.loads(header.schema), named)
        columns = Types(uri, named).record(schema)
        return cls(header, columns, fastavro.parse_schema({"type": "array", "items": without_logical(schema)}))

    @property
    def schema(self) -> pa.Schema:
        """The schema of the rows."""
        return pa.schema([(name, column.dtype) for name, column in self.columns.items()])

    def table(self, count: int, data: bytes) -> pa.Table:
        """Return the records of a block. Put between its length and an end, they are an array, read at once."""
        source = io.BytesIO(zigzag(count) + data + b"\0")
        records: Any = fastavro.schemaless_reader(source, self.record, None) if count else []
        if len(records) != count or (count and source.read()):
            raise DamagedBlockError("a block has other records than it says")
        return pa.table([values_of(records, name, column) for name, column in self.columns.items()], schema=self.schema)


def values_of(records: Sequence[dict[str, Any]], name: str, column: Column) -> "pa.Array[Any]":
    """Return one column of records."""
    found = [record[name] for record in records]
    if column.convert is not None:
        found = [None if value is None else column.convert(value) for value in found]
    try:
        return pa.array(found, column.dtype)
    except (pa.ArrowException, OverflowError) as exc:
        # The message of Arrow holds the value.
        raise DamagedBlockError(f"column {name!r} has a value that is not of its type") from exc


def zigzag(number: int) -> bytes:
    """Return a number that is not negative as Avro writes it."""
    number <<= 1
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def schema_of(storage: Files, file: FoundFile) -> pa.Schema:
    """Return the schema of a file."""
    if file.size == 0:
        raise empty_file(file.uri, "avro")
    with storage.open(file.uri, file.version, file.size) as source, readable(file.uri, "avro"):
        return plain_schema(BlockReader.of(header_of(source), file.uri).schema, file.uri)
