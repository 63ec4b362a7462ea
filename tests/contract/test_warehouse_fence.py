"""Laws of the fence, for the fake warehouse and the real one: who may publish, and what is known of it afterwards."""

from collections.abc import Callable
from dataclasses import replace
from uuid import uuid4

import psycopg
import pyarrow as pa
import pytest

from dataproc.domain.chunk import Account
from dataproc.domain.errors import CancelledRunError, FencedError, RowRefusedError, TooManyRejectsError
from dataproc.domain.job import JobId
from dataproc.domain.spec import Destination
from dataproc.ports import LoadId, Published, Warehouse
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.fakes import FakeEngine, FakeWarehouse, ListSource, look_away

DESTINATION = Destination(table="analytics.orders")
WAYS = ("direct", "staged")


@pytest.fixture(params=["fake", "postgresql"])
def warehouse(request: pytest.FixtureRequest) -> Warehouse:
    if request.param == "fake":
        return FakeWarehouse()
    real = PostgresWarehouse(request.getfixturevalue("empty_database_url"), direct_limit=1024)
    real.prepare()
    return real


@pytest.fixture
def load_id() -> LoadId:
    return LoadId(JobId(uuid4()), 1, uuid4())


def later(load_id: LoadId) -> LoadId:
    """Return the next epoch of a job."""
    return replace(load_id, epoch=load_id.epoch + 1, run_id=uuid4())


def publish(
    warehouse: Warehouse, load_id: LoadId, way: str = "direct", check: Callable[[Account], None] = look_away
) -> Published:
    """Publish three rows."""
    source, engine = ListSource([[1, 2], [3]]), FakeEngine()
    plan = source.plan()
    destination = Destination.model_validate({"table": DESTINATION.table, "load": way})
    load = warehouse.open(load_id, destination, plan.schema, plan.size)
    with engine.run(plan.units, source.read, (), load.step) as results:
        return load.publish(plan, results, check)


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

    def refuse(_: Account) -> None:
        raise TooManyRejectsError

    with pytest.raises(TooManyRejectsError):
        publish(warehouse, load_id, way, refuse)
    assert warehouse.published(load_id.job_id) is None


def test_what_was_staged_may_be_dropped_once_and_again(warehouse: Warehouse, load_id: LoadId) -> None:
    warehouse.fence(load_id)
    warehouse.open(load_id, DESTINATION.model_copy(update={"load": "staged"}), pa.schema([("id", pa.int64())]), 8)

    warehouse.forbid(load_id.job_id, load_id.epoch)
    warehouse.clean(load_id.job_id, load_id.epoch)
    warehouse.clean(load_id.job_id, load_id.epoch)

    assert warehouse.published(load_id.job_id) is None


def test_the_fake_refuses_a_row_as_the_real_one_does(empty_database_url: str, load_id: LoadId) -> None:
    real = PostgresWarehouse(empty_database_url, direct_limit=1024)
    real.prepare()
    real.fence(load_id)
    publish(real, load_id)
    with psycopg.connect(empty_database_url) as conn:
        conn.execute("ALTER TABLE analytics.orders ADD CHECK (id <> 3) NOT VALID")
    again = replace(load_id, job_id=JobId(uuid4()))
    fake = FakeWarehouse(refused=frozenset({3}))

    for warehouse in (real, fake):
        warehouse.fence(again)
        with pytest.raises(RowRefusedError):
            publish(warehouse, again)
        assert publish(warehouse, again, "staged").account == Account(read=3, loaded=2, rejected=1)
