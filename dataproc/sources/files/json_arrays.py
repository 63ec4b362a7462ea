"""JSON files that hold one array of objects, read an object at a time; types come from a sample.

Such a file is one unit: where an object begins can only be told from the start. JSON Lines are read in parallel.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from itertools import takewhile

import ijson  # type: ignore[import-untyped]  # it has no types
import pyarrow as pa

from dataproc.domain.chunk import Piece
from dataproc.domain.contract import NO_CONTRACT, Contract
from dataproc.domain.errors import BadDataError
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.sources.files.damage import Tolerance
from dataproc.sources.files.formats import readable
from dataproc.sources.files.json_feed import Feed
from dataproc.sources.files.json_rows import JsonRows, schema_of, shown
from dataproc.sources.files.lines import BLOCK, LOOK, SAMPLE, TextForm
from dataproc.sources.files.storage import FoundFile, Storage
from dataproc.sources.json_values import BadLineError
from dataproc.sources.schemas import checked_names, first_sampled

ROWS = 50_000
"""Records that become one chunk, unless they are long."""


@dataclass(frozen=True, slots=True)
class JsonArrayFormat:
    """JSON with the array of records at the JSON Pointer `records`; the columns named in `text` come as text."""

    records: str
    text: frozenset[str] = frozenset()
    form: TextForm = field(default_factory=TextForm)
    skips_bad: bool = False
    contract: Contract = NO_CONTRACT

    def plan(self, storage: Storage, files: Sequence[FoundFile]) -> SourcePlan:
        """Sample the first file that has records; each file is a unit."""
        tolerance = Tolerance(self.skips_bad)
        samples = (
            tolerance.attempt(partial(self.sampled, storage, file), lambda _: pa.schema([]))
            for file in files
            if file.size
        )
        schema = first_sampled((sample, len(sample.names)) for sample in samples)
        units = tuple(file.unit(schema, size=file.size, rows=None) for file in files)
        return tolerance.checked(SourcePlan(units, self.shown(schema)))

    def shown(self, schema: pa.Schema) -> pa.Schema:
        """Return the types of the rows."""
        return shown(schema, self.text)

    def sampled(self, storage: Storage, file: FoundFile) -> pa.Schema:
        """Return the names and types that the start of a file shows."""
        self.demand_records(storage, file.uri, file.version, file.size)
        found: list[object] = []
        with storage.open(file.uri, file.version, file.size) as source, parsed(file.uri):
            feed = Feed(file.uri, self.form.whole(source, file.uri, SAMPLE))
            try:
                found.extend(takewhile(lambda _: feed.total <= SAMPLE, self.items(feed)))
            except (ijson.JSONError, BadDataError, pa.ArrowException, EOFError):
                if not found:
                    raise  # else reading it will tell
        schema = schema_of(floated(record) for record in found if isinstance(record, dict))
        checked_names(schema.names, file.uri)
        return schema

    def read(self, storage: Storage, unit: Unit, schema: pa.Schema) -> Iterator[Piece]:
        """Yield the rows and rejects of a file; those before some damage come before it is told."""
        rows = JsonRows(unit.uri, schema, self.shown(schema), lambda number: f"record {number + 1}", 0, self.contract)
        self.demand_records(storage, unit.uri, unit.version, unit.size)
        with storage.open(unit.uri, unit.version, unit.size, ahead=True) as file, parsed(unit.uri):
            feed = Feed(unit.uri, self.form.whole(file, unit.uri))
            for batch in batches(self.items(feed), feed):
                yield rows.piece(batch, object_in, text_of)

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


def object_in(record: object) -> Mapping[str, object]:
    """Return a record that is an object."""
    if not isinstance(record, dict):
        raise BadLineError("parse", "the record is not a JSON object")
    return floated(record)


def floated(record: Mapping[str, object]) -> Mapping[str, object]:
    """Return a record whose numbers with a fraction are floats, as in JSON Lines."""
    return {name: float(value) if type(value) is Decimal else value for name, value in record.items()}


def text_of(record: object) -> str:
    """Return a record as JSON text."""
    return json.dumps(record, ensure_ascii=False, default=float)
