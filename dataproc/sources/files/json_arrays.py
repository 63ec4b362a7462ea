"""JSON files that hold one array of objects, read an object at a time; types come from a sample.

Such a file is one unit: where an object begins can only be told from the start. JSON Lines are read in parallel.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile

import ijson  # type: ignore[import-untyped]  # it has no types
import pyarrow as pa

from dataproc.domain.chunk import Piece
from dataproc.domain.contract import NO_CONTRACT, Contract
from dataproc.domain.errors import BadDataError
from dataproc.domain.row_text import written
from dataproc.domain.source_columns import EVERYTHING_INFERRED, SourceColumns
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.sources.files.damage import Tolerance
from dataproc.sources.files.formats import readable
from dataproc.sources.files.json_feed import Feed
from dataproc.sources.files.json_rows import JsonRows, kinds_in
from dataproc.sources.files.lines import BLOCK, LOOK, TextForm
from dataproc.sources.files.samples import samples_of
from dataproc.sources.files.storage import FoundFile, Storage
from dataproc.sources.inference import Sample, kinds_of
from dataproc.sources.json_values import BadLineError, Raw, raws_of
from dataproc.sources.schemas import checked_names

ROWS = 50_000
"""Records that become one chunk, unless they are long."""


@dataclass(frozen=True, slots=True)
class JsonArrayFormat:
    """JSON with the array of records at the JSON Pointer `records`; `columns` tells which values stay as written."""

    records: str
    columns: SourceColumns = EVERYTHING_INFERRED
    form: TextForm = field(default_factory=TextForm)
    skips_bad: bool = False
    contract: Contract = NO_CONTRACT

    def plan(self, storage: Storage, files: Sequence[FoundFile]) -> SourcePlan:
        """Sample the files; each is a unit, and the columns are those of the first one that has records."""
        tolerance = Tolerance(self.skips_bad)
        samples = samples_of(partial(self.sampled, storage), files, tolerance)
        schema = self.columns.schema(kinds_of(samples, self.contract))
        units = tuple(file.unit(schema, size=file.size, rows=None) for file in files)
        return tolerance.checked(SourcePlan(units, schema))

    def shown(self, schema: pa.Schema) -> pa.Schema:
        """Return `schema`: rows are read in the types of the plan."""
        return schema

    def sampled(self, storage: Storage, file: FoundFile, size: int) -> Sample:
        """Return the names and kinds that the first `size` bytes of a file show."""
        self.demand_records(storage, file.uri, file.version, file.size)
        found: list[object] = []
        with storage.open(file.uri, file.version, file.size) as source, parsed(file.uri):
            feed = Feed(file.uri, self.form.whole(source, file.uri, size))
            try:
                found.extend(takewhile(lambda _: feed.total <= size, self.items(feed)))
            except (ijson.JSONError, BadDataError, pa.ArrowException, EOFError):
                if not found:
                    raise  # else reading it will tell
        records = list(readable_objects(found))
        kinds = kinds_in(records)
        checked_names(kinds, file.uri)
        return Sample(kinds, len(records) if kinds else 0)

    def read(self, storage: Storage, unit: Unit, schema: pa.Schema) -> Iterator[Piece]:
        """Yield the rows and rejects of a file; those before some damage come before it is told."""
        rows = JsonRows(unit.uri, schema, lambda number: f"record {number + 1}", 0, self.contract)
        self.demand_records(storage, unit.uri, unit.version, unit.size)
        with storage.open(unit.uri, unit.version, unit.size, ahead=True) as file, parsed(unit.uri):
            feed = Feed(unit.uri, self.form.whole(file, unit.uri))
            for batch in batches(self.items(feed), feed):
                yield rows.piece(batch, raws_of, text_of)

    def demand_records(self, storage: Storage, uri: str, version: str, size: int) -> None:
        """Raise unless there is an array where the records should be; the parser would pass over anything else."""
        with storage.open(uri, version, size) as file, parsed(uri):
            for prefix, event, _ in ijson.parse(Feed(uri, self.form.whole(file, uri, LOOK)), buf_size=LOOK):
                if prefix == self.prefix and event == "start_array":
                    return
        place = f"at {self.records!r}" if self.records else "in the file itself"
        msg = f"{uri}: there is no array {place}; give its JSON Pointer as `records`, or set `format: jsonl`"
        raise BadDataError(msg, uri=uri)

    def items(self, feed: Feed) -> Iterator[object]:
        """Yield the records."""
        for record in ijson.items(feed, f"{self.prefix}.item".removeprefix("."), buf_size=LOOK):
            feed.since = 0
            yield record

    @property
    def prefix(self) -> str:
        """Where the records are, as the parser writes it."""
        return self.records.removeprefix("/").replace("/", ".")


def batches(records: Iterator[object], feed: Feed) -> Iterator[list[object]]:
    """Yield records together, up to the size of a chunk; those before an error come before it."""
    held: list[object] = []
    begun = 0
    try:
        for record in records:
            held.append(record)
            if len(held) >= ROWS or feed.total - begun >= BLOCK:
                batch, held, begun = held, [], feed.total
                yield batch
    except (ijson.JSONError, BadDataError, pa.ArrowException, OSError, EOFError):
        if held:
            yield held
        raise
    if held:
        yield held


@contextmanager
def parsed(uri: str) -> Iterator[None]:
    """Raise `BadDataError` that names the file, where it is not JSON."""
    try:
        with readable(uri, "json"):
            yield
    except ijson.JSONError as exc:
        msg = f"{uri} cannot be read as json: it is damaged, cut off, or of another format or encoding"
        raise BadDataError(msg, uri=uri) from exc


def readable_objects(records: Iterable[object]) -> Iterator[Mapping[str, Raw]]:
    """Yield the records that are objects; the others will be rejects when they are read."""
    for record in records:
        with suppress(BadLineError):
            yield raws_of(record)


def text_of(record: object) -> str:
    """Return a record as JSON text."""
    return written(record).encode(errors="replace").decode()
