"""Laws of the fence, for the fake warehouse and the real one: who may publish, and what is known of it afterwards."""

from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from uuid import uuid4

import psycopg
import pytest

from dataproc.domain.chunk import Account
from dataproc.domain.destination import Destination
from dataproc.domain.errors import CancelledRunError, FencedError, RowRefusedError, TooManyRejectsError
from dataproc.domain.job import JobId
from dataproc.domain.tally import Totals
from dataproc.ports.warehouse import Load, LoadId, Published, UnitAccount, Warehouse
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.fakes.pipeline import FakeEngine, ListSource, look_away
from tests.fakes.warehouse import FakeWarehouse

DIRECT = Destination(table="analytics.orders", load="direct")
STAGED = Destination(table="analytics.orders", load="staged")
WAYS = ("direct", "staged")


@pytest.fixture(params=["fake", "postgresql"])
def warehouse(request: pytest.FixtureRequest) -> Warehouse:
    if request.param == "fake":
        return FakeWarehouse()
    return PostgresWarehouse(request.getfixturevalue("warehouse_url"), direct_limit=1024)


@pytest.fixture
def load_id() -> LoadId:
    return LoadId(JobId(uuid4()), 1, uuid4())


def later(load_id: LoadId) -> LoadId:
    """Return the next epoch of a job."""
    return replace(load_id, epoch=load_id.epoch + 1, run_id=uuid4())


def publish(
    warehouse: Warehouse, load_id: LoadId, way: str = "direct", check: Callable[[Totals], None] = look_away
) -> Published:
    """Publish three rows."""
    source = ListSource([[1, 2], [3]])
    return load_all(warehouse, load_id, source, STAGED if way == "staged" else DIRECT, check)


def load_all(
    warehouse: Warehouse,
    load_id: LoadId,
    source: ListSource,
    destination: Destination,
    check: Callable[[Totals], None] = look_away,
) -> Published:
    """Publish all rows of a source, those staged before without reading them again."""
    plan = source.plan()
    load = warehouse.open(load_id, destination, plan.schema, plan)
    staged = {chunk.unit for chunk in load.staged_before}
    left = [unit for unit in plan.units if unit.id not in staged]
    with FakeEngine().run(left, source.read, (), load.step) as results:
        return load.publish(plan, chain(load.staged_before, results), check)


def test_nothing_is_published_of_a_job_that_never_ran(warehouse: Warehouse, load_id: LoadId) -> None:
    assert warehouse.published(load_id.job_id) is None
    assert warehouse.fence(load_id) is None


@pytest.mark.parametrize("way", WAYS)
def test_what_was_published_is_known_to_everybody_who_asks(warehouse: Warehouse, load_id: LoadId, way: str) -> None:
    warehouse.fence(load_id)

    published = publish(warehouse, load_id, way)

    assert published == Published("analytics.orders", Account(read=3, loaded=3), way)
    assert warehouse.published(load_id.job_id) == published
    assert warehouse.fence(later(load_id)) == published
    assert warehouse.forbid(load_id.job_id, load_id.epoch + 1) == published


def test_the_same_epoch_may_raise_its_fence_again(warehouse: Warehouse, load_id: LoadId) -> None:
    warehouse.fence(load_id)

    assert warehouse.fence(load_id) is None


@pytest.mark.parametrize("way", WAYS)
def test_an_overtaken_epoch_neither_begins_nor_publishes(warehouse: Warehouse, load_id: LoadId, way: str) -> None:
    warehouse.fence(load_id)
    warehouse.fence(later(load_id))

    with pytest.raises(FencedError):
        publish(warehouse, load_id, way)
    with pytest.raises(FencedError):
        warehouse.fence(load_id)
    assert warehouse.published(load_id.job_id) is None


@pytest.mark.parametrize("way", WAYS)
def test_a_forbidden_epoch_neither_begins_nor_publishes(warehouse: Warehouse, load_id: LoadId, way: str) -> None:
    warehouse.fence(load_id)

    assert warehouse.forbid(load_id.job_id, load_id.epoch) is None

    with pytest.raises(CancelledRunError):
        publish(warehouse, load_id, way)
    with pytest.raises(FencedError):
        warehouse.fence(load_id)
    assert warehouse.published(load_id.job_id) is None


def test_an_epoch_that_was_forbidden_before_it_began_does_not_begin(warehouse: Warehouse, load_id: LoadId) -> None:
    warehouse.forbid(load_id.job_id, load_id.epoch)

    with pytest.raises(FencedError):
        warehouse.fence(load_id)


def test_a_later_epoch_is_not_hindered_by_what_was_forbidden_before(warehouse: Warehouse, load_id: LoadId) -> None:
    warehouse.forbid(load_id.job_id, load_id.epoch)

    warehouse.fence(later(load_id))

    assert publish(warehouse, later(load_id)).account.loaded == 3


def test_forbidding_an_epoch_that_is_over_does_not_hinder_the_present_one(
    warehouse: Warehouse, load_id: LoadId
) -> None:
    warehouse.fence(later(load_id))

    warehouse.forbid(load_id.job_id, load_id.epoch)

    assert warehouse.fence(later(load_id)) is None
    assert publish(warehouse, later(load_id)).account.loaded == 3


def test_the_fence_of_one_job_is_not_that_of_another(warehouse: Warehouse, load_id: LoadId) -> None:
    other = replace(load_id, job_id=JobId(uuid4()))
    warehouse.fence(other)

    warehouse.forbid(load_id.job_id, 99)

    assert publish(warehouse, other).account.loaded == 3


