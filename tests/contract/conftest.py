"""What the tests of the warehouse stand on."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.warehouses import ALWAYS_DIRECT, Query, as_role


@pytest.fixture
def warehouse(warehouse_url: str) -> PostgresWarehouse:
    """Give a prepared warehouse."""
    return PostgresWarehouse(warehouse_url, ALWAYS_DIRECT)


@pytest.fixture
def query(warehouse: PostgresWarehouse) -> Query:
    """Give a look into the prepared warehouse."""
    return Query(warehouse.url)


@pytest.fixture
def role() -> str:
    """Give the name of a role that no other test uses: roles are shared by all databases of a server."""
    return f"loader_{uuid4().hex[:12]}"


@pytest.fixture
def plain_role(warehouse: PostgresWarehouse, query: Query, role: str) -> Iterator[PostgresWarehouse]:
    """Give the warehouse as a plain role sees it."""
    yield as_role(warehouse, role)
    query(f"DROP OWNED BY {role}")
    query(f"DROP ROLE {role}")


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Give threads that are waited for in the end."""
    with ThreadPoolExecutor() as pool:
        yield pool
