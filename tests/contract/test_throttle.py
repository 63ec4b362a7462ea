"""What the throttle keeps to: one order for all workers, whatever the API says and whoever asks."""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dataproc.domain.errors import SourceUnavailableError
from dataproc.domain.sources.rest import RestSource
from dataproc.ports.pipeline import Limited
from dataproc.ports.throttle import UNLIMITED, Gate, Rate
from dataproc.sources.factory import source_for
from dataproc.warehouse.throttle import WarehouseThrottle
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.builders import a_connection, surroundings
from tests.contract.conformance import read_all
from tests.fakes.secrets import FakeSecrets
from tests.rest_api import Api, Call, Reply, by_cursor, orders, rest_api
from tests.waiting import wait_until
from tests.warehouses import Query

SECOND = timedelta(seconds=1)
SLOW = Rate(1, timedelta(hours=1))
KEY = "secret://crm#key"
ALLOWED = 20


@pytest.fixture
def throttle(warehouse: PostgresWarehouse) -> WarehouseThrottle:
    return WarehouseThrottle(warehouse.url)


@pytest.fixture
def gate(throttle: WarehouseThrottle) -> Iterator[Gate]:
    with throttle.open("api.example.com", "key", SLOW) as found:
        yield found


@pytest.fixture
def api() -> Iterator[Api]:
    with rest_api() as running:
        yield running


def hours(waits: Sequence[timedelta]) -> list[float]:
    return [round(wait / (SLOW.spacing), 1) for wait in waits]


def test_each_request_has_a_place_of_its_own_and_none_is_given_twice(
    throttle: WarehouseThrottle, threads: ThreadPoolExecutor
) -> None:
    def five_places(_: int) -> list[timedelta]:
        with throttle.open("api.example.com", "key", SLOW) as gate:
            return [gate.take() for _ in range(5)]

    places = [place for places in threads.map(five_places, range(4)) for place in places]

    assert hours(sorted(places)) == [float(n) for n in range(20)]


def test_a_burst_goes_at_once_and_what_follows_never_exceeds_the_rate(throttle: WarehouseThrottle) -> None:
    rate = Rate(10, timedelta(hours=10), burst=4)
    with throttle.open("api.example.com", "key", rate) as gate:
        waits = [gate.take() for _ in range(8)]

    assert waits[:4] == [timedelta(0)] * 4
    assert [round(wait / rate.spacing, 1) for wait in waits[4:]] == [1.0, 2.0, 3.0, 4.0]
    # In any window there are at most the burst and what fits into it at this spacing.
    assert rate.burst + rate.per / rate.spacing <= rate.requests + 1


@pytest.mark.parametrize("burst", [1, 4])
def test_the_wait_for_the_next_place_is_known_without_taking_it(throttle: WarehouseThrottle, burst: int) -> None:
    rate = Rate(10, timedelta(hours=10), burst=burst)
    with throttle.open("api.example.com", "key", rate) as gate:
        before = gate.ahead()
        pairs = [(gate.ahead(), gate.take()) for _ in range(8)]
        gate.pause(timedelta(hours=90))
        paused = (gate.ahead(), gate.take())

    assert before == timedelta(0)
    for ahead, taken in (*pairs, paused):
        assert ahead / rate.spacing == pytest.approx(taken / rate.spacing, abs=0.01)
    assert paused[0] > timedelta(hours=89)


def test_hosts_and_credentials_have_gates_of_their_own(throttle: WarehouseThrottle, gate: Gate) -> None:
    gate.take()

    for host, credential in (("other.example.com", "key"), ("api.example.com", "other key")):
        with throttle.open(host, credential, SLOW) as other:
            assert other.take() == timedelta(0)
    with throttle.open("api.example.com", "key", SLOW) as same:
        assert hours([same.take()]) == [1.0]


def test_a_pause_holds_for_everybody_and_is_never_made_shorter(throttle: WarehouseThrottle, gate: Gate) -> None:
    gate.take()
    gate.pause(timedelta(hours=5))
    gate.pause(timedelta(hours=2))

    with throttle.open("api.example.com", "key", SLOW) as other:
        assert not other.is_open()
        assert [round(other.take() / timedelta(hours=1), 1) for _ in range(2)] == [5.0, 6.1]


def test_refusals_slow_down_and_it_wears_off(throttle: WarehouseThrottle, query: Query) -> None:
    with throttle.open("api.example.com", "key", None) as gate:
        free = [gate.take() for _ in range(3)]
        gate.slow_down()
        gate.slow_down()  # of the same moment: counts once
        slowed = [gate.take() for _ in range(3)]
        query("UPDATE dataproc_load.throttle SET slowed_at = slowed_at - interval '10 minutes'")
        gate.take()
        recovered = gate.take() - gate.take()

    assert free == [timedelta(0)] * 3
    assert timedelta(seconds=0.05) < slowed[2] <= timedelta(seconds=0.2)  # less what passed between the takes
    assert abs(recovered) < timedelta(seconds=0.01)


def test_no_credential_is_kept(throttle: WarehouseThrottle, query: Query) -> None:
    with throttle.open("api.example.com", "key-of-mine", SLOW) as gate:
        gate.take()

    kept = str(query("SELECT t::text, key FROM dataproc_load.throttle AS t"))
    assert "mine" not in kept
    assert "example" not in kept
    assert "key-of-mine" not in repr(throttle)


def test_a_warehouse_that_lost_its_rates_goes_on(gate: Gate, query: Query) -> None:
    gate.take()
    query("TRUNCATE dataproc_load.throttle")

    assert gate.take() == timedelta(0)
    assert hours([gate.take()]) == [1.0]


