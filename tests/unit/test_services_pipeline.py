"""The pipeline: which way it goes, what it refuses, and when it stops."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from uuid import uuid4

import pyarrow as pa
import pytest
from typing_extensions import override

from dataproc.domain.chunk import Account, Chunk
from dataproc.domain.destination import Destination
from dataproc.domain.errors import (
    CancelledRunError,
    ContractViolationError,
    FencedError,
    RowRefusedError,
    SourceUnavailableError,
    TooManyRejectsError,
)
from dataproc.domain.job import JobId
from dataproc.domain.status import RunStatus
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.ports.memory import BLANK, Memory
from dataproc.ports.pipeline import Transform
from dataproc.ports.warehouse import LoadId, Published
from dataproc.services.limits import Limit, NoRowsLimit, RejectLimit
from dataproc.services.monitor import Monitor
from dataproc.services.pipeline import Pipeline
from tests.fakes.pipeline import FakeEngine, ListSource
from tests.fakes.warehouse import FakeWarehouse

TABLE = "analytics.orders"
STAGED = Destination(table=TABLE, load="staged")


@dataclass(slots=True)
class Setting:
    """A pipeline of two units, and all that it stands on."""

    source: ListSource = field(default_factory=lambda: ListSource([[1, 2, 3], [4, 5]]))
    destination: Destination = field(default_factory=lambda: Destination(table=TABLE))
    limits: tuple[Limit, ...] = ()
    engine: FakeEngine = field(default_factory=FakeEngine)
    warehouse: FakeWarehouse = field(default_factory=FakeWarehouse)
    monitor: Monitor = field(default_factory=Monitor)
    load_id: LoadId = field(default_factory=lambda: LoadId(JobId(uuid4()), 1, uuid4()))

    def run(self) -> Published:
        pipeline = Pipeline(self.source, (), self.destination, self.limits, self.engine, self.warehouse)
        return pipeline.run(self.load_id, self.monitor)


def test_every_row_of_every_unit_is_published_once() -> None:
    setting = Setting()

    published = setting.run()

    assert setting.warehouse.opened == [(("id",), 40)]
    assert setting.warehouse.rows == {TABLE: [1, 2, 3, 4, 5]}
    assert published == Published(TABLE, Account(read=5, loaded=5), "direct")
    assert setting.engine.running == 0


@dataclass(frozen=True, slots=True)
class ColumnSource(ListSource):
    """A source that also offers its rows as they are; `asked` sees how each unit is wanted."""

    asked: list[bool] = field(default_factory=list)

    @override
    def plan(self, memory: Memory = BLANK) -> SourcePlan:
        return replace(ListSource.plan(self, memory), wire=(("id", "bigint"),))

    @override
    def read(self, unit: Unit) -> Iterator[Chunk]:
        self.asked.append(unit.as_is)
        ids = self.ids[int(unit.id.removeprefix("u"))]
        if not unit.as_is:
            return ListSource.read(self, unit)
        return iter([Chunk(unit.id, 0, last=True, read=len(ids), rows=pa.table({}), wire=json.dumps(ids).encode())])


@dataclass(frozen=True, slots=True)
class Same:
    """A transform that changes nothing, but looks at every row."""

    def schema(self, before: pa.Schema) -> pa.Schema:
        return before

    def apply(self, chunk: Chunk) -> Chunk:
        return chunk


@pytest.mark.parametrize(
    ("transforms", "load", "as_is"), [((), "direct", True), ((Same(),), "direct", False), ((), "staged", False)]
)
def test_rows_travel_as_they_are_where_nobody_looks_at_them(
    transforms: tuple[Transform, ...], load: str, *, as_is: bool
) -> None:
    source, warehouse = ColumnSource([[1, 2], [3]]), FakeWarehouse()
    destination = Destination.model_validate({"table": TABLE, "load": load})
    pipeline = Pipeline(source, transforms, destination, (), FakeEngine(), warehouse)

    published = pipeline.run(LoadId(JobId(uuid4()), 1, uuid4()), Monitor())

    assert source.asked == [as_is, as_is]
    assert warehouse.rows == {TABLE: [1, 2, 3]}
    assert published.account == Account(read=3, loaded=3)


def test_the_row_that_a_load_of_rows_as_they_are_refuses_is_found_among_rows_of_arrow() -> None:
    source = ColumnSource([[1, 2], [3]])
    warehouse = FakeWarehouse(refused=frozenset({2}))
    pipeline = Pipeline(source, (), Destination(table=TABLE), (), FakeEngine(), warehouse)

    published = pipeline.run(LoadId(JobId(uuid4()), 1, uuid4()), Monitor())

    assert source.asked[-2:] == [False, False]
    assert published == Published(TABLE, Account(read=3, loaded=2, rejected=1), "staged")


def test_the_monitor_sees_what_was_planned_and_what_is_done() -> None:
    setting = Setting()

    setting.run()

    progress = setting.monitor.progress
    assert setting.monitor.status is RunStatus.LOADING
    assert (progress.units_planned, progress.units_done, progress.rows_announced) == (2, 2, 5)
    assert (progress.rows_read, progress.rows_loaded, progress.bytes_planned, progress.load) == (5, 5, 40, "direct")


def test_what_the_ledger_has_already_is_not_loaded_again() -> None:
    setting = Setting()
    first = setting.run()

    setting.load_id = replace(setting.load_id, epoch=2)
    setting.source = ListSource([], on_read=lambda _: pytest.fail("the source was read again"))

    assert setting.run() == first
    assert setting.warehouse.rows == {TABLE: [1, 2, 3, 4, 5]}


def test_an_epoch_that_was_overtaken_does_not_begin() -> None:
    setting = Setting()
    setting.warehouse.fence(replace(setting.load_id, epoch=2))

    with pytest.raises(FencedError):
        setting.run()
    assert setting.monitor.progress.units_planned == 0


@pytest.mark.parametrize("load", ["auto", "direct"])
def test_a_row_that_the_direct_way_refuses_sends_the_load_the_staged_way(load: str) -> None:
    destination = Destination.model_validate({"table": TABLE, "load": load})
    setting = Setting(destination=destination, warehouse=FakeWarehouse(refused=frozenset({3})))

    published = setting.run()

    assert published == Published(TABLE, Account(read=5, loaded=4, rejected=1), "staged")
    assert setting.warehouse.rows == {TABLE: [1, 2, 4, 5]}
    assert setting.monitor.progress.rows_rejected == 1
    assert setting.engine.running == 0


def test_a_row_refused_on_the_staged_way_ends_the_run() -> None:
    reads: list[str] = []

    def refuse(unit: Unit) -> None:
        reads.append(unit.id)
        raise RowRefusedError

    setting = Setting(source=ListSource([[1]], on_read=refuse), destination=Destination(table=TABLE, load="staged"))

    with pytest.raises(RowRefusedError):
        setting.run()
    assert reads == ["u0"]


def test_too_many_rejects_publish_nothing() -> None:
    setting = Setting(limits=(RejectLimit(0),), warehouse=FakeWarehouse(refused=frozenset({3})))

    with pytest.raises(TooManyRejectsError, match=r"1 of 5 rows were set aside.*; max_rejects allows 0: nothing was"):
        setting.run()
    assert setting.warehouse.rows == {}
    assert setting.warehouse.ledger == {}


def test_a_pipeline_that_is_told_to_stop_ends_before_the_next_chunk_and_publishes_nothing() -> None:
    setting = Setting()
    read: list[str] = []

    def stop_at_the_first(unit: Unit) -> None:
        read.append(unit.id)
        setting.monitor.stop(CancelledRunError())

    setting.source = replace(setting.source, on_read=stop_at_the_first)

    with pytest.raises(CancelledRunError):
        setting.run()
    assert read == ["u0"]
    assert setting.warehouse.rows == {}
    assert setting.engine.running == 0


def test_a_pipeline_stopped_after_its_last_chunk_publishes_nothing() -> None:
    setting = Setting(source=ListSource([[1]]))
    setting.source = replace(setting.source, on_read=lambda _: setting.monitor.stop(CancelledRunError()))

    with pytest.raises(CancelledRunError):
        setting.run()
    assert setting.warehouse.ledger == {}


def test_a_pipeline_stopped_before_it_began_reads_nothing() -> None:
    setting = Setting(source=ListSource([[1]], on_read=lambda _: pytest.fail("it was read")))
    setting.monitor.stop(CancelledRunError())

    with pytest.raises(CancelledRunError):
        setting.run()


def test_the_first_reason_to_stop_stays() -> None:
    monitor = Monitor()

    monitor.stop(CancelledRunError())
    monitor.stop(SourceUnavailableError())

    with pytest.raises(CancelledRunError):
        monitor.check()


def test_units_that_an_earlier_run_has_staged_are_not_read_again() -> None:
    setting = Setting(source=ListSource([[1], [2], [3]], on_read=fail_at("u2")), destination=STAGED)
    with pytest.raises(SourceUnavailableError):
        setting.run()

    read: list[str] = []
    setting.source = ListSource([[1], [2], [3]], on_read=lambda unit: read.append(unit.id))
    setting.load_id = replace(setting.load_id, epoch=2)
    published = setting.run()

    assert (read, published.account) == (["u2"], Account(3, 3))
    assert setting.warehouse.rows == {TABLE: [1, 2, 3]}
    progress = setting.monitor.progress
    assert (progress.units_planned, progress.units_resumed, progress.units_done, progress.rows_read) == (3, 2, 3, 3)


def fail_at(name: str) -> Callable[[Unit], None]:
    """Return what fails the read of one unit."""

    def fail(unit: Unit) -> None:
        if unit.id == name:
            raise SourceUnavailableError

    return fail


def test_a_warning_stays_with_the_progress_of_the_run() -> None:
    setting = Setting(source=ListSource([[]]), limits=(NoRowsLimit("warn", 7),))

    assert setting.run().account == Account()

    [warning] = setting.monitor.progress.warnings
    assert "7 did the last time" in warning


def test_what_a_plan_notes_is_a_warning_of_the_run() -> None:
    @dataclass(frozen=True, slots=True)
    class Noting(ListSource):
        def plan(self, memory: Memory = BLANK) -> SourcePlan:
            return replace(ListSource.plan(self, memory), notes=("there is more",))

    setting = Setting(source=Noting([[1]]))

    setting.run()

    assert setting.monitor.progress.warnings == ("there is more",)


def test_what_units_need_is_held_until_the_run_is_over() -> None:
    held: list[str] = []

    @contextmanager
    def hold() -> Iterator[None]:
        held.append("taken")
        try:
            yield
        finally:
            held.append("given back")

    @dataclass(frozen=True, slots=True)
    class Holding(ListSource):
        def plan(self, memory: Memory = BLANK) -> SourcePlan:
            return replace(ListSource.plan(self, memory), hold=hold())

    setting = Setting(source=Holding([[1]], on_read=lambda _: held.append("read")))

    setting.run()

    assert held == ["taken", "read", "given back"]


def test_a_plan_without_units_asks_nothing_of_the_transforms_and_is_published() -> None:
    class Demanding:
        def schema(self, before: pa.Schema) -> pa.Schema:
            raise ContractViolationError(f"there is no column amount, only {before.names}")

        def apply(self, chunk: Chunk) -> Chunk:
            return chunk

    setting = Setting(source=ListSource([]))
    pipeline = Pipeline(setting.source, (Demanding(),), setting.destination, (), setting.engine, setting.warehouse)

    assert pipeline.run(setting.load_id, setting.monitor) == Published(TABLE, Account(), "direct")
    with pytest.raises(ContractViolationError):
        replace(pipeline, source=ListSource([[1]])).run(replace(setting.load_id, job_id=JobId(uuid4())), Monitor())


def test_rows_that_are_set_aside_are_warned_of() -> None:
    setting = Setting(warehouse=FakeWarehouse(refused=frozenset({3})))

    assert setting.run().account.rejected == 1

    assert setting.monitor.progress.warnings == ("1 of 5 rows were set aside; `dataproc jobs rejects` lists them",)
