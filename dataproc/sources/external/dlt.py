"""A resource of dlt as a source.

Its rows are extracted by dlt and loaded by us, so that they are published exactly once. dlt keeps no state between the
runs: what was read is in the job's memory, and the resource is told where to begin.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any

import pyarrow as pa

from dataproc.domain.chunk import Chunk, Piece, number
from dataproc.domain.memory import CursorMove
from dataproc.domain.sources.external import DltSource
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.ports.memory import BLANK, Memory
from dataproc.ports.secrets import Secrets
from dataproc.sources.boundary import columns_of, notes_on
from dataproc.sources.external.cursor import Beyond, kind_of_cursor, value_of
from dataproc.sources.external.dlt_resource import begin_after, resource_of, translated
from dataproc.sources.external.rows import RowReader, in_batches, schema_of

SAMPLE = 1000
"""Items of which the types are taken."""
BATCH = 20_000


@dataclass(frozen=True, slots=True)
class DltResourceSource:
    """The rows of one resource, as one unit; nested values come as JSON text."""

    spec: DltSource
    secrets: Secrets
    modules: tuple[str, ...]

    def plan(self, memory: Memory = BLANK) -> SourcePlan:
        """Extract the first rows to see their types."""
        move = self.move(memory)
        with translated(self.spec.resource):
            sample = list(islice(self.rows(None), SAMPLE))
        schema = schema_of(sample, self.spec.resource)
        if move is not None:
            columns = None if move.found.by_key else columns_of(schema)
            move = replace(move, kind=kind_of_cursor(schema, move.cursor), columns=columns)
        # The publish compares with what is remembered; a first run reads from where the job says.
        begin = None if move is None else replace(move, before=move.before or self.start)
        return SourcePlan((self.unit(schema, begin),), schema, move=move, notes=notes_on(move))

    def unit(self, schema: pa.Schema, begin: CursorMove | None) -> Unit:
        """Return the unit that is everything beyond where the run begins."""
        name, told = f"dlt:{self.spec.resource}", [self.spec.model_dump(mode="json"), begin and begin.before]
        version = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
        return Unit(f"{name}@{version}", name, "", 0, schema=schema, detail=begin)

    def move(self, memory: Memory) -> CursorMove | None:
        """Return from where the resource is read, if it is incremental."""
        if (incremental := self.spec.incremental) is None:
            return None
        return CursorMove(incremental.cursor, "text", memory.watermark(incremental.cursor), found=memory.boundary())

    @property
    def start(self) -> str | None:
        """After which value the first run begins."""
        incremental = self.spec.incremental
        return None if incremental is None or incremental.start is None else str(incremental.start)

    def read(self, unit: Unit) -> Iterator[Chunk]:
        """Yield the rows in chunks."""
        schema = pa.schema([]) if unit.schema is None else unit.schema
        return number(unit.id, schema, self.pieces(unit, schema))

    def pieces(self, unit: Unit, schema: pa.Schema) -> Iterator[Piece]:
        """Yield the rows piece by piece, without those that an earlier run has read."""
        move = unit.detail if isinstance(unit.detail, CursorMove) else None
        reader = RowReader(self.spec.resource, schema)
        with translated(self.spec.resource):
            beyond = None if move is None else Beyond.of(move)
            for rows in in_batches(self.rows(move), BATCH):
                piece = Piece(*reader.table(rows))
                yield piece if beyond is None else beyond.piece(piece)

    def rows(self, move: CursorMove | None) -> Iterator[dict[str, Any]]:
        """Yield the rows that the resource gives; it may give tables of Arrow as well."""
        secret = {name: self.secrets.get(reference) for name, reference in self.spec.secrets.items()}
        resource = resource_of(self.spec.resource, self.modules, {**self.spec.arguments, **secret}, self.spec.select)
        if move is not None and move.before is not None:
            begin_after(resource, move.cursor, value_of(move))
        return chain.from_iterable(map(rows_of, resource))


def rows_of(item: Any) -> Iterator[dict[str, Any]]:
    """Yield the rows of what a resource gives at once."""
    match item:
        case dict():
            yield item
        case pa.Table() | pa.RecordBatch():
            yield from item.to_pylist()
        case _ if hasattr(item, "to_dict"):
            yield from item.to_dict("records")
        case _:
            yield from item
