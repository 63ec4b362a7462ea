"""A source and an engine in memory."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa

from dataproc.domain.chunk import Chunk, LoadedChunk, no_rejects, number, with_positions
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.ports.memory import BLANK, Memory
from dataproc.ports.pipeline import Step, Transform

ID = pa.schema([("id", pa.int64())])


def look_away(_: object) -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class ListSource:
    """A source of one column `id`: each list is a unit; `on_read` sees a unit before it is read."""

    ids: Sequence[Sequence[int]]
    on_read: Callable[[Unit], None] = look_away

    def plan(self, memory: Memory = BLANK) -> SourcePlan:
        del memory
        units = (Unit(f"u{n}", f"list/{n}", "1", 8 * len(ids), rows=len(ids)) for n, ids in enumerate(self.ids))
        return SourcePlan(tuple(units), ID)

    def read(self, unit: Unit) -> Iterator[Chunk]:
        self.on_read(unit)
        rows = pa.table({"id": self.ids[int(unit.id.removeprefix("u"))]}, schema=ID)
        return number(unit.id, ID, [(with_positions(rows, 0), no_rejects())])


@dataclass(slots=True)
class FakeEngine:
    """Runs the work in this process, one unit after the other."""

    running: int = 0

    @contextmanager
    def run(
        self,
        units: Sequence[Unit],
        read: Callable[[Unit], Iterator[Chunk]],
        transforms: Sequence[Transform],
        load: Step,
    ) -> Iterator[Iterator[LoadedChunk]]:
        self.running += 1
        try:
            yield (load(changed(chunk, transforms)) for unit in units for chunk in read(unit))
        finally:
            self.running -= 1


def changed(chunk: Chunk, transforms: Sequence[Transform]) -> Chunk:
    """Return a chunk after all transforms."""
    for transform in transforms:
        chunk = transform.apply(chunk)
    return chunk
