"""Laws of a job's memory of its source, for the fake warehouse and the real one."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from uuid import uuid4

import pytest

from dataproc.domain.chunk import Chunk, Piece, no_rejects, number, with_positions
from dataproc.domain.destination import Destination
from dataproc.domain.errors import ContractViolationError, MemoryChangedError, SourceUnavailableError
from dataproc.domain.job import JobId
from dataproc.domain.memory import CursorMove, SourceObject, Window
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.ports.memory import BLANK, Memory
from dataproc.ports.warehouse import LoadId, Published, Warehouse
from dataproc.services.monitor import Monitor
from dataproc.services.pipeline import Pipeline
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.fakes.pipeline import ID, FakeEngine, look_away
from tests.fakes.warehouse import FakeWarehouse
from tests.warehouses import rows_of_ids

TABLE = "analytics.orders"
NAME = "orders-hourly"
WAYS = ("direct", "staged")


@dataclass(frozen=True, slots=True)
class Feed:
    """A stream of ids in pages of two, of which only those beyond the watermark are read."""

    ids: Sequence[int]
    cursor: str = "id"
    knows_the_end: bool = False
    on_page: Callable[[int], None] = look_away
    on_planned: Callable[[CursorMove], None] = look_away

    def plan(self, memory: Memory = BLANK) -> SourcePlan:
        before = memory.watermark(self.cursor)
        after = str(max(self.ids)) if self.knows_the_end else None
        move = CursorMove(self.cursor, "number", before, after)
        self.on_planned(move)
        return SourcePlan((Unit("feed", "feed", "1", 8, detail=before),), ID, move=move, streams=True)

    def read(self, unit: Unit) -> Iterator[Chunk]:
        begun = unit.begun
        pages = self.pages(unit, int(begun.mark) if begun else 0)
        return number(unit.id, ID, pages, first=begun.seq if begun else 0)

    def pages(self, unit: Unit, start: int) -> Iterator[Piece]:
        beyond = -1 if unit.detail is None else int(str(unit.detail))
        for at in range(start, len(self.ids), 2):
            self.on_page(at)
            page = self.ids[at : at + 2]
            new = [one for one in page if one > beyond]
            rows = with_positions(rows_of_ids(new), at)
            high = str(max(page))
            yield Piece(rows, no_rejects(), str(at + 2), high, filtered=len(page) - len(new))


@dataclass(frozen=True, slots=True)
class Folder:
    """Objects of one row each, of which only those that are new are read."""

    objects: Sequence[SourceObject]

    def plan(self, memory: Memory = BLANK) -> SourcePlan:
        new = tuple(memory.unloaded(self.objects))
        return SourcePlan(tuple(Unit(f"{o.uri}@{o.version}", o.uri, o.version, 8) for o in new), ID, objects=new)

    def read(self, unit: Unit) -> Iterator[Chunk]:
        rows = rows_of_ids([int(unit.version)])
        return number(unit.id, ID, [(with_positions(rows, 0), no_rejects())])


@pytest.fixture(params=["fake", "postgresql"])
def warehouse(request: pytest.FixtureRequest) -> Warehouse:
    if request.param == "fake":
        return FakeWarehouse()
    return PostgresWarehouse(request.getfixturevalue("warehouse_url"), direct_limit=1024)


def a_load(name: str = NAME) -> LoadId:
    return LoadId(JobId(uuid4()), 1, uuid4(), name)


def run(
    warehouse: Warehouse, source: Feed | Folder, way: str = "auto", load_id: LoadId | None = None, table: str = TABLE
) -> Published:
    destination = Destination.model_validate({"table": table, "load": way})
    pipeline = Pipeline(source, (), destination, (), FakeEngine(), warehouse)
    return pipeline.run(load_id or a_load(), Monitor())


@pytest.mark.parametrize("knows_the_end", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_a_later_run_loads_only_what_came_since(warehouse: Warehouse, way: str, *, knows_the_end: bool) -> None:
    first = run(warehouse, Feed(range(1, 6), knows_the_end=knows_the_end), way)
    second = run(warehouse, Feed(range(1, 9), knows_the_end=knows_the_end), way)
    third = run(warehouse, Feed(range(1, 9), knows_the_end=knows_the_end), way)

    assert [one.account.loaded for one in (first, second, third)] == [5, 3, 0]
    assert (second.account.read, second.account.filtered) == (8, 5)
    assert warehouse.memory(NAME, TABLE).watermark("id") == "8"


def test_a_load_tells_which_rows_it_has_read(warehouse: Warehouse) -> None:
    first, second, other = a_load(), a_load(), a_load("files")
    run(warehouse, Feed(range(1, 6)), load_id=first)
    run(warehouse, Feed(range(1, 9)), load_id=second)
    run(warehouse, Folder([SourceObject("s3://lake/1", "1", 8)]), load_id=other)

    told = [warehouse.reconciliation(load.job_id) for load in (first, second, other)]

    assert [one and one.window for one in told] == [Window("id", None, "5"), Window("id", "5", "8"), None]


def test_a_run_without_rows_leaves_the_watermark_where_it_was(warehouse: Warehouse) -> None:
    run(warehouse, Feed([7]))
    run(warehouse, Feed([]))

    assert warehouse.memory(NAME, TABLE).watermark("id") == "7"


def test_a_watermark_never_moves_back(warehouse: Warehouse) -> None:
    run(warehouse, Feed([10]))
    run(warehouse, Feed([9, 2]))

    assert warehouse.memory(NAME, TABLE).watermark("id") == "10"


def test_a_memory_is_that_of_one_job_and_one_target(warehouse: Warehouse) -> None:
    run(warehouse, Feed([1, 2]))

    assert run(warehouse, Feed([1, 2]), load_id=a_load("orders-again")).account.loaded == 2
    assert run(warehouse, Feed([1, 2]), table="analytics.copies").account.loaded == 2
    assert run(warehouse, Feed([1, 2])).account.loaded == 0


def test_a_watermark_of_another_cursor_is_refused_by_its_name(warehouse: Warehouse) -> None:
    run(warehouse, Feed([1, 2]))

    with pytest.raises(ContractViolationError):
        run(warehouse, Feed([1, 2], cursor="changed_at"))


@pytest.mark.parametrize("way", WAYS)
def test_of_two_runs_that_were_planned_from_the_same_watermark_one_is_published(warehouse: Warehouse, way: str) -> None:
    def overtake(_: CursorMove) -> None:
        run(warehouse, Feed(range(1, 6)), way)

    run(warehouse, Feed([1]))
    with pytest.raises(MemoryChangedError):
        run(warehouse, Feed(range(1, 6), on_planned=overtake), way)

    assert run(warehouse, Feed(range(1, 8)), way).account.loaded == 2


def test_a_failed_run_remembers_nothing(warehouse: Warehouse) -> None:
    def fail(at: int) -> None:
        if at == 2:
            raise SourceUnavailableError

    with pytest.raises(SourceUnavailableError):
        run(warehouse, Feed(range(1, 6), on_page=fail))

    assert warehouse.memory(NAME, TABLE).watermark("id") is None
    assert run(warehouse, Feed(range(1, 6))).account.loaded == 5


def test_a_stream_is_read_on_after_the_last_page_that_was_staged(warehouse: Warehouse) -> None:
    pages: list[int] = []

    def fail_at_the_third(at: int) -> None:
        pages.append(at)
        if pages.count(at) == 1 and at == 4:
            raise SourceUnavailableError

    feed, load_id = Feed(range(1, 10), on_page=fail_at_the_third), a_load()
    with pytest.raises(SourceUnavailableError):
        run(warehouse, feed, load_id=load_id)

    again = run(warehouse, feed, load_id=replace(load_id, epoch=2, run_id=uuid4()))

    # A chunk is given when its successor is there, so page 2 was read and not staged.
    assert pages == [0, 2, 4, 2, 4, 6, 8]
    assert (again.account.read, again.account.loaded, again.way) == (9, 9, "staged")
    assert warehouse.memory(NAME, TABLE).watermark("id") == "9"


@pytest.mark.parametrize("load", ["auto", "staged"])
def test_an_object_is_loaded_once_in_each_version(warehouse: Warehouse, load: str) -> None:
    one, two = SourceObject("s3://lake/1", "1", 8), SourceObject("s3://lake/2", "2", 8)
    again = replace(one, version="3")

    counts = [
        run(warehouse, Folder(found), load).account.loaded for found in ([one], [one, two], [again, two], [again])
    ]

    assert counts == [1, 1, 1, 0]


def test_a_run_that_finds_nothing_new_is_published_without_rows(warehouse: Warehouse) -> None:
    one = SourceObject("s3://lake/1", "1", 8)
    run(warehouse, Folder([one]))

    published = run(warehouse, Folder([one]))

    assert (published.account.read, published.way) == (0, "direct")
    assert warehouse.memory(NAME, TABLE).has_objects()


def test_a_job_that_never_loaded_an_object_has_none(warehouse: Warehouse) -> None:
    run(warehouse, Feed([1]))

    assert not warehouse.memory(NAME, TABLE).has_objects()


def test_of_two_runs_with_the_same_objects_one_is_published(warehouse: Warehouse) -> None:
    folder = Folder([SourceObject(f"s3://lake/{n}", f"{n}", 8) for n in range(3)])
    memory = warehouse.memory(NAME, TABLE)
    stale = folder.plan(memory)
    run(warehouse, folder)

    load_id = a_load()
    warehouse.fence(load_id)
    load = warehouse.open(load_id, Destination(table=TABLE), stale.schema, stale)
    with pytest.raises(MemoryChangedError), FakeEngine().run(stale.units, folder.read, (), load.step) as results:
        load.publish(stale, results, look_away)

    assert list(memory.unloaded(folder.objects)) == []


def test_many_objects_are_asked_for_in_batches_and_come_in_order(warehouse: Warehouse) -> None:
    objects = [SourceObject(f"s3://lake/{n:06}", f"{n}", 8) for n in range(25_000)]
    run(warehouse, Folder(objects[100:103]))

    assert list(warehouse.memory(NAME, TABLE).unloaded(iter(objects))) == [*objects[:100], *objects[103:]]