def test_without_a_throttle_nobody_waits() -> None:
    with UNLIMITED.open("api.example.com", "key", SLOW) as gate:
        gate.pause(SECOND)

        assert (gate.ahead(), gate.take(), gate.is_open()) == (timedelta(0), timedelta(0), True)


def read_pages(port: int, url: str) -> int:
    """Read the API in a worker of its own; return the records."""
    config = {
        "base_url": f"http://127.0.0.1:{port}", "allow_private": True,
        "auth": {"kind": "api_key", "key": KEY}, "rate": {"requests": ALLOWED, "per": "1s"},
    }  # fmt: skip
    around = surroundings(
        secrets=FakeSecrets({KEY: "k"}), connection=a_connection(name="crm", kind="rest", config=config),
        throttle=WarehouseThrottle(url),
    )  # fmt: skip
    paging = {"kind": "cursor", "next": "$.next"}
    spec = {"kind": "rest", "connection": "crm", "path": "/orders", "records": "$.data[*]", "paging": paging}
    _, chunks = read_all(source_for(RestSource.model_validate(spec), around))
    return sum(chunk.read for chunk in chunks)


def most_in_a_second(calls: Sequence[Call]) -> int:
    """Return the most calls in any second."""
    moments = sorted(call.at for call in calls)
    return max(sum(at <= other < at + 1 for other in moments) for at in moments)


def test_four_workers_together_never_ask_more_than_is_allowed(api: Api, warehouse: PostgresWarehouse) -> None:
    api.routes["/orders"] = by_cursor(lambda: orders(100))
    # Four processes of their own, of which only the first has to import everything.
    workers = multiprocessing.get_context("forkserver")
    workers.set_forkserver_preload([__name__])

    with ProcessPoolExecutor(4, workers) as pool:
        counts = list(pool.map(read_pages, [api.port] * 4, [warehouse.url] * 4))

    seconds = max(call.at for call in api.calls) - min(call.at for call in api.calls)
    assert counts == [100] * 4
    assert len(api.calls) == 4 * (3 + 10)  # three pages show the types
    assert most_in_a_second(api.calls) <= ALLOWED
    # Workers take turns; they do not wait for one another.
    assert len(api.calls) / seconds > ALLOWED * 0.25


def a_source(api: Api, warehouse: PostgresWarehouse, **connection: Any) -> Any:
    config = {"base_url": api.url, "allow_private": True} | connection
    around = surroundings(
        connection=a_connection(name="crm", kind="rest", config=config), throttle=WarehouseThrottle(warehouse.url)
    )
    spec = {"kind": "rest", "connection": "crm", "path": "/orders", "records": "$.data[*]"}
    return source_for(RestSource.model_validate(spec), around)


def test_a_wait_that_the_api_asks_for_is_kept_and_the_request_is_sent_again(
    api: Api, warehouse: PostgresWarehouse
) -> None:
    api.routes["/orders"] = by_cursor(lambda: orders(3))
    refusals = [Reply({}, 429, (("Retry-After", "1"),))]
    api.before.append(lambda _: refusals.pop() if refusals else None)

    _, chunks = read_all(a_source(api, warehouse))

    assert sum(chunk.read for chunk in chunks) == 3
    assert api.calls[1].at - api.calls[0].at >= 0.95


def test_a_spent_quota_lets_all_workers_wait_for_its_reset(api: Api, warehouse: PostgresWarehouse) -> None:
    reply = Reply({"data": []}, headers=(("RateLimit-Remaining", "0"), ("RateLimit-Reset", "1")))
    api.routes["/orders"] = lambda _: reply
    a_source(api, warehouse).plan()

    a_source(api, warehouse).plan()

    assert api.calls[1].at - api.calls[0].at >= 0.95


def test_a_job_shows_that_another_one_has_used_up_what_both_may_ask(api: Api, warehouse: PostgresWarehouse) -> None:
    spent = Reply({"data": []}, headers=(("RateLimit-Remaining", "0"), ("RateLimit-Reset", "3600")))
    api.routes["/orders"] = lambda _: spent
    ours, theirs = a_source(api, warehouse), a_source(api, warehouse)
    before = ours.waits_for()

    theirs.plan()

    shown = ours.waits_for()
    assert before is None
    host, _, until = shown.removeprefix("the rate limit of ").partition(" until ")
    wait = datetime.fromisoformat(until) - datetime.now(UTC)
    assert (host, round(wait / timedelta(hours=1), 1)) == ("127.0.0.1", 1.0)


def test_a_source_without_a_rate_limit_waits_for_nothing(api: Api, warehouse: PostgresWarehouse) -> None:
    api.routes["/orders"] = lambda _: Reply({"data": []})
    source = a_source(api, warehouse)
    source.plan()

    assert source.waits_for() is None
    assert isinstance(source, Limited)


def test_a_wait_that_is_too_long_is_told_at_once(api: Api, warehouse: PostgresWarehouse) -> None:
    api.routes["/orders"] = lambda _: Reply({}, 429, (("Retry-After", "3600"),))
    source = a_source(api, warehouse, max_wait="10s")

    for _ in range(2):
        with pytest.raises(SourceUnavailableError, match=r"asks for a wait of 3\d\d\d s"):
            source.plan()

    assert len(api.calls) == 1


def test_a_gate_that_is_closed_leaves_no_connection(throttle: WarehouseThrottle, query: Query) -> None:
    sessions = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    before = set(query(sessions))
    with throttle.open("api.example.com", "key", None) as gate:
        gate.take()
        mine = set(query(sessions)) - before

    assert mine
    wait_until(lambda: not mine & set(query(sessions)))
