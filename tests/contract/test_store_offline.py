"""What the real store does without a server."""

import pytest

from dataproc.domain.errors import MetadataUnavailableError, SetupError
from dataproc.repositories.audit import CHAINS, chain_of
from dataproc.repositories.engine import driver_url
from dataproc.repositories.store import PostgresStore
from dataproc.settings import Settings


@pytest.mark.anyio
async def test_a_server_that_is_not_there_is_unavailable() -> None:
    store = PostgresStore.open("postgresql://nobody@/dataproc?host=/nonexistent", Settings())

    with pytest.raises(MetadataUnavailableError):
        await store.check()
    await store.close()


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_spelling_of_a_postgresql_url_is_known(scheme: str) -> None:
    url = driver_url(f"{scheme}://ann@/jobs?host=/run/postgresql")

    assert (url.drivername, url.database, url.query["host"]) == ("postgresql+psycopg", "jobs", "/run/postgresql")


@pytest.mark.parametrize("wrong", ["mysql://ann:hush@host/jobs", "hush"])
def test_another_url_is_refused_without_telling_its_password(wrong: str) -> None:
    with pytest.raises(SetupError, match="DATAPROC_METADATA_URL") as refused:
        driver_url(wrong)

    assert "hush" not in str(refused.value)


def test_subjects_spread_over_the_chains() -> None:
    assert {chain_of(f"job-{number}") for number in range(200)} == set(range(CHAINS))
