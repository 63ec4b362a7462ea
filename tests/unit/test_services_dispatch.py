"""The dispatcher: how many runners there should be, and what it does about it."""

import re
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from uuid import UUID

import pytest

from dataproc.domain.errors import ClusterUnavailableError
from dataproc.domain.job import Job
from dataproc.domain.status import RunStatus
from dataproc.ports.cluster import Submission, SubmissionId
from dataproc.ports.queue import DISPATCH, NO_DISPATCHER, NO_LIMITS, JobFilter, QueueDepth
from dataproc.services.dispatch import DEDICATED_PREFIX, ENTRYPOINT, PREFIX, START_PATIENCE, Dispatcher, Fleet
from dataproc.services.reconcile import Reaper
from tests.builders import a_job, a_spec
from tests.fakes.cluster import FakeCluster
from tests.fakes.store import FakeStore
from tests.fakes.warehouse import FakeWarehouse

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("ready", "running", "bears", "wanted"),
    [
        (0, 0, 8, 1),
        (1, 0, 8, 1),
        (2, 0, 8, 1),
        (3, 0, 8, 2),
        (2, 2, 8, 2),
        (500, 0, 8, 4),
        (500, 0, 4, 2),
        (500, 0, 3, 1),
        (500, 0, 1, 1),
        (500, 0, 100, 4),
    ],
)
def test_there_is_a_slot_for_each_job_up_to_what_cluster_and_settings_bear(
    ready: int, running: int, bears: int, wanted: int
) -> None:
    fleet = Fleet(slots_per_runner=2, max_runners=4)

    assert fleet.wanted(QueueDepth(ready, running, None), bears) == wanted


@dataclass(slots=True)
class Yard:
    """A dispatcher on fakes."""

    store: FakeStore = field(default_factory=FakeStore)
    cluster: FakeCluster = field(default_factory=FakeCluster)
    ids: "count[int]" = field(default_factory=count)

    @property
    def dispatcher(self) -> Dispatcher:
        fleet = Fleet(slots_per_runner=2, max_runners=4)
        return Dispatcher(
            self.store, self.cluster, fleet, NO_LIMITS, lambda: UUID(int=next(self.ids)), lambda: self.store.now
        )

    async def add_jobs(self, number: int) -> None:
        async with self.store.begin() as tables:
            for _ in range(number):
                await tables.jobs.add(a_job())

    async def add_dedicated(self, number: int) -> list[Job]:
        async with self.store.begin() as tables:
            return [await tables.jobs.add(a_job(spec=a_spec(execution="dedicated"))) for _ in range(number)]

    @property
    def alive(self) -> list[SubmissionId]:
        return [name for name, status in self.cluster.jobs.items() if status == "RUNNING"]


@pytest.fixture
def yard() -> Yard:
    return Yard()


async def test_one_runner_is_kept_warm_while_nothing_waits(yard: Yard) -> None:
    assert await yard.dispatcher.dispatch() == 1
    assert await yard.dispatcher.dispatch() == 1

    assert yard.cluster.entrypoints == {SubmissionId(f"{PREFIX}{UUID(int=0)}"): ENTRYPOINT}


async def test_missing_runners_are_started_and_no_more_than_that(yard: Yard) -> None:
    await yard.add_jobs(5)

    assert await yard.dispatcher.dispatch() == 3
    assert await yard.dispatcher.dispatch() == 3

    assert len(yard.alive) == 3


async def test_a_runner_that_ended_is_replaced(yard: Yard) -> None:
    await yard.dispatcher.dispatch()
    [dead] = yard.alive
    yard.cluster.jobs[dead] = "FAILED"

    await yard.dispatcher.dispatch()

    assert len(yard.alive) == 1
    assert dead not in yard.alive


async def test_a_runner_that_is_starting_counts_as_one(yard: Yard) -> None:
    yard.cluster.jobs[SubmissionId(f"{PREFIX}starting")] = "PENDING"

    await yard.dispatcher.dispatch()

    assert yard.alive == []


async def test_ray_jobs_that_are_no_runners_are_left_alone(yard: Yard) -> None:
    other = SubmissionId("somebody-elses-job")
    yard.cluster.jobs[other] = "RUNNING"

    await yard.dispatcher.dispatch()

    assert other in yard.alive
    assert len(yard.alive) == 2


async def test_runners_too_many_are_stopped_only_once_nothing_waits_or_runs(yard: Yard) -> None:
    await yard.add_jobs(6)
    await yard.dispatcher.dispatch()
    async with yard.store.begin() as tables:
        claims = await tables.jobs.claim("runner", lease=timedelta(seconds=30), limit=6)
        for claim in claims[1:]:
            await tables.jobs.requeue(claim, delay=timedelta(hours=1), failure=None, progress=None)

    assert await yard.dispatcher.dispatch() == 3
    async with yard.store.begin() as tables:
        await tables.jobs.requeue(claims[0], delay=timedelta(hours=1), failure=None, progress=None)
    await yard.dispatcher.dispatch()

    assert len(yard.alive) == 1


