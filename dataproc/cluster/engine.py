"""The engine: Ray Data runs read, transforms and load on every unit, in parallel."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray.data
from ray.data import DataContext
from ray.exceptions import RayError
from ray.util.annotations import RayDeprecationWarning

from dataproc.cluster.datasource import Read, UnitDatasource
from dataproc.cluster.travel import pack_loaded, unpack, unpack_loaded
from dataproc.domain.chunk import Chunk, LoadedChunk, number
from dataproc.domain.errors import ClusterUnavailableError, DataprocError
from dataproc.domain.unit import Unit
from dataproc.ports import Step, Transform

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Work:
    """What `map_batches` does with each block: the transforms in order, then the load."""

    transforms: tuple[Transform, ...]
    load: Step

    def __call__(self, block: pa.Table) -> Iterator[pa.Table]:
        """Yield a block for each chunk."""
        for chunk in unpack(block):
            for transform in self.transforms:
                chunk = transform.apply(chunk)  # noqa: PLW2901 - each transform takes what the one before gave
            yield pack_loaded(self.load(chunk))


@dataclass(frozen=True, slots=True)
class RayEngine:
    """Runs on the Ray cluster that this process is connected to."""

    task_retries: int = 3

    @contextmanager
    def run(
        self, units: Sequence[Unit], read: Read, transforms: Sequence[Transform], load: Step
    ) -> Iterator[Iterator[LoadedChunk]]:
        """Give the results as they come; the end of the block ends the Dataset, whether it is done or not."""
        if not units:
            yield iter(())
            return
        with own_context():
            blocks = self.start(units, read, Work(tuple(transforms), load))
        try:
            yield results_of(blocks)
        finally:
            close(blocks)

    def warm(self) -> None:
        """Start what a first Dataset would have to wait for: workers with our imports."""
        unit = Unit("warm", "warm", "1", 0)
        with self.run([unit], read_nothing, (), count_nothing) as results:
            for _ in results:
                pass

    def start(self, units: Sequence[Unit], read: Read, work: Work) -> Iterator[Any]:
        """Start the Dataset and return its blocks; Ray fuses read and work of a unit into one task."""
        options = {"max_retries": self.task_retries}
        source = UnitDatasource(units, read)
        with warnings.catch_warnings():
            # `max_retries` has no named parameter, and without it a read would be retried for ever.
            warnings.simplefilter("ignore", RayDeprecationWarning)
            rows = ray.data.read_datasource(source, override_num_blocks=len(units), ray_remote_args=options)
        done = rows.map_batches(work, batch_size=None, batch_format="pyarrow", zero_copy_batch=True, **options)
        return iter(done.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=2))


def read_nothing(unit: Unit) -> Iterator[Chunk]:
    """Yield one chunk without rows."""
    return number(unit.id, pa.schema([]), ())


def count_nothing(chunk: Chunk) -> LoadedChunk:
    """Return the account of a chunk without rows."""
    return LoadedChunk(chunk.unit, chunk.seq, chunk.last, chunk.read, 0, 0, 0)


@contextmanager
def own_context() -> Iterator[None]:
    """Set Ray Data up for our Datasets, and leave the process as it was."""
    before = DataContext.get_current()
    context = before.copy()
    context.target_max_block_size = 64 * MEBIBYTE
    context.execution_options.preserve_order = False
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.raise_original_map_exception = True
    context.max_errored_blocks = 0
    DataContext._set_current(context)  # noqa: SLF001 - Ray offers no other way to set it for one Dataset
    try:
        yield
    finally:
        DataContext._set_current(before)  # noqa: SLF001 - as above


def results_of(blocks: Iterator[pa.Table]) -> Iterator[LoadedChunk]:
    """Yield the results, and turn what Ray raises into our errors."""
    try:
        for block in blocks:
            yield from unpack_loaded(block)
    except RayError as exc:
        raise ours(exc) from exc


def ours(exc: BaseException) -> DataprocError:
    """Return our error that a worker raised, which Ray wraps; anything else is the cluster's."""
    seen: BaseException | None = exc
    while seen is not None:
        if isinstance(cause := getattr(seen, "cause", None), DataprocError):
            return cause
        if isinstance(seen, DataprocError):
            return seen
        seen = seen.__cause__ or (cause if isinstance(cause, BaseException) else None)
    return ClusterUnavailableError(f"Ray could not finish the work: {str(exc).partition(chr(10))[0]}")


def close(blocks: Iterator[pa.Table]) -> None:
    """End the Dataset's execution."""
    stop: Callable[[], None] | None = getattr(blocks, "close", None)
    if stop is not None:
        with suppress(GeneratorExit):
            stop()
