"""What tests of the HTTP API and of the engine stand on."""

from collections.abc import AsyncIterator, Iterator

import pytest
from pydantic import SecretStr

from dataproc.repositories.store import PostgresStore
from dataproc.settings import Settings
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.api_app import Api, started
from tests.local_ray import own_ray
from tests.warehouses import ALWAYS_DIRECT, Query


@pytest.fixture
async def api(postgres_store: PostgresStore) -> AsyncIterator[Api]:
    """Give the API on a real metadata database, and without a warehouse."""
    async with started(postgres_store) as running:
        yield running


@pytest.fixture
def warehouse(warehouse_url: str) -> PostgresWarehouse:
    """Give a prepared warehouse."""
    return PostgresWarehouse(warehouse_url, ALWAYS_DIRECT)


@pytest.fixture
def query(warehouse: PostgresWarehouse) -> Query:
    """Give a look into that warehouse."""
    return Query(warehouse.url)


@pytest.fixture
async def loading_api(postgres_store: PostgresStore, warehouse: PostgresWarehouse) -> AsyncIterator[Api]:
    """Give the API with that warehouse."""
    async with started(postgres_store, Settings(warehouse_url=SecretStr(warehouse.url))) as running:
        yield running


@pytest.fixture(scope="module")
def local_ray(request: pytest.FixtureRequest) -> Iterator[None]:
    """Give a Ray of the module's own, whose workers get the module's code with their tasks."""
    with own_ray(request.module):
        yield
