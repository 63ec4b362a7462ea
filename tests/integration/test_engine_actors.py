"""Laws of the actor pool, on a real Ray of two processors that only this module uses."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from dataproc.cluster.engine import RayEngine
from dataproc.domain.chunk import POSITION, Chunk, LoadedChunk, no_rejects, number, with_positions
from dataproc.domain.destination import Destination
from dataproc.domain.errors import ClusterUnavailableError, TransformFailedError
from dataproc.domain.tally import Tally
from dataproc.domain.transforms.python import PythonTransform
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.ports.memory import BLANK, Memory
from dataproc.ports.pipeline import Transform
from dataproc.services.monitor import Monitor
from dataproc.services.pipeline import Pipeline
from dataproc.transforms.factory import transform_for
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.builders import around_transforms
from tests.waiting import wait_until
from tests.warehouses import ALWAYS_DIRECT, a_load_id, a_unit

# Ray warns of its own deprecated settings and of files that its own processes leave open.
pytestmark = [
    pytest.mark.ray,
    pytest.mark.usefixtures("local_ray"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

SCHEMA = pa.schema({"x": pa.int64()})
ROWS, IN_CHUNK = 40, 10


@dataclass(frozen=True, slots=True)
class Numbers:
    """Units of numbers, a few in each chunk, which are read slowly where that is asked for."""

    count: int
    pause: float = 0

    @property
    def units(self) -> list[Unit]:
        return [a_unit(str(n), ROWS) for n in range(self.count)]

    def plan(self, memory: Memory = BLANK) -> SourcePlan:
        del memory
        return SourcePlan(tuple(self.units), SCHEMA)

    def read(self, unit: Unit) -> Iterator[Chunk]:
        return number(unit.id, SCHEMA, ((rows, no_rejects()) for rows in self.pieces(int(unit.id) * ROWS)))

    def pieces(self, first: int) -> Iterator[pa.Table]:
        for at in range(0, ROWS, IN_CHUNK):
            time.sleep(self.pause)
            values = pa.array(range(first + at, first + at + IN_CHUNK), pa.int64())
            yield with_positions(pa.table({"x": values}), at)


def python(name: str, **fields: Any) -> Transform:
    """Return a step with a class of `tests.functions`."""
    document = {"kind": "python", "call": f"tests.functions:{name}", "returns": {"twice": "int64"}, **fields}
    return transform_for(PythonTransform.model_validate(document), around_transforms(python_modules=("tests",)))


def loaded(chunk: Chunk) -> LoadedChunk:
    """Account for a chunk, with its rows in the digest."""
    rows = chunk.rows.select(["x", "twice", POSITION]).to_pylist()
    return LoadedChunk(
        chunk.unit, chunk.seq, chunk.last, chunk.read, len(rows), chunk.rejected, chunk.filtered, repr(rows).encode()
    )


def results_of(source: Numbers, step: Transform) -> list[LoadedChunk]:
    """Return what comes out, which must be whole, each chunk once."""
    tally, chunks = Tally(), dict[tuple[str, int], LoadedChunk]()
    with RayEngine().run(source.units, source.read, (step,), loaded) as results:
        for chunk in results:
            tally.add(chunk)
            chunks[chunk.unit, chunk.seq] = chunk
    tally.verify(source.plan())
    return [chunks[place] for place in sorted(chunks)]


def notes(folder: Path, name: str = "made") -> list[int]:
    """Return the processes that left a note."""
    return [int(path.read_text() or 0) for path in folder.glob(f"{name}-*")]


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and it has not ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.parametrize("size", [1, 2])
def test_each_actor_of_a_pool_makes_its_object_once_for_many_units(tmp_path: Path, size: int) -> None:
    step = python("Counted", options={"folder": str(tmp_path)}, actor_pool=size)

    results_of(Numbers(8, pause=0.02), step)

    assert len(notes(tmp_path)) == len(set(notes(tmp_path))) == size


def test_a_pool_gives_the_rows_that_tasks_give(tmp_path: Path) -> None:
    options = {"folder": str(tmp_path)}
    by_tasks = results_of(Numbers(4), python("Counted", options=options))

    assert results_of(Numbers(4), python("Counted", options=options, actor_pool=2)) == by_tasks
    assert sum(chunk.loaded for chunk in by_tasks) == 4 * ROWS


def test_a_pool_that_is_larger_than_the_cluster_works_with_the_actors_that_it_has(tmp_path: Path) -> None:
    step = python("Counted", options={"folder": str(tmp_path)}, actor_pool=5)

    assert len(results_of(Numbers(8, pause=0.02), step)) == 8 * ROWS // IN_CHUNK


def test_a_pool_is_no_larger_than_there_are_units(tmp_path: Path) -> None:
    results_of(Numbers(1), python("Counted", options={"folder": str(tmp_path)}, actor_pool=2))

    assert len(notes(tmp_path)) == 1


def test_the_actors_end_with_the_run(tmp_path: Path) -> None:
    results_of(Numbers(4), python("Counted", options={"folder": str(tmp_path)}, actor_pool=2))

    assert_all_end(notes(tmp_path))


def test_leaving_early_ends_the_actors_after_the_chunk_that_they_have(tmp_path: Path) -> None:
    source, step = Numbers(4, pause=2.5), python("Counted", options={"folder": str(tmp_path)}, actor_pool=2)

    with RayEngine().run(source.units, source.read, (step,), loaded) as results:
        next(results)
        assert all(is_alive(pid) for pid in notes(tmp_path))

    assert_all_end(notes(tmp_path))


def assert_all_end(pids: Sequence[int]) -> None:
    """Wait for processes to end."""
    assert pids
    wait_until(lambda: not any(is_alive(pid) for pid in pids))


def test_a_set_up_that_fails_is_told_by_the_name_of_the_class_and_is_not_tried_again(tmp_path: Path) -> None:
    step = python("BrokenAndCounted", options={"folder": str(tmp_path)}, actor_pool=1)

    with pytest.raises(
        TransformFailedError, match=r"tests\.functions:BrokenAndCounted failed with OSError at functions"
    ):
        results_of(Numbers(8), step)

    assert len(notes(tmp_path, "tried")) == 1


def test_a_set_up_that_ends_its_process_is_given_up(tmp_path: Path) -> None:
    source, step = Numbers(2), python("DeadlySetUp", options={"folder": str(tmp_path)}, actor_pool=1)

    with (
        pytest.raises(ClusterUnavailableError, match="Ray could not finish the work"),
        RayEngine(task_retries=1).run(source.units, source.read, (step,), loaded) as results,
    ):
        list(results)

    assert len(notes(tmp_path, "tried")) == 2


def test_an_actor_that_is_killed_is_replaced_and_its_unit_read_again(tmp_path: Path) -> None:
    source, step = Numbers(4, pause=0.3), python("Counted", options={"folder": str(tmp_path)}, actor_pool=2)
    tally = Tally()

    with RayEngine().run(source.units, source.read, (step,), loaded) as results:
        tally.add(next(results))
        os.kill(notes(tmp_path)[0], signal.SIGKILL)
        for chunk in results:
            tally.add(chunk)

    tally.verify(source.plan())
    assert tally.account.loaded == 4 * ROWS
    assert len(notes(tmp_path)) == 2 + 1


def test_a_killed_actor_costs_the_warehouse_no_row_and_doubles_none(tmp_path: Path, warehouse_url: str) -> None:
    options = {"folder": str(tmp_path), "dies_at": ROWS + IN_CHUNK + 3}
    warehouse = PostgresWarehouse(warehouse_url, ALWAYS_DIRECT)
    destination = Destination(table="shop.twice", load="staged")
    step = python("Counted", options=options, actor_pool=2)

    Pipeline(Numbers(4), (step,), destination, (), RayEngine(), warehouse).run(a_load_id(), Monitor())

    assert (tmp_path / "died").exists()
    with psycopg.connect(warehouse_url) as conn:
        rows = conn.execute("SELECT x, twice FROM shop.twice ORDER BY x").fetchall()
    assert rows == [(x, 2 * x) for x in range(4 * ROWS)]
