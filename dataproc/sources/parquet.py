"""Parquet files: footers make the plan, runs of row groups are the units."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from dataproc.domain.chunk import no_rejects, with_positions
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.sources.formats import readable
from dataproc.sources.schemas import conformed, plain_schema, unified
from dataproc.sources.storage import FoundFile, Storage

CHUNK_ROWS = 128 * 1024
CHUNK_BYTES = 64 * 1024 * 1024
FETCH_BYTES = 32 * 1024 * 1024
"""Compressed bytes of row groups that are fetched together."""
FOOTERS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Group:
    """A row group: its rows, and its bytes in the file and in memory."""

    rows: int
    stored: int
    unpacked: int


@dataclass(frozen=True, slots=True)
class Footer:
    """What a file's footer says."""

    schema: pa.Schema
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class ParquetFormat:
    """Parquet; a file larger than `unit_size` is cut into runs of row groups of about that size."""

    unit_size: int

    def plan(self, storage: Storage, files: Sequence[FoundFile]) -> SourcePlan:
        """Read all footers, and cut large files."""
        with ThreadPoolExecutor(FOOTERS_AT_ONCE, thread_name_prefix="footer") as pool:
            footers = list(pool.map(lambda file: footer_of(storage, file), files))
        schema = unified((f.uri, footer.schema) for f, footer in zip(files, footers, strict=True) if f.size)
        units = [u for f, footer in zip(files, footers, strict=True) for u in self.units(f, footer, schema)]
        return SourcePlan(tuple(units), schema)

    def units(self, file: FoundFile, footer: Footer, schema: pa.Schema) -> Iterator[Unit]:
        """Yield the units of one file."""
        spans = runs([group.stored for group in footer.groups], self.unit_size) if file.size > self.unit_size else []
        if len(spans) < 2:
            yield file.unit(schema, size=file.size, rows=sum(group.rows for group in footer.groups))
            return
        for start, stop in spans:
            part = footer.groups[start:stop]
            size, rows = sum(group.stored for group in part), sum(group.rows for group in part)
            yield file.unit(schema, kind="rg", span=(start, stop), size=size, rows=rows)

    def shown(self, schema: pa.Schema) -> pa.Schema:
        """Return `schema`: Parquet tells types itself."""
        return schema

    def read(self, storage: Storage, unit: Unit, schema: pa.Schema) -> Iterator[tuple[pa.Table, pa.Table]]:
        """Yield the rows of a unit in chunks."""
        size = unit.size if unit.span is None else None
        first = 0
        with storage.open(unit.uri, unit.version, size, ahead=True) as file, readable(unit.uri, "parquet"):
            for batches in gathered(batches_of(opened(file), unit.span)):
                rows = conformed(pa.Table.from_batches(batches), schema).combine_chunks()
                yield with_positions(rows, first), no_rejects()
                first += rows.num_rows


def opened(file: pa.NativeFile) -> pq.ParquetFile:
    """Open a Parquet file; extension types stay what they are stored as."""
    return pq.ParquetFile(
        file,
        pre_buffer=True,
        coerce_int96_timestamp_unit="us",
        arrow_extensions_enabled=False,  # type: ignore[call-arg]  # newer than the stubs
    )


def footer_of(storage: Storage, file: FoundFile) -> Footer:
    """Return the footer of a file; an empty file has an empty one."""
    if file.size == 0:
        return Footer(pa.schema([]), ())
    with storage.open(file.uri, file.version, file.size) as source, readable(file.uri, "parquet"):
        found = opened(source)
        return Footer(plain_schema(found.schema_arrow, file.uri), groups_of(found.metadata))


def groups_of(metadata: pq.FileMetaData) -> tuple[Group, ...]:
    """Return what a footer says of each row group."""
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    return tuple(Group(g.num_rows, stored_bytes(g), g.total_byte_size) for g in groups)


def stored_bytes(group: pq.RowGroupMetaData) -> int:
    """Return the bytes that a row group takes in the file."""
    return sum(group.column(index).total_compressed_size for index in range(group.num_columns))


def runs(sizes: Sequence[int], limit: int) -> list[tuple[int, int]]:
    """Return half-open runs of neighbours, each as long as its sum stays within `limit`."""
    spans: list[tuple[int, int]] = []
    start, total = 0, 0
    for index, size in enumerate(sizes):
        if index > start and total + size > limit:
            spans.append((start, index))
            start, total = index, 0
        total += size
    return [*spans, (start, len(sizes))] if sizes else []


def batches_of(file: pq.ParquetFile, span: tuple[int, int] | None) -> Iterator[pa.RecordBatch]:
    """Yield the rows of some row groups, with no more of the file in memory than is fetched together."""
    start, stop = span or (0, file.num_row_groups)
    groups = groups_of(file.metadata)[start:stop]
    rows, unpacked = sum(group.rows for group in groups), sum(group.unpacked for group in groups)
    batch_rows = max(min(CHUNK_ROWS, CHUNK_BYTES * rows // max(unpacked, 1)), 1)
    for first, end in runs([group.stored for group in groups], FETCH_BYTES):
        # One thread: the cluster runs as many units at once as there are processors.
        numbers = list(range(start + first, start + end))
        yield from file.iter_batches(batch_rows, row_groups=numbers, use_threads=False)


def gathered(batches: Iterator[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    """Yield neighbouring batches together, up to the size of a chunk."""
    held: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        if held and (rows + batch.num_rows > CHUNK_ROWS or size + batch.nbytes > CHUNK_BYTES):
            yield held
            held, rows, size = [], 0, 0
        held.append(batch)
        rows, size = rows + batch.num_rows, size + batch.nbytes
    if held:
        yield held
