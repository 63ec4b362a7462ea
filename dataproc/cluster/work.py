"""The work on chunks, as Ray Data calls it: in tasks, or in the actors of a pool, which prepare it once."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray

from dataproc.cluster.attempts import attempted
from dataproc.cluster.datasource import Read
from dataproc.cluster.groups import joined_blocks
from dataproc.cluster.travel import LOADED, pack_failure, pack_loaded, unpack
from dataproc.domain.chunk import Chunk
from dataproc.domain.unit import Unit
from dataproc.ports.pipeline import Preparing, Step, Transform

UNIT = "unit"
"""The column of a block that tells an actor which unit to read, by its number."""


@dataclass(frozen=True, slots=True)
class Work:
    """What `map_batches` does with each block: the transforms in order, then the load."""

    transforms: tuple[Transform, ...]
    load: Step

    def __call__(self, block: pa.Table) -> Iterator[pa.Table]:
        """Yield a block for each chunk, or for small ones together; what goes wrong is the last one."""
        return joined_blocks(self.done(unpack(block)), block.num_rows)

    def done(self, chunks: Iterator[Chunk]) -> Iterator[pa.Table]:
        """Yield a block for each of these chunks; what goes wrong is the last one."""
        try:
            for chunk in chunks:
                yield pack_loaded(self.load(self.transformed(chunk)))
        except Exception as exc:  # noqa: BLE001 - it is raised again where the results are read
            yield pack_failure(LOADED, exc)

    def transformed(self, chunk: Chunk) -> Chunk:
        """Return the chunk after all transforms."""
        for transform in self.transforms:
            chunk = transform.apply(chunk)
        return chunk

    def prepare(self) -> None:
        """Make what the transforms keep for as long as this process lives."""
        for transform in self.transforms:
            if isinstance(transform, Preparing):
                transform.prepare()


class ActorWork:
    """The work of an actor: it reads a unit, works on its chunks, and then takes the next unit."""

    def __init__(self, units: tuple[Unit, ...], read: Read, work: Work) -> None:
        """Prepare the work; an error is kept for the results, for of an actor that does not start Ray tells less."""
        self.units, self.read, self.work = units, read, work
        self.failure: Exception | None = None
        try:
            work.prepare()
        except Exception as exc:  # noqa: BLE001 - it is raised again where the results are read
            self.failure = exc

    def __call__(self, block: pa.Table) -> Iterator[pa.Table]:
        """Yield a block for each chunk of the units that a block names; what goes wrong is the last one."""
        yield from joined_blocks(self.work.done(self.chunks(block)), block.num_rows)

    def chunks(self, block: pa.Table) -> Iterator[Chunk]:
        """Yield the chunks of the units, or raise what went wrong when the actor started."""
        if self.failure is not None:
            raise self.failure
        numbers: list[Any] = block[UNIT].to_pylist()
        for number in numbers:
            for chunk in self.read(attempted(self.units[number])):
                # Ray interrupts tasks of a run that ends early; actors it only tells.
                if ray.get_runtime_context().is_canceled():
                    return
                yield chunk
