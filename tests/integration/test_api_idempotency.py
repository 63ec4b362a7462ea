"""Repeats of a request that makes a job: whatever was lost on the way, there is one job."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import httpx2
import pytest

from dataproc.domain.fault_points import FaultPoint, hooked
from tests.api_app import SPEC, Api, errors, problem
from tests.api_server import api_server
from tests.waiting import PATIENCE

pytestmark = pytest.mark.anyio


async def test_the_same_key_gives_the_same_job_and_another_spec_is_refused(api: Api) -> None:
    key = {"Idempotency-Key": "k" * 255}
    first = await api.client.post("/jobs", json=SPEC, headers=key)

    again = await api.client.post("/jobs", json=SPEC, headers=key)
    other = await api.client.post("/jobs", json=SPEC | {"name": "other"}, headers=key)

    assert (again.status_code, again.headers["location"]) == (202, first.headers["location"])
    problem(other, 422, "idempotency")
    assert len((await api.client.get("/jobs")).json()["jobs"]) == 1


async def test_a_repeat_gives_the_job_as_it_stands_by_now(api: Api) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    first = (await api.client.post("/jobs", json=SPEC, headers=key)).json()
    await api.claimed(first)

    again = await api.client.post("/jobs", json=SPEC, headers=key)

    assert (again.json()["id"], again.json()["status"]) == (first["id"], "INGESTING")


async def test_a_key_of_a_job_that_was_refused_is_free(api: Api) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    source = {"kind": "s3", "connection": "lake", "path": "orders/*.parquet"}
    refused = await api.client.post("/jobs", json=SPEC | {"source": source}, headers=key)

    mended = await api.client.post("/jobs", json=SPEC, headers=key)

    assert (refused.status_code, mended.status_code) == (422, 202)


async def test_twins_at_the_same_moment_give_one_job(api: Api) -> None:
    key = {"Idempotency-Key": str(uuid4())}

    replies = await asyncio.gather(*(api.client.post("/jobs", json=SPEC, headers=key) for _ in range(12)))

    assert {reply.status_code for reply in replies} <= {202, 409}
    assert len({reply.json()["id"] for reply in replies if reply.status_code == 202}) == 1
    for reply in replies:
        if reply.status_code == 409:
            problem(reply, 409, "in-flight")
    assert len((await api.client.get("/jobs")).json()["jobs"]) == 1


@pytest.mark.parametrize("key", ["", "k" * 256, "sch\xfcssel"])
async def test_a_key_that_is_empty_too_long_or_no_plain_text_is_refused(api: Api, key: str) -> None:
    response = await api.client.post("/jobs", json=SPEC, headers={b"Idempotency-Key": key.encode("latin-1")})

    assert list(errors(response)) == ["/header/Idempotency-Key"]


@dataclass(slots=True)
class Gate:
    """Holds the first that comes to a fault point until it is opened."""

    point: FaultPoint
    taken: bool = False
    waiting: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)

    def __call__(self, point: FaultPoint) -> None:
        if point is self.point and not self.taken:
            self.taken = True
            self.waiting.set()
            assert self.opened.wait(PATIENCE)


@contextmanager
def two_replicas(database_url: str) -> Iterator[tuple[httpx2.Client, httpx2.Client]]:
    """Give clients of two replicas of the API on the same metadata database."""
    with (
        api_server(database_url) as one,
        api_server(database_url) as other,
        httpx2.Client(base_url=one, timeout=PATIENCE, trust_env=False) as first,
        httpx2.Client(base_url=other, timeout=PATIENCE, trust_env=False) as second,
    ):
        yield first, second


def test_a_repeat_while_the_first_is_in_flight_is_told_to_come_back(database_url: str) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    gate = Gate(FaultPoint.ACCEPTING)
    with two_replicas(database_url) as (first, second), hooked(gate), ThreadPoolExecutor() as threads:
        slow = threads.submit(first.post, "/jobs", json=SPEC, headers=key)
        try:
            assert gate.waiting.wait(PATIENCE)
            busy = second.post("/jobs", json=SPEC, headers=key)
        finally:
            gate.opened.set()
        made = slow.result(PATIENCE)
        again = second.post("/jobs", json=SPEC, headers=key)

    problem(busy, 409, "in-flight")
    assert busy.headers["retry-after"] == "1"
    assert (made.status_code, again.status_code) == (202, 202)
    assert again.json()["id"] == made.json()["id"] == again.headers["location"].removeprefix("/jobs/")


@pytest.mark.parametrize(("point", "recorded"), [(FaultPoint.ACCEPTING, 0), (FaultPoint.ACCEPTED, 1)])
async def test_a_repeat_after_a_lost_reply_gives_the_one_job(api: Api, point: FaultPoint, recorded: int) -> None:
    key = {"Idempotency-Key": str(uuid4())}

    def lose(reached: FaultPoint) -> None:
        if reached is point:
            raise ConnectionResetError

    with hooked(lose):
        lost = await api.client.post("/jobs", json=SPEC, headers=key)
    before = (await api.client.get("/jobs")).json()["jobs"]
    again = await api.client.post("/jobs", json=SPEC, headers=key)
    after = (await api.client.get("/jobs")).json()["jobs"]

    assert (lost.status_code, again.status_code) == (500, 202)
    assert len(before) == recorded
    assert [job["id"] for job in after] == [again.json()["id"]]
    assert before in ([], after)
