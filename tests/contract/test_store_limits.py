"""Laws of who is claimed next: priority, fair share, age, limits; for the fake store and the real one."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

import anyio
import pytest

from dataproc.domain.destination import Destination
from dataproc.domain.job import Claim, Job, JobId
from dataproc.domain.sources.files import S3Source
from dataproc.domain.status import RunStatus
from dataproc.ports.queue import NO_LIMITS, RunningLimits
from dataproc.ports.store import Store
from tests.builders import a_job, a_spec
from tests.conftest import PassTime

pytestmark = pytest.mark.anyio

LEASE = timedelta(seconds=30)


def job_of(owner: str = "ann", *, source: str = "lake", target: str = "sales.orders", priority: int = 0) -> Job:
    """Return a job of an owner, from a connection, into a table."""
    spec = a_spec(
        source=S3Source(kind="s3", connection=source, path="orders/*"),
        destination=Destination(table=target),
        priority=priority,
    )
    return a_job(owner=owner, spec=spec)


async def add(store: Store, *jobs: Job) -> list[JobId]:
    """Record jobs, one after the other."""
    for job in jobs:
        async with store.begin() as tables:
            await tables.jobs.add(job)
    return [job.id for job in jobs]


async def claim(store: Store, limit: int = 99, limits: RunningLimits = NO_LIMITS) -> Sequence[Claim]:
    """Claim ready jobs within limits."""
    async with store.begin() as tables:
        return await tables.jobs.claim("runner-1", lease=LEASE, limit=limit, limits=limits)


async def owners(store: Store, *, together: bool) -> list[str]:
    """Claim all jobs, together or one by one; return whose they are, in the order of the claims."""
    if together:
        return [held.owner for held in await claim(store)]
    claims: list[str] = []
    while held := await claim(store, limit=1):
        claims.append(held[0].owner)
    return claims


async def finish(store: Store, held: Claim) -> None:
    """End a run."""
    async with store.begin() as tables:
        await tables.jobs.finish(held, RunStatus.COMPLETED, progress=None, failure=None)


@pytest.mark.parametrize("together", [True, False])
async def test_who_asks_for_much_keeps_nobody_waiting(store: Store, together: bool) -> None:
    await add(store, *(job_of("ann") for _ in range(4)), job_of("bob"), job_of("bob"), job_of("eve"))

    assert await owners(store, together=together) == ["ann", "bob", "eve", "ann", "bob", "ann", "ann"]


@pytest.mark.parametrize("together", [True, False])
async def test_what_runs_counts_for_the_fair_share(store: Store, together: bool) -> None:
    await add(store, job_of("ann"), job_of("ann"))
    running = await claim(store)
    await add(store, job_of("ann"), job_of("bob"), job_of("bob"), job_of("bob"))

    assert await owners(store, together=together) == ["bob", "bob", "ann", "bob"]
    assert [held.owner for held in running] == ["ann", "ann"]


@pytest.mark.parametrize("together", [True, False])
async def test_priority_goes_before_fair_share(store: Store, together: bool) -> None:
    await add(store, job_of("bob"), job_of("ann", priority=1), job_of("ann", priority=1), job_of("ann"), job_of("bob"))

    assert await owners(store, together=together) == ["ann", "ann", "bob", "bob", "ann"]


async def test_of_one_owner_the_oldest_goes_first_whatever_source_and_target(store: Store) -> None:
    ids = await add(store, job_of(source="b"), job_of(target="c.c"), job_of(source="a"), job_of(target="a.a"))

    assert [held.job_id for held in await claim(store)] == ids


@pytest.mark.parametrize(
    "limits",
    [
        RunningLimits(in_all=2),
        RunningLimits(per_owner=2),
        RunningLimits(per_source=2),
        RunningLimits(per_target=2),
        RunningLimits(in_all=9, per_owner=3, per_source=2, per_target=9),
    ],
)
async def test_no_more_run_at_once_than_a_limit_allows(store: Store, limits: RunningLimits) -> None:
    await add(store, *(job_of() for _ in range(5)))

    first, second = await claim(store, limits=limits)

    assert await claim(store, limits=limits) == []
    await finish(store, first)
    [third] = await claim(store, limits=limits)
    assert await claim(store, limits=limits) == []
    await finish(store, second)
    await finish(store, third)
    assert len(await claim(store, limits=limits)) == 2


@pytest.mark.parametrize("limit", [1, 99])
async def test_an_owner_at_his_limit_keeps_nobody_waiting(store: Store, limit: int) -> None:
    limits = RunningLimits(per_owner=1)
    await add(store, *(job_of("ann", priority=9) for _ in range(50)), job_of("bob"))
    await claim(store, limit=1, limits=limits)

    assert [held.owner for held in await claim(store, limit, limits)] == ["bob"]


@pytest.mark.parametrize("limit", [1, 99])
async def test_a_source_at_its_limit_keeps_nobody_waiting(store: Store, limit: int) -> None:
    limits = RunningLimits(per_source=1)
    await add(store, *(job_of(source="lake") for _ in range(50)), job_of(source="shop"))
    await claim(store, limit=1, limits=limits)

    assert [held.spec.source_name for held in await claim(store, limit, limits)] == ["shop"]


@pytest.mark.parametrize("limit", [1, 99])
async def test_a_target_at_its_limit_keeps_nobody_waiting(store: Store, limit: int) -> None:
    limits = RunningLimits(per_target=1)
    await add(store, *(job_of(target="sales.orders") for _ in range(50)), job_of(target="sales.items"))
    await claim(store, limit=1, limits=limits)

    assert [held.spec.destination.table for held in await claim(store, limit, limits)] == ["sales.items"]


async def test_one_claim_takes_all_that_the_limits_allow_however_they_meet(store: Store) -> None:
    limits = RunningLimits(per_owner=2, per_source=2, per_target=1)
    crowd = [job_of("ann", source="lake", target="sales.orders") for _ in range(30)]
    await add(store, *crowd, job_of("ann", source="lake", target="sales.items"), job_of("bob", source="shop"))
    await add(store, job_of("bob", source="lake", target="sales.taxes"), job_of("bob", source="shop", target="a.a"))

    claims = await claim(store, limits=limits)

    got = {(held.owner, held.spec.source_name, held.spec.destination.table) for held in claims}
    assert got == {
        ("ann", "lake", "sales.orders"),
        ("bob", "lake", "sales.taxes"),
        ("bob", "shop", "a.a"),
    }


async def test_jobs_of_both_executions_count_towards_the_limits(store: Store) -> None:
    limits = RunningLimits(in_all=1)
    await add(store, a_job(), a_job(spec=a_spec(execution="dedicated")))

    async with store.begin() as tables:
        [held] = await tables.jobs.claim("jobs", lease=LEASE, limit=9, limits=limits, execution="dedicated")

    assert held.spec.execution == "dedicated"
    assert await claim(store, limits=limits) == []
    assert len(await claim(store)) == 1


async def test_a_job_whose_runner_is_lost_counts_until_it_is_settled(store: Store, pass_time: PassTime) -> None:
    limits = RunningLimits(in_all=1)
    await add(store, job_of(), job_of())
    await claim(store, limits=limits)
    await pass_time(LEASE * 2)

    assert await claim(store, limits=limits) == []

    async with store.begin() as tables:
        [lost] = await tables.jobs.expired(limit=9)
    await finish(store, lost.claim)
    assert len(await claim(store, limits=limits)) == 1


async def test_claims_at_once_never_exceed_a_limit_together(store: Store) -> None:
    limits = RunningLimits(in_all=7, per_owner=4, per_source=5, per_target=3)
    names = [(owner, source) for owner in ("ann", "bob", "eve") for source in ("lake", "shop")]
    await add(store, *(job_of(owner, source=source, target=f"a.t{n}") for owner, source in names for n in range(4)))
    got: list[Claim] = []

    async def take(number: int) -> None:
        got.extend(await claim(store, limit=1 + number % 3, limits=limits))

    async with anyio.create_task_group() as group:
        for number in range(12):
            group.start_soon(take, number)

    assert len(got) == 7
    assert max(Counter(held.owner for held in got).values()) <= 4
    assert max(Counter(held.spec.source_name for held in got).values()) <= 5
    assert max(Counter(held.spec.destination.table for held in got).values()) <= 3
