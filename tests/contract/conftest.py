"""What the tests of the warehouse stand on."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.warehouses import ALWAYS_DIRECT, Query


@pytest.fixture
def warehouse(empty_database_url: str) -> PostgresWarehouse:
    """Give a prepared warehouse."""
    warehouse = PostgresWarehouse(empty_database_url, ALWAYS_DIRECT)
    warehouse.prepare()
    return warehouse


@pytest.fixture
def query(empty_database_url: str, warehouse: PostgresWarehouse) -> Query:
    """Give a look into the prepared warehouse."""
    return Query(empty_database_url)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Give threads that are waited for in the end."""
    with ThreadPoolExecutor() as pool:
        yield pool