@pytest.mark.parametrize("way", WAYS)
def test_totals_that_are_refused_publish_nothing(warehouse: Warehouse, load_id: LoadId, way: str) -> None:
    warehouse.fence(load_id)

    def refuse(_: Totals) -> None:
        raise TooManyRejectsError

    with pytest.raises(TooManyRejectsError):
        publish(warehouse, load_id, way, refuse)
    assert warehouse.published(load_id.job_id) is None


def test_what_was_staged_may_be_dropped_once_and_again(warehouse: Warehouse, load_id: LoadId) -> None:
    warehouse.fence(load_id)
    plan = ListSource([[1]]).plan()
    warehouse.open(load_id, STAGED, plan.schema, plan)

    warehouse.forbid(load_id.job_id, load_id.epoch)
    warehouse.clean(load_id.job_id, load_id.epoch)
    warehouse.clean(load_id.job_id, load_id.epoch)

    assert warehouse.published(load_id.job_id) is None


def stage(warehouse: Warehouse, load_id: LoadId, ids: list[list[int]], *, units: int) -> Load:
    """Begin a staged load, and stage its first `units`."""
    source = ListSource(ids)
    plan = source.plan()
    load = warehouse.open(load_id, STAGED, plan.schema, plan)
    with FakeEngine().run(plan.units[:units], source.read, (), load.step) as results:
        assert len(list(results)) == units
    return load


def test_a_later_epoch_goes_on_with_what_was_staged(warehouse: Warehouse, load_id: LoadId) -> None:
    read: list[str] = []
    warehouse.fence(load_id)
    stage(warehouse, load_id, [[1, 2], [3], [4]], units=2)

    warehouse.fence(later(load_id))
    source = ListSource([[1, 2], [3], [4]], on_read=lambda unit: read.append(unit.id))
    published = load_all(warehouse, later(load_id), source, STAGED)

    assert (published.account, read) == (Account(read=4, loaded=4), ["u2"])
    assert warehouse.staged() == []


def test_another_plan_begins_anew(warehouse: Warehouse, load_id: LoadId) -> None:
    warehouse.fence(load_id)
    stage(warehouse, load_id, [[1, 2], [3]], units=2)

    warehouse.fence(later(load_id))
    load = stage(warehouse, later(load_id), [[1, 2], [3], [4]], units=0)

    assert load.staged_before == ()


def test_a_direct_load_drops_what_was_staged(warehouse: Warehouse, load_id: LoadId) -> None:
    warehouse.fence(load_id)
    stage(warehouse, load_id, [[1, 2], [3]], units=2)

    warehouse.fence(later(load_id))

    assert publish(warehouse, later(load_id)).account == Account(read=3, loaded=3)
    assert warehouse.staged() == []


def test_an_epoch_whose_staging_was_taken_over_can_stage_no_more(warehouse: Warehouse, load_id: LoadId) -> None:
    warehouse.fence(load_id)
    zombie = stage(warehouse, load_id, [[1, 2], [3]], units=1)
    warehouse.fence(later(load_id))
    stage(warehouse, later(load_id), [[1, 2], [3]], units=0)
    source = ListSource([[1, 2], [3]])

    with pytest.raises(FencedError), FakeEngine().run(source.plan().units, source.read, (), zombie.step) as results:
        list(results)


def test_what_is_staged_is_known_until_it_is_dropped(warehouse: Warehouse, load_id: LoadId) -> None:
    warehouse.fence(load_id)
    stage(warehouse, load_id, [[1]], units=1)
    assert warehouse.staged() == [load_id.job_id]

    warehouse.clean(load_id.job_id, load_id.epoch)

    assert warehouse.staged() == []


def test_an_overtaken_epoch_stages_nothing(warehouse: Warehouse, load_id: LoadId) -> None:
    warehouse.fence(load_id)
    warehouse.fence(later(load_id))
    plan = ListSource([[1]]).plan()

    with pytest.raises(FencedError):
        warehouse.open(load_id, STAGED, plan.schema, plan)
    assert warehouse.staged() == []


@pytest.mark.parametrize("way", WAYS)
def test_every_row_of_every_unit_is_accounted_for(warehouse: Warehouse, load_id: LoadId, way: str) -> None:
    assert warehouse.reconciliation(load_id.job_id) is None
    warehouse.fence(load_id)

    publish(warehouse, load_id, way)

    found = warehouse.reconciliation(load_id.job_id)
    assert found is not None
    assert (found.target, found.way, found.account, found.announced) == ("analytics.orders", way, Account(3, 3), 3)
    assert found.units == (UnitAccount("u0", 2, Account(2, 2)), UnitAccount("u1", 1, Account(1, 1)))
    assert found.published_at.tzinfo is not None


def test_the_fake_refuses_a_row_as_the_real_one_does(warehouse_url: str, load_id: LoadId) -> None:
    real = PostgresWarehouse(warehouse_url, direct_limit=1024)
    real.fence(load_id)
    publish(real, load_id)
    with psycopg.connect(warehouse_url) as conn:
        conn.execute("ALTER TABLE analytics.orders ADD CHECK (id <> 3) NOT VALID")
    again = replace(load_id, job_id=JobId(uuid4()))
    fake = FakeWarehouse(refused=frozenset({3}))

    for warehouse in (real, fake):
        warehouse.fence(again)
        with pytest.raises(RowRefusedError):
            publish(warehouse, again)
        assert publish(warehouse, again, "staged").account == Account(read=3, loaded=2, rejected=1)
