"""A whole installation for the acceptance tests: real PostgreSQL, real S3 over HTTP, real Ray, the real API."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from tests.acceptance.installation import QUICK, Installation, installed
from tests.conftest import EMPTY, PostgresServers, open_folder

LOADER = sql.Identifier("loader")


@pytest.fixture(scope="package")
def warehouse(postgres_servers: PostgresServers) -> Iterator[tuple[str, str]]:
    """Give the URLs of a warehouse: for its administrator, and for a role that may only make things of its own."""
    with postgres_servers.database(18, EMPTY) as url:
        with psycopg.connect(url, autocommit=True) as conn:
            name = sql.Identifier(conn.info.dbname)
            conn.execute(sql.SQL("CREATE ROLE {} LOGIN").format(LOADER))
            conn.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(name, LOADER))
        yield url, url.replace("postgres@", "loader@")


@pytest.fixture(scope="package")
def installation(postgres_servers: PostgresServers, warehouse: tuple[str, str]) -> Iterator[Installation]:
    """Give a running installation for all acceptance tests.

    It ends with them: idle, it takes a third of a processor.
    """
    admin_url, loader_url = warehouse
    with open_folder() as folder, postgres_servers.database(18, EMPTY) as metadata_url:
        databases = {"metadata_url": SecretStr(metadata_url), "warehouse_url": SecretStr(loader_url)}
        with installed(folder, admin_url=admin_url, **databases, **QUICK) as place:
            yield place
