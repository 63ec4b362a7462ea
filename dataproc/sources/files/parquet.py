"""Parquet files: footers make the plan, runs of row groups are the units."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import accumulate

import pyarrow as pa
import pyarrow.parquet as pq

from dataproc.domain.chunk import Piece, with_positions
from dataproc.domain.contract import NO_CONTRACT, Contract
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.sources.files.batches import CHUNK_BYTES, CHUNK_ROWS, gathered
from dataproc.sources.files.compression import allowed, too_large
from dataproc.sources.files.damage import Tolerance
from dataproc.sources.files.formats import empty_file, readable
from dataproc.sources.files.odd_texts import without_odd_texts
from dataproc.sources.files.parquet_encryption import refuse_encrypted
from dataproc.sources.files.repeated import parts, repeated_columns
from dataproc.sources.files.storage import Files, FoundFile
from dataproc.sources.schemas import conformed, note_on_case, plain_schema, unified

FETCH_BYTES = 32 * 1024 * 1024
"""Compressed bytes of row groups that are fetched together; one by one where those before some damage are kept."""
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
    damage: str | None = None


@dataclass(frozen=True, slots=True)
class ParquetFormat:
    """Parquet; a file larger than `unit_size` is cut into runs of row groups of about that size."""

    unit_size: int
    max_unpacked: int | None = None
    skips_bad: bool = False
    contract: Contract = NO_CONTRACT

    def plan(self, storage: Files, files: Sequence[FoundFile]) -> SourcePlan:
        """Read all footers, and cut large files."""
        tolerance = Tolerance(self.skips_bad)

        def footer_or_damage(file: FoundFile) -> Footer:
            return tolerance.attempt(lambda: self.footer(storage, file), partial(Footer, pa.schema([]), ()))

        with ThreadPoolExecutor(FOOTERS_AT_ONCE, thread_name_prefix="footer") as pool:
            footers = list(pool.map(footer_or_damage, files))
        both = list(zip(files, footers, strict=True))
        whole = [(file.uri, footer.schema) for file, footer in both if footer.damage is None]
        schema = unified(whole, self.contract)
        units = [unit for file, footer in both for unit in self.units(file, footer, schema)]
        return tolerance.checked(SourcePlan(tuple(units), schema, notes=note_on_case(whole, schema)))

    def footer(self, storage: Files, file: FoundFile) -> Footer:
        """Return the footer of a file, unless it claims to hold more than it may."""
        footer = footer_of(storage, file)
        bound = allowed(file.size, self.max_unpacked)
        if sum(group.unpacked for group in footer.groups) > bound:
            raise too_large(file.uri, bound)
        return footer

    def units(self, file: FoundFile, footer: Footer, schema: pa.Schema) -> Iterator[Unit]:
        """Yield the units of one file."""
        if footer.damage is not None:
            yield replace(file.unit(schema, size=file.size, rows=None), detail=footer.damage)
            return
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

    def read(self, storage: Files, unit: Unit, schema: pa.Schema) -> Iterator[Piece]:
        """Yield the rows of a unit in chunks."""
        size = unit.size if unit.span is None else None
        first = total = 0
        bound = allowed(unit.size, self.max_unpacked)
        place = Place()
        with storage.open(unit.uri, unit.version, size, ahead=True) as file, readable(unit.uri, "parquet", place.text):
            batches = batches_of(file, unit.span, 0 if self.skips_bad else FETCH_BYTES, place)
            tables = (
                conformed(pa.Table.from_batches([part]), schema, unit.uri) for batch in batches for part in parts(batch)
            )
            for held in gathered(tables):
                rows = pa.concat_tables(held).combine_chunks()
                total += rows.nbytes
                if total > bound:
                    raise too_large(unit.uri, bound)
                yield without_odd_texts(with_positions(rows, first), unit.uri)
                first += rows.num_rows


def opened(
    file: pa.NativeFile, metadata: pq.FileMetaData | None = None, repeated: list[str] | None = None
) -> pq.ParquetFile:
    """Open a Parquet file, with some columns as dictionaries; extension types stay what they are stored as."""
    return pq.ParquetFile(
        file,
        metadata=metadata,
        read_dictionary=repeated,
        pre_buffer=True,
        page_checksum_verification=True,
        coerce_int96_timestamp_unit="us",
        arrow_extensions_enabled=False,  # type: ignore[call-arg]  # newer than the stubs
    )


def footer_of(storage: Files, file: FoundFile) -> Footer:
    """Return the footer of a file."""
    if file.size == 0:
        raise empty_file(file.uri, "parquet")
    with storage.open(file.uri, file.version, file.size) as source, readable(file.uri, "parquet"):
        refuse_encrypted(source, file.uri)
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


@dataclass(slots=True)
class Place:
    """Where a reader is in a file: the row groups of the next batch; `ends` are the rows at the end of each group."""

    start: int = 0
    ends: list[int] = field(default_factory=list)
    rows: int = 0
    batch_rows: int = 1

    def begin(self, start: int, groups: Sequence[Group], batch_rows: int) -> None:
        """Note the row groups that are read, of which the first has the number `start`."""
        self.start, self.batch_rows = start, batch_rows
        self.ends = list(accumulate(group.rows for group in groups))

    def text(self) -> str:
        """Return the numbers of the row groups, counted from 1."""
        if not self.ends:
            return ""
        first, last = (
            self.start + 1 + min(bisect_right(self.ends, row), len(self.ends) - 1)
            for row in (self.rows, self.rows + self.batch_rows - 1)
        )
        return f"row group {first}" if first == last else f"row groups {first} to {last}"


def batches_of(
    source: pa.NativeFile, span: tuple[int, int] | None, fetched: int, place: Place
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of some row groups, with no more of the file in memory than is fetched together."""
    metadata = pq.read_metadata(source)
    start, stop = span or (0, metadata.num_row_groups)
    file = opened(source, metadata, repeated_columns(metadata, (start, stop)))
    groups = groups_of(metadata)[start:stop]
    rows, unpacked = sum(group.rows for group in groups), sum(group.unpacked for group in groups)
    batch_rows = max(min(CHUNK_ROWS, CHUNK_BYTES * rows // max(unpacked, 1)), 1)
    place.begin(start, groups, batch_rows)
    for first, end in runs([group.stored for group in groups], fetched):
        # One thread: the cluster runs as many units at once as there are processors.
        numbers = list(range(start + first, start + end))
        for batch in file.iter_batches(batch_rows, row_groups=numbers, use_threads=False):
            yield batch
            place.rows += batch.num_rows
