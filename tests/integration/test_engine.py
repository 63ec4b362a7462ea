"""Laws of the engine, on a real Ray of two processors that only this module uses."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pytest
from ray.data import DataContext

from dataproc.cluster.engine import RayEngine
from dataproc.cluster.groups import grouped
from dataproc.cluster.work import Work
from dataproc.domain.chunk import Chunk, LoadedChunk, no_rejects, number, with_positions
from dataproc.domain.errors import (
    ClusterUnavailableError,
    ContractViolationError,
    DataprocError,
    FatalError,
    InvalidSpecError,
    Problem,
    StoppedError,
)
from dataproc.domain.tally import Tally
from dataproc.domain.unit import SourcePlan, Unit
from tests.waiting import wait_until
from tests.warehouses import a_unit

# Ray warns of its own deprecated settings and of files that its own processes leave open.
pytestmark = [
    pytest.mark.ray,
    pytest.mark.usefixtures("local_ray"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

SCHEMA = pa.schema({"x": pa.int64()})


@dataclass(frozen=True, slots=True)
class Rows:
    """Reads units of so many rows, a few in each chunk."""

    in_unit: dict[str, int]
    in_chunk: int = 10

    def __call__(self, unit: Unit) -> Iterator[Chunk]:
        count = self.in_unit[unit.id]
        starts = range(0, count, self.in_chunk)
        pieces = ((numbers(start, min(start + self.in_chunk, count)), no_rejects()) for start in starts)
        return number(unit.id, SCHEMA, pieces)


def numbers(start: int, stop: int) -> pa.Table:
    return with_positions(pa.table({"x": pa.array(range(start, stop), pa.int64())}), start)


@dataclass(frozen=True, slots=True)
class EvenOnly:
    """Filters odd numbers out."""

    def schema(self, before: pa.Schema) -> pa.Schema:
        return before

    def apply(self, chunk: Chunk) -> Chunk:
        even = chunk.rows.filter(pa.array([int(str(x)) % 2 == 0 for x in chunk.rows["x"].to_pylist()], pa.bool_()))
        return chunk.keep(even, filtered=chunk.rows.num_rows - even.num_rows)


@dataclass(frozen=True, slots=True)
class Failing:
    """Raises in one unit, wherever it is asked to."""

    error: Exception
    in_unit: str = "u1"

    def schema(self, before: pa.Schema) -> pa.Schema:
        return before

    def apply(self, chunk: Chunk) -> Chunk:
        if chunk.unit == self.in_unit:
            raise self.error
        return chunk

    def read(self, unit: Unit) -> Iterator[Chunk]:
        if unit.id == self.in_unit:
            raise self.error
        return Rows({unit.id: 10})(unit)

    def load(self, chunk: Chunk) -> LoadedChunk:
        return count(self.apply(chunk))


def count(chunk: Chunk) -> LoadedChunk:
    """Account for a chunk, and carry its numbers."""
    payload = ",".join(map(str, chunk.rows["x"].to_pylist())).encode()
    return LoadedChunk(
        chunk.unit, chunk.seq, chunk.last, chunk.read, chunk.rows.num_rows, chunk.rejected, chunk.filtered, b"", payload
    )


def units_of(rows: dict[str, int]) -> list[Unit]:
    return [a_unit(name, count) for name, count in rows.items()]


def whole(units: list[Unit], results: Iterator[LoadedChunk]) -> Tally:
    """Return the tally of all results, which must be whole."""
    tally = Tally()
    for chunk in results:
        tally.add(chunk)
    tally.verify(SourcePlan(tuple(units), SCHEMA))
    return tally


# ── everything comes, once ───────────────────────────────────────────────────────────────────────


def test_every_unit_comes_whole() -> None:
    rows = {f"u{i}": i * 7 % 40 for i in range(12)}
    units = units_of(rows)

    with RayEngine().run(units, Rows(rows), (EvenOnly(),), count) as results:
        tally = whole(units, results)

    assert tally.account.read == sum(rows.values())
    assert tally.account.loaded == sum((n + 1) // 2 for n in rows.values())
    assert tally.account.filtered == sum(n // 2 for n in rows.values())


def small_units(count: int) -> tuple[dict[str, int], list[Unit]]:
    rows = {f"u{n}": n % 25 for n in range(count)}
    return rows, [replace(unit, is_small=True) for unit in units_of(rows)]


def test_the_chunks_of_small_units_that_share_a_task_come_as_one_block() -> None:
    rows, units = small_units(100)

    blocks = list(RayEngine().start(units, Rows(rows), Work((), count)))

    assert len(blocks) == len(grouped(units))
    assert sum(block.num_rows for block in blocks) > len(units)


def test_small_units_share_tasks_and_come_whole() -> None:
    rows, units = small_units(100)

    with RayEngine().run(units, Rows(rows), (EvenOnly(),), count) as results:
        tally = whole(units, results)

    assert tally.account.read == sum(rows.values())


def test_an_error_in_a_unit_that_shares_its_task_arrives_as_it_was_raised() -> None:
    _, units = small_units(100)
    failing = Failing(ContractViolationError("wrong", column="x"), in_unit="u57")

    with (
        RayEngine().run(units, failing.read, (), count) as results,
        pytest.raises(ContractViolationError, match="wrong") as caught,
    ):
        list(results)
    assert caught.value.context == {"column": "x"}


def test_the_rows_come_as_they_were_read() -> None:
    with RayEngine().run(units_of({"u0": 25}), Rows({"u0": 25}), (), count) as results:
        texts = {chunk.seq: bytes(chunk.payload).decode() for chunk in results}

    assert ",".join(texts[seq] for seq in sorted(texts)) == ",".join(map(str, range(25)))


def test_units_without_rows_come_too() -> None:
    units = units_of({"u0": 0, "u1": 0})

    with RayEngine().run(units, Rows({"u0": 0, "u1": 0}), (EvenOnly(),), count) as results:
        assert whole(units, results).units_done == 2


def test_without_units_nothing_comes() -> None:
    with RayEngine().run([], Rows({}), (), count) as results:
        assert list(results) == []


def test_warming_leaves_the_engine_ready() -> None:
    engine = RayEngine()
    engine.warm()

    with engine.run(units_of({"u0": 1}), Rows({"u0": 1}), (), count) as results:
        assert [chunk.loaded for chunk in results] == [1]


# ── errors ───────────────────────────────────────────────────────────────────────────────────────


def kinds_of(kind: type[DataprocError]) -> list[type[DataprocError]]:
    """Return all classes of our errors."""
    return [kind, *(each for child in kind.__subclasses__() for each in kinds_of(child))]


OURS = [kind for kind in kinds_of(DataprocError) if kind.__module__ == DataprocError.__module__]


def run_with(error: Exception, where: str) -> None:
    """Run three units, of which one raises `error`."""
    failing = Failing(error)
    read: Callable[[Unit], Iterator[Chunk]] = failing.read if where == "read" else Rows({f"u{i}": 10 for i in range(3)})
    transforms = (failing,) if where == "transform" else ()
    load = failing.load if where == "load" else count
    with RayEngine().run(units_of({f"u{i}": 10 for i in range(3)}), read, transforms, load) as results:
        list(results)


@pytest.mark.parametrize("where", ["read", "transform", "load"])
def test_an_error_of_ours_arrives_as_it_was_raised(where: str) -> None:
    error = ContractViolationError("column amount does not fit", column="amount", position=7)

    with pytest.raises(ContractViolationError) as raised:
        run_with(error, where)

    assert str(raised.value) == "column amount does not fit"
    assert raised.value.context == {"column": "amount", "position": 7}
    assert type(raised.value) is ContractViolationError


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)
def test_every_error_of_ours_arrives_as_its_own_class(kind: type[DataprocError]) -> None:
    with pytest.raises(kind) as raised:
        run_with(kind("what happened", unit="u1"), "load")

    assert type(raised.value) is kind
    assert (str(raised.value), raised.value.context) == ("what happened", {"unit": "u1"})


def test_an_error_with_problems_keeps_them() -> None:
    problems = (Problem("/name", "is missing", 1, 2),)

    with pytest.raises(InvalidSpecError) as raised:
        run_with(InvalidSpecError("wrong", problems=problems), "read")

    assert raised.value.problems == problems


class UnpicklableError(Exception):
    """An error that does not survive the journey."""

    def __init__(self, *, needed: object) -> None:
        super().__init__("told")
        self.needed = needed


@pytest.mark.parametrize("where", ["read", "transform", "load"])
@pytest.mark.parametrize(
    "error", [ValueError("secret"), KeyError("secret"), OSError(5, "secret"), MemoryError("secret")]
)
def test_a_foreign_error_is_told_by_its_kind_and_is_no_trouble_of_the_cluster(
    where: str, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(FatalError) as raised:
        run_with(error, where)

    kind = type(error).__name__
    assert str(raised.value) == f"a worker failed unexpectedly with {kind}; the runner's log has the traceback"
    assert type(raised.value) is FatalError
    [record] = [record for record in caplog.records if record.name.startswith("dataproc")]
    assert f"{kind}: " in record.__dict__["traceback"]


def test_a_foreign_error_that_does_not_pickle_is_told_too() -> None:
    def read(unit: Unit) -> Iterator[Chunk]:
        yield from Rows({unit.id: 10})(unit)
        raise UnpicklableError(needed=unit)

    with (
        pytest.raises(FatalError, match="with UnpicklableError"),
        RayEngine().run(units_of({"u0": 10}), read, (), count) as results,
    ):
        list(results)


# ── trouble ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class KilledAtFirst:
    """Kills its own process in the middle of a unit, a few times."""

    folder: Path
    times: int

    def __call__(self, unit: Unit) -> Iterator[Chunk]:
        for chunk in Rows({unit.id: 50})(unit):
            if chunk.seq == 2 and unit.id == "u1":
                self.perhaps_die()
            yield chunk

    def perhaps_die(self) -> None:
        died = len(list(self.folder.iterdir()))
        if died < self.times:
            (self.folder / str(died)).touch()
            os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_is_killed_is_replaced_and_its_unit_read_again(tmp_path: Path) -> None:
    units = units_of({f"u{i}": 50 for i in range(3)})

    with RayEngine().run(units, KilledAtFirst(tmp_path, times=2), (), count) as results:
        tally = whole(units, results)

    assert tally.account.loaded == 150
    assert len(list(tmp_path.iterdir())) == 2


def test_a_unit_that_kills_every_worker_is_given_up(tmp_path: Path) -> None:
    engine = RayEngine(task_retries=1)

    with (
        pytest.raises(ClusterUnavailableError, match="Ray could not finish the work"),
        engine.run(units_of({"u1": 50}), KilledAtFirst(tmp_path, times=10), (), count) as results,
    ):
        list(results)

    assert len(list(tmp_path.iterdir())) == 2


@dataclass(frozen=True, slots=True)
class KilledUnlessIsolated:
    """Kills its own process, unless the bytes of the unit are to be decoded in another one."""

    def __call__(self, unit: Unit) -> Iterator[Chunk]:
        if not unit.isolated:
            os.kill(os.getpid(), signal.SIGKILL)
        yield from Rows({unit.id: 50})(unit)


def test_a_unit_whose_worker_has_died_is_decoded_in_another_process(tmp_path: Path) -> None:
    units = units_of({"u1": 50})

    with RayEngine(task_retries=1).run(units, KilledUnlessIsolated(), (), count) as results:
        tally = whole(units, results)

    assert tally.account.loaded == 50


@dataclass(frozen=True, slots=True)
class Slow:
    """Reads for a minute, and leaves a trace of being alive."""

    folder: Path

    def __call__(self, unit: Unit) -> Iterator[Chunk]:
        for chunk in Rows({unit.id: 6000})(unit):
            (self.folder / unit.id).write_text(str(os.getpid()))
            yield chunk
            time.sleep(0.1)
        (self.folder / "done").touch()


def is_still(folder: Path) -> bool:
    """Whether no task has left a trace for a while."""
    before = [path.stat().st_mtime_ns for path in sorted(folder.iterdir())]
    time.sleep(0.5)
    return before == [path.stat().st_mtime_ns for path in sorted(folder.iterdir())]


def test_a_chunk_arrives_as_soon_as_it_is_loaded(tmp_path: Path) -> None:
    with RayEngine().run(units_of({"u0": 6000}), Slow(tmp_path), (), count) as results:
        assert [next(results).seq, next(results).seq] == [0, 1]
        assert not (tmp_path / "done").exists()


def test_leaving_early_ends_the_tasks(tmp_path: Path) -> None:
    units = units_of({f"u{i}": 6000 for i in range(6)})

    with RayEngine().run(units, Slow(tmp_path), (), count) as results:
        next(results)
        assert not is_still(tmp_path)

    wait_until(lambda: is_still(tmp_path))


def test_leaving_before_the_first_result_starts_nothing(tmp_path: Path) -> None:
    with RayEngine().run(units_of({"u0": 6000}), Slow(tmp_path), (), count):
        pass

    assert is_still(tmp_path)


def test_leaving_by_an_error_ends_the_tasks_and_raises_it(tmp_path: Path) -> None:
    def stop_at_first() -> None:
        with RayEngine().run(units_of({"u0": 6000}), Slow(tmp_path), (), count) as results:
            raise StoppedError(f"at {next(results).unit}")

    with pytest.raises(StoppedError, match="at u0"):
        stop_at_first()

    wait_until(lambda: is_still(tmp_path))


# ── several at once ──────────────────────────────────────────────────────────────────────────────


def test_two_datasets_in_two_threads_do_not_disturb_each_other() -> None:
    engine, before = RayEngine(), DataContext.get_current()
    limit = before.target_max_block_size

    def run(name: str) -> int:
        rows = {f"{name}{i}": 30 for i in range(4)}
        with engine.run(units_of(rows), Rows(rows), (), count) as results:
            return whole(units_of(rows), results).account.loaded

    with ThreadPoolExecutor(2) as threads:
        loaded = list(threads.map(run, ["a", "b"] * 3))

    assert loaded == [120] * 6
    assert DataContext.get_current() is before
    assert before.target_max_block_size == limit


def test_our_settings_end_with_our_dataset() -> None:
    before = DataContext.get_current()

    with RayEngine().run(units_of({"u0": 1}), Rows({"u0": 1}), (), count) as results:
        assert DataContext.get_current() is before
        list(results)


def test_a_dataset_that_is_over_leaves_no_thread_behind() -> None:
    for _ in range(3):
        RayEngine().warm()
    before = threading.active_count()

    for _ in range(5):
        RayEngine().warm()

    wait_until(lambda: threading.active_count() <= before)
