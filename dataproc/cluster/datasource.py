"""Units as Ray read tasks: one task a unit, or a group of small ones, whatever Ray thinks of its size."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import pyarrow as pa
from ray.data import DataContext, Datasource
from ray.data.block import BlockMetadata
from ray.data.datasource import ReadTask
from typing_extensions import override

from dataproc.cluster.attempts import attempted
from dataproc.cluster.groups import joined_blocks
from dataproc.cluster.travel import CHUNKS, pack, pack_failure
from dataproc.domain.chunk import Chunk
from dataproc.domain.unit import Unit

Read = Callable[[Unit], Iterator[Chunk]]


class UnitDatasource(Datasource):
    """Reads each group of units in a task of its own."""

    def __init__(self, groups: Sequence[Sequence[Unit]], read: Read) -> None:
        """Remember what to read; nothing is read yet."""
        super().__init__()  # type: ignore[no-untyped-call] # Ray leaves it untyped
        self._groups = groups
        self._read = read

    @override
    def estimate_inmemory_data_size(self) -> int | None:
        return sum(unit.size for group in self._groups for unit in group)

    @override
    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: DataContext | None = None
    ) -> list[ReadTask]:
        return [ReadTask(partial(blocks_of, self._read, group), metadata_of(group)) for group in self._groups]


def blocks_of(read: Read, group: Sequence[Unit]) -> Iterable[pa.Table]:
    """Yield the chunks of units, those of one unit each as a block; what goes wrong is the last one."""
    return joined_blocks(failing_blocks(read, group), len(group))


def failing_blocks(read: Read, group: Sequence[Unit]) -> Iterator[pa.Table]:
    """Yield each chunk as a block; what goes wrong is the last one."""
    try:
        for unit in group:
            for chunk in read(attempted(unit)):
                yield pack(chunk)
    except Exception as exc:  # noqa: BLE001 - it is raised again where the results are read
        yield pack_failure(CHUNKS, exc)


def metadata_of(group: Sequence[Unit]) -> BlockMetadata:
    """Tell Ray how much memory a group may take."""
    size, files = sum(unit.size for unit in group), tuple(unit.uri for unit in group)
    return BlockMetadata(num_rows=None, size_bytes=size, exec_stats=None, input_files=files)
