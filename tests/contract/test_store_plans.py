"""The queue's statements stay cheap however many jobs there are."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import TextClause, text

from dataproc.domain.job import JobId
from dataproc.ports.queue import RunningLimits
from dataproc.repositories.claims import CLAIM_FIRST, MAY_CLAIM, Claiming
from dataproc.repositories.jobs import DEPTH, EXECUTIONS, MOST_COUNTED
from dataproc.repositories.runs import USUAL_ROWS
from dataproc.repositories.store import PostgresStore
from tests.builders import a_job, a_spec

pytestmark = pytest.mark.anyio

LEASE = timedelta(seconds=30)
LIMITS = RunningLimits(in_all=100, per_owner=50, per_source=40, per_target=20)
PAGES = 1_000
"""More than any of the statements looks at; a hundred thousand jobs fill several thousand."""

# Four owners, five sources and targets, two priorities; every other job is for a day to come.
FILL = text("""
INSERT INTO jobs (id, name, spec, owner, status, priority, source, target, created_at, scheduled_for)
SELECT gen_random_uuid(), 'orders-daily', CAST(:spec AS jsonb), 'owner-' || n / 2 % 4, :status, n / 2 % 4 / 2,
    'source-' || n / 8 % 5, 'sales.table-' || n / 8 % 5, now() - make_interval(secs => n),
    now() - make_interval(secs => n) + make_interval(days => n % 2 * 1000)
FROM generate_series(1, :count) AS n
""")


async def fill(store: PostgresStore, count: int, status: str = "PENDING") -> None:
    """Record jobs, and let some run if they wait."""
    async with store.begin() as tables:
        await tables.conn.execute(FILL, {"count": count, "status": status, "spec": a_spec().model_dump_json()})
        await tables.jobs.claim("runner-0", lease=LEASE, limit=20)
    async with store.begin() as tables:
        await tables.conn.execute(text("ANALYZE"))


async def explained(store: PostgresStore, statement: TextClause, params: Mapping[str, object]) -> dict[str, Any]:
    """Return the plan of a statement as it ran; its work is taken back."""
    async with store.engine.connect() as conn:
        plan = await conn.scalar(text(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement.text}"), params)
    return dict(plan[0]["Plan"])


async def claim_plan(store: PostgresStore, statement: TextClause = CLAIM_FIRST) -> dict[str, Any]:
    """Return the plan of a claim of four jobs."""
    async with store.begin() as tables:
        params = Claiming(tables.conn, "runner-1", LEASE, LIMITS).params()
    return await explained(store, statement, params | {"limit": 4})


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a plan's nodes."""
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


def pages(plan: dict[str, Any]) -> int:
    """Return how many pages a statement has looked at."""
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])


def scans_of_jobs(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the nodes that read jobs."""
    return [node for node in nodes(plan) if node.get("Relation Name") == "jobs" and "Scan" in node["Node Type"]]


def rows_read(plan: dict[str, Any]) -> float:
    """Return how many jobs a statement has read, also those it then left out."""
    return sum(float(node["Actual Loops"]) * rows_of(node) for node in scans_of_jobs(plan))


def rows_of(node: dict[str, Any]) -> float:
    """Return how many rows a node has read each time."""
    left_out = [float(node.get(f"Rows Removed by {which}", 0)) for which in ("Filter", "Index Recheck")]
    return float(node["Actual Rows"]) + sum(left_out)


async def test_a_claim_among_100_000_jobs_reads_a_few(postgres_store: PostgresStore) -> None:
    await fill(postgres_store, 1_000)
    among_few = await claim_plan(postgres_store)
    await fill(postgres_store, 99_000)

    among_many = await claim_plan(postgres_store)

    assert "Seq Scan" not in {node["Node Type"] for node in scans_of_jobs(among_many)}
    assert among_many["Actual Rows"] == 4
    assert rows_read(among_many) < 500
    assert pages(among_many) < min(PAGES, 3 * pages(among_few))


async def test_a_claim_from_behind_100_000_jobs_of_a_full_target_reads_a_few(postgres_store: PostgresStore) -> None:
    await fill(postgres_store, 100_000)
    async with postgres_store.begin() as tables:
        await tables.conn.execute(text("UPDATE jobs SET target = 'sales.orders' WHERE status = 'PENDING'"))
        await tables.jobs.claim("runner-0", lease=LEASE, limit=20)
        behind = await tables.jobs.add(a_job(spec=a_spec(destination={"table": "sales.items"}, priority=-1)))
        await tables.conn.execute(text("ANALYZE"))

    plan = await claim_plan(postgres_store)

    async with postgres_store.begin() as tables:
        claims = await tables.jobs.claim("runner-1", lease=LEASE, limit=4, limits=LIMITS)
    assert [claim.job_id for claim in claims] == [behind.id]
    assert "Seq Scan" not in {node["Node Type"] for node in scans_of_jobs(plan)}
    assert rows_read(plan) < 500


@pytest.mark.parametrize("ready", [0, 1])
async def test_100_000_jobs_for_later_are_not_looked_at(postgres_store: PostgresStore, ready: int) -> None:
    await fill(postgres_store, 100_000)
    async with postgres_store.begin() as tables:
        await tables.conn.execute(text("UPDATE jobs SET scheduled_for = now() + interval '1 day'"))
        due = (
            "UPDATE jobs SET scheduled_for = now() WHERE id IN (SELECT id FROM jobs WHERE status = 'PENDING' LIMIT :n)"
        )
        await tables.conn.execute(text(due), {"n": ready})
        await tables.conn.execute(text("ANALYZE"))

    plans = [await claim_plan(postgres_store, statement) for statement in (MAY_CLAIM, CLAIM_FIRST)]

    assert max(rows_read(plan) for plan in plans) < 500
    async with postgres_store.begin() as tables:
        assert len(await tables.jobs.claim("runner-1", lease=LEASE, limit=4, limits=LIMITS)) == ready


async def test_depth_counts_100_000_jobs_up_to_a_bound(postgres_store: PostgresStore) -> None:
    await fill(postgres_store, 100_000)

    plan = await explained(postgres_store, DEPTH, {"executions": EXECUTIONS})

    async with postgres_store.begin() as tables:
        depth = await tables.jobs.depth()
    assert (depth.ready, depth.running) == (MOST_COUNTED, 20)
    assert depth.oldest_ready is not None
    assert depth.oldest_ready > timedelta(seconds=99_000)
    assert "Seq Scan" not in {node["Node Type"] for node in scans_of_jobs(plan)}
    assert rows_read(plan) < MOST_COUNTED + 500


@pytest.mark.parametrize("status", ["PENDING", "COMPLETED"])
async def test_the_usual_rows_of_a_job_among_100_000_of_its_name_cost_a_few_reads(
    postgres_store: PostgresStore, status: str
) -> None:
    await fill(postgres_store, 100_000, status)
    job = a_job(id=JobId(uuid4()), owner="owner-1")
    async with postgres_store.begin() as tables:
        await tables.jobs.add(job)

    plan = await explained(postgres_store, USUAL_ROWS, {"job": job.id})

    assert rows_read(plan) < 500
    assert pages(plan) < PAGES
