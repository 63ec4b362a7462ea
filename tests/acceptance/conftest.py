"""A whole installation for the acceptance tests: real PostgreSQL, real S3 over HTTP, real Ray, the real API."""

import os
from collections.abc import Iterator
from datetime import timedelta

import httpx2
import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from dataproc.cli.stack import running
from dataproc.embedded.ray_head import free_port
from dataproc.embedded.s3_server import ACCESS, S3Server
from dataproc.settings import Settings
from tests.acceptance.installation import Installation
from tests.conftest import PostgresServers, open_folder

LOADER = sql.Identifier("loader")


@pytest.fixture(scope="session")
def warehouse(postgres_servers: PostgresServers) -> Iterator[tuple[str, str]]:
    """Give the URLs of a warehouse: for its administrator, and for a role that may only make things of its own."""
    with postgres_servers.database(18, "template0") as url:
        with psycopg.connect(url, autocommit=True) as conn:
            name = sql.Identifier(conn.info.dbname)
            conn.execute(sql.SQL("CREATE ROLE {} LOGIN").format(LOADER))
            conn.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(name, LOADER))
        yield url, url.replace("postgres@", "loader@")


@pytest.fixture(scope="session")
def installation(postgres_servers: PostgresServers, warehouse: tuple[str, str]) -> Iterator[Installation]:
    """Give a running installation; it lasts for all acceptance tests."""
    admin_url, loader_url = warehouse
    os.environ.update(ACCESS)
    with open_folder() as folder, postgres_servers.database(18, "template0") as metadata_url, S3Server(folder) as s3:
        settings = Settings(
            metadata_url=SecretStr(metadata_url),
            warehouse_url=SecretStr(loader_url),
            data_dir=folder,
            files_root=folder,
            http_port=free_port(8000),
            lease=timedelta(seconds=6),
            heartbeat=timedelta(milliseconds=300),
        )
        with (
            running(settings, lambda _: None) as stack,
            httpx2.Client(base_url=stack.api_url, timeout=60, trust_env=False) as api,
        ):
            place = Installation(api, s3, stack, admin_url, folder)
            place.register_lake()
            yield place
