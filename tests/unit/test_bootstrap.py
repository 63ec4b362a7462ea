"""What the pieces are put together with."""

from typing import Any

import pytest

from dataproc.bootstrap import no_rows_limit
from tests.builders import a_claim, a_job, a_spec
from tests.fakes.store import FakeStore

pytestmark = pytest.mark.anyio

TABLE = {"kind": "database", "connection": "shop", "table": "public.orders"}
FILES = {"kind": "files", "path": "orders/*.csv"}


@pytest.mark.parametrize(
    ("source", "no_rows", "policy"),
    [
        (FILES, "warn", "warn"),
        (FILES, "fail", "fail"),
        (FILES, "allow", "allow"),
        (FILES | {"track": "objects"}, "warn", "allow"),
        (FILES | {"track": "objects"}, "fail", "fail"),
        (TABLE, "warn", "warn"),
        (TABLE | {"incremental": {"cursor": "id"}}, "warn", "allow"),
        (TABLE | {"incremental": {"cursor": "id"}}, "fail", "fail"),
    ],
)
async def test_nobody_is_warned_that_a_source_of_what_is_new_has_nothing_new(
    source: dict[str, Any], no_rows: str, policy: str
) -> None:
    store, claim = FakeStore(), a_claim(spec=a_spec(source=source, no_rows=no_rows))
    async with store.begin() as tables:
        await tables.jobs.add(a_job(id=claim.job_id, spec=claim.spec))

    assert (await no_rows_limit(store, claim)).policy == policy
