"""What tests of the HTTP API stand on."""

from collections.abc import AsyncIterator

import pytest

from dataproc.repositories.store import PostgresStore
from tests.api_app import Api, started


@pytest.fixture
async def api(postgres_store: PostgresStore) -> AsyncIterator[Api]:
    """Give the API on a real metadata database, and without a warehouse."""
    async with started(postgres_store) as running:
        yield running