async def test_a_dedicated_job_gets_a_ray_job_of_its_own_and_no_second_one() -> None:
    yard = Yard()
    [job] = await yard.add_dedicated(1)

    await yard.dispatcher.dispatch()
    await yard.dispatcher.dispatch()

    name = f"{DEDICATED_PREFIX}{job.id}-1"
    assert [submission for submission in yard.alive if submission.startswith(DEDICATED_PREFIX)] == [name]
    assert yard.cluster.entrypoints[SubmissionId(name)] == f"python -m jobs.run_pipeline --epoch 1 {job.id}"


async def test_a_dedicated_job_whose_ray_job_never_came_up_gets_another_one_under_another_id() -> None:
    yard = Yard()
    [job] = await yard.add_dedicated(1)
    await yard.dispatcher.dispatch()
    await yard.cluster.stop(SubmissionId(f"{DEDICATED_PREFIX}{job.id}-1"))

    yard.store.now += START_PATIENCE + timedelta(seconds=1)
    await Reaper(yard.store, FakeWarehouse(), lambda: 0.0).reap()
    await yard.dispatcher.dispatch()

    assert SubmissionId(f"{DEDICATED_PREFIX}{job.id}-2") in yard.alive


async def test_no_more_dedicated_jobs_are_started_than_the_cluster_bears() -> None:
    yard = Yard(cluster=FakeCluster(bears=2))
    await yard.add_dedicated(3)

    await yard.dispatcher.dispatch()

    assert len([name for name in yard.alive if name.startswith(DEDICATED_PREFIX)]) == 2


async def test_a_cluster_that_takes_no_job_leaves_the_dedicated_job_waiting_with_all_its_attempts() -> None:
    yard = Yard(cluster=FullCluster())
    [job] = await yard.add_dedicated(1)

    with pytest.raises(ClusterUnavailableError):
        await yard.dispatcher.dispatch()

    async with yard.store.begin() as tables:
        now = await tables.jobs.get(job.id)
    assert (now.status, now.attempt) == (RunStatus.PENDING, 0)


class FullCluster(FakeCluster):
    """A cluster that takes no job."""

    async def submit(self, submission_id: SubmissionId, entrypoint: str) -> None:
        raise ClusterUnavailableError(f"{submission_id} ({entrypoint}) finds no place")


# ── runners that do not start ────────────────────────────────────────────────────────────────────


async def waiting_for(yard: Yard) -> str | None:
    """Return the obstacle of the only job."""
    async with yard.store.begin() as tables:
        [job] = await tables.jobs.find(JobFilter(), after=None, limit=2)
    return job.progress.waiting_for


async def take_duty(yard: Yard) -> None:
    async with yard.store.begin() as tables:
        assert await tables.duties.take(DISPATCH, "one", lease=timedelta(seconds=15))


async def test_jobs_that_wait_show_that_the_cluster_does_not_answer_until_it_does() -> None:
    yard = Yard(cluster=FullCluster())
    await take_duty(yard)
    await yard.add_jobs(1)

    with pytest.raises(ClusterUnavailableError):
        await yard.dispatcher.dispatch()
    shown = await waiting_for(yard)
    yard.cluster = FakeCluster()
    await yard.dispatcher.dispatch()

    assert shown is not None
    assert shown.startswith("the Ray cluster: dataproc-runner-")
    assert await waiting_for(yard) is None


async def test_runners_that_do_not_start_are_tried_less_and_less_and_jobs_show_why(yard: Yard) -> None:
    await yard.add_jobs(1)
    begun = yard.store.now

    for _ in range(60):
        yard.store.now += timedelta(seconds=1)
        await take_duty(yard)
        await yard.dispatcher.dispatch()
        for name in yard.alive:
            yard.cluster.fail(Submission(name, "FAILED", "SetupError: no URL", yard.store.now, yard.store.now))

    # At once, then 1, 2, 4, 8 and 16 seconds after the one before.
    ended = sorted((job.ended or begun) - begun for job in yard.cluster.ended.values())
    assert [moment.total_seconds() for moment in ended] == [1, 2, 4, 8, 16, 32]
    shown = await waiting_for(yard)
    assert shown is not None
    assert re.fullmatch(
        r"a runner: the last 6 ended before .* try again at .*; dataproc-runner-.*: SetupError: no URL", shown
    )


async def test_without_a_dispatcher_jobs_that_are_due_show_that(yard: Yard) -> None:
    await yard.add_jobs(1)
    without = await waiting_for(yard)

    await take_duty(yard)

    assert (without, await waiting_for(yard)) == (NO_DISPATCHER, None)
