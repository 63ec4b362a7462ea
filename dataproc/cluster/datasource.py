"""Units as Ray read tasks: one task a unit, whatever Ray thinks of its size."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import pyarrow as pa
from ray.data import DataContext, Datasource
from ray.data.block import BlockMetadata
from ray.data.datasource import ReadTask
from typing_extensions import override

from dataproc.cluster.travel import CHUNKS, pack, pack_failure
from dataproc.domain.chunk import Chunk
from dataproc.domain.unit import Unit

Read = Callable[[Unit], Iterator[Chunk]]


class UnitDatasource(Datasource):
    """Reads each unit in a task of its own."""

    def __init__(self, units: Sequence[Unit], read: Read) -> None:
        """Remember what to read; nothing is read yet."""
        super().__init__()  # type: ignore[no-untyped-call] # Ray leaves it untyped
        self._units = units
        self._read = read

    @override
    def estimate_inmemory_data_size(self) -> int | None:
        return sum(unit.size for unit in self._units)

    @override
    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: DataContext | None = None
    ) -> list[ReadTask]:
        return [ReadTask(partial(blocks_of, self._read, unit), metadata_of(unit)) for unit in self._units]


def blocks_of(read: Read, unit: Unit) -> Iterable[pa.Table]:
    """Yield the chunks of a unit, each as a block; what goes wrong is the last one."""
    try:
        for chunk in read(unit):
            yield pack(chunk)
    except Exception as exc:  # noqa: BLE001 - it is raised again where the results are read
        yield pack_failure(CHUNKS, exc)


def metadata_of(unit: Unit) -> BlockMetadata:
    """Tell Ray how much memory a unit may take."""
    return BlockMetadata(num_rows=None, size_bytes=unit.size, exec_stats=None, input_files=(unit.uri,))
