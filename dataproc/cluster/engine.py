"""The engine: Ray Data runs read, transforms and load on every unit, in parallel."""

import logging
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pyarrow as pa
import ray.data
from ray.data import ActorPoolStrategy, DataContext
from ray.data._internal.execution.resource_manager import ResourceManager
from ray.exceptions import RayError
from ray.util.annotations import RayDeprecationWarning

from dataproc.cluster.datasource import Read, UnitDatasource
from dataproc.cluster.groups import BLOCK_BYTES, Groups, grouped, numbered
from dataproc.cluster.messages import last_line
from dataproc.cluster.relay import relayed
from dataproc.cluster.travel import unpack_loaded
from dataproc.cluster.work import UNIT, ActorWork, Work
from dataproc.domain.chunk import Chunk, LoadedChunk, number
from dataproc.domain.errors import ClusterUnavailableError, FatalError
from dataproc.domain.unit import Unit
from dataproc.ports.pipeline import Needs, Step, Transform, needs_of

EACH_CHUNK = 1
"""Bytes that Ray gathers before it hands a block on. Our readers cut chunks of a good size; gathered to more, the first
would arrive when a unit is done, and a worker would hold several. Where small units share a task, Ray gathers their
chunks (`BLOCK_BYTES`): to hand on a thousand of them one by one took it more time than to read them."""
SETUP = threading.Lock()
"""Held while a Dataset is set up: the settings of Ray Data, and those of warnings, are shared by all threads."""
FIRST_LOOK = 0.02
"""Seconds for which Ray Data keeps what it knows of the cluster's resources. Its first look finds none: with its own
interval of a second, every Dataset runs a single task for that long, a third of the time of 2 million rows."""

logger = logging.getLogger(__name__)


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
        if all(unit.as_is for unit in units):
            with relayed(units, read, load) as chunks:
                yield raised_by_workers(chunks)
            return
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
        """Start the Dataset and return its blocks."""
        needs, groups = needs_of(work.transforms), grouped(units)
        with own_context(EACH_CHUNK if len(groups) == len(units) else BLOCK_BYTES):
            if needs.actors is None:
                return blocks_of(self.by_tasks(groups, read, work, needs))
            return blocks_of(self.by_actors(groups, read, work, needs, needs.actors))

    def by_tasks(self, groups: Groups, read: Read, work: Work, needs: Needs) -> ray.data.Dataset:
        """Return the Dataset of tasks; Ray fuses read and work of a unit into one."""
        # `max_retries` has no named parameter, and without it a task would be retried for ever.
        options = {"max_retries": self.task_retries, **resources_of(needs)}
        # The same for both, or Ray would not fuse them.
        pool: dict[str, Any] = {} if needs.concurrency is None else {"concurrency": needs.concurrency}
        source = UnitDatasource(groups, read)
        rows = ray.data.read_datasource(source, override_num_blocks=len(groups), ray_remote_args=options, **pool)
        whole: dict[str, Any] = {"batch_size": None, "batch_format": "pyarrow", "zero_copy_batch": True}
        done: ray.data.Dataset = rows.map_batches(work, **whole, **options, **pool)
        return done

    def by_actors(self, groups: Groups, read: Read, work: Work, needs: Needs, size: int) -> ray.data.Dataset:
        """Return the Dataset of a pool of actors, each of which reads the units that it works on.

        Read by tasks, all rows would travel through the object store: Ray fuses no tasks whose retries have a limit
        with actors.
        """
        # A unit waits for the actor that is free first, not behind the unit of another.
        pool = ActorPoolStrategy(size=min(size, len(groups)), max_tasks_in_flight_per_actor=1)
        # Without a limit, an actor that dies would be made again, and its unit begun again, for ever.
        limits: dict[str, Any] = {"max_restarts": self.task_retries, "max_task_retries": self.task_retries}
        # `from_arrow` would ask tasks for their columns, and wait for a core that the actors of another run may hold.
        numbers: ray.data.Dataset = ray.data.from_blocks([pa.table({UNIT: group}) for group in numbered(groups)])
        done: ray.data.Dataset = numbers.map_batches(
            ActorWork,
            fn_constructor_args=(tuple(chain.from_iterable(groups)), read, work),
            batch_size=None,
            batch_format="pyarrow",
            compute=pool,
            **limits,
            **resources_of(needs),
        )
        return done


def resources_of(needs: Needs) -> dict[str, Any]:
    """Return what Ray is asked for, for each task or actor."""
    resources: dict[str, Any] = {"num_cpus": needs.cpus}
    return resources if needs.memory is None else {**resources, "memory": needs.memory}


def blocks_of(rows: ray.data.Dataset) -> Iterator[pa.Table]:
    """Yield the blocks as they are made; the Dataset's execution begins with the first one, and ends with this.

    `iter_batches` would hold the first block back until there are more; told not to, it leaves a thread behind for
    every Dataset (Ray 2.60), and a runner has thousands.
    """
    for bundle in rows.iter_internal_ref_bundles():
        for entry in bundle.blocks:
            yield ray.get(entry.ref)


def read_nothing(unit: Unit) -> Iterator[Chunk]:
    """Yield one chunk without rows."""
    return number(unit.id, pa.schema([]), ())


def count_nothing(chunk: Chunk) -> LoadedChunk:
    """Return the account of a chunk without rows."""
    return LoadedChunk(chunk.unit, chunk.seq, chunk.last, chunk.read, 0, 0, 0)


@contextmanager
def own_context(block_bytes: int) -> Iterator[None]:
    """Set Ray Data up for a Dataset of ours, and leave the process as it was."""
    with SETUP, warnings.catch_warnings():
        warnings.simplefilter("ignore", RayDeprecationWarning)
        before = DataContext.get_current()
        # Ray offers no other way to set it for one Dataset.
        DataContext._set_current(our_context(before, block_bytes))  # noqa: SLF001 - as above
        try:
            yield
        finally:
            DataContext._set_current(before)  # noqa: SLF001 - as above


def our_context(before: DataContext, block_bytes: int) -> DataContext:
    """Return the settings of a Dataset of ours; Ray cuts blocks that are much larger than `block_bytes`."""
    setattr(ResourceManager, "GLOBAL_LIMITS_UPDATE_INTERVAL_S", FIRST_LOOK)  # noqa: B010 - Ray types it as whole
    context = before.copy()
    context.target_max_block_size = block_bytes
    context.execution_options.preserve_order = False
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.max_errored_blocks = 0
    return context


def results_of(blocks: Iterator[pa.Table]) -> Iterator[LoadedChunk]:
    """Yield the results, and raise what a worker raised; what Ray itself raises is trouble of the cluster."""
    try:
        yield from raised_by_workers(chunk for block in blocks for chunk in unpack_loaded(block))
    except RayError as exc:
        reason = last_line(str(exc))
        raise ClusterUnavailableError(f"Ray could not finish the work: {type(exc).__name__}: {reason}") from exc


def raised_by_workers(chunks: Iterator[LoadedChunk]) -> Iterator[LoadedChunk]:
    """Yield chunks, or raise what a worker raised; of what nobody expected, the log tells where it arose."""
    try:
        yield from chunks
    except FatalError as exc:
        if notes := getattr(exc, "__notes__", None):
            logger.exception("a worker failed unexpectedly", extra={"traceback": "\n".join(notes)})
        raise


def close(blocks: Iterator[pa.Table]) -> None:
    """End the Dataset's execution."""
    stop: Callable[[], None] | None = getattr(blocks, "close", None)
    if stop is not None:
        with suppress(GeneratorExit):
            stop()
