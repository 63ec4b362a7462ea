"""What the tests of the warehouse stand on."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.warehouses import ALWAYS_DIRECT, Query


@pytest.fixture
def warehouse(warehouse_url: str) -> PostgresWarehouse:
    """Give a prepared warehouse."""
    return PostgresWarehouse(warehouse_url, ALWAYS_DIRECT)


@pytest.fixture
def query(warehouse: PostgresWarehouse) -> Query:
    """Give a look into the prepared warehouse."""
    return Query(warehouse.url)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Give threads that are waited for in the end."""
    with ThreadPoolExecutor() as pool:
        yield pool
