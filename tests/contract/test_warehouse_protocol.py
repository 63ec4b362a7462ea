"""Laws of the load protocol, on both ways: who may publish, what counts as whole, and what readers see."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import psycopg
import pyarrow as pa
import pytest

from dataproc.domain.chunk import Account, Chunk, LoadedChunk
from dataproc.domain.destination import Destination
from dataproc.domain.errors import (
    CancelledRunError,
    ContractViolationError,
    CountMismatchError,
    DataprocError,
    FencedError,
    TooManyRejectsError,
    WarehouseUnavailableError,
)
from dataproc.domain.tally import Tally, Totals
from dataproc.domain.unit import SourcePlan
from dataproc.ports.warehouse import Load, Published
from dataproc.warehouse.ledger import Entry, record, take_fence
from dataproc.warehouse.publish import publishing
from dataproc.warehouse.rejects import Aside, pack, unpack
from dataproc.warehouse.staged import StagedLoad
from dataproc.warehouse.target import Target
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.builders import plan_of_size
from tests.waiting import PATIENCE, wait_until
from tests.warehouses import (
    ALWAYS_DIRECT,
    TABLE,
    LoadTrial,
    Query,
    a_load_id,
    a_unit,
    allow,
    chunks_of,
    loaded,
    planned,
    rejects_at,
    schema_of,
)

WAYS = pytest.mark.parametrize("way", ["direct", "staged"])
SCHEMA = schema_of({"id": pa.int64(), "note": pa.string()})


def orders(*ids: int) -> pa.Table:
    return pa.table({"id": pa.array(ids, pa.int64()), "note": pa.array([f"order {i}" for i in ids], pa.string())})


def rows(*ids: int) -> list[tuple[int, str]]:
    return [(i, f"order {i}") for i in ids]


def results_of(load: Load, chunks: list[Chunk]) -> Iterator[LoadedChunk]:
    return (load.step(chunk) for chunk in chunks)


def somebody_waits(query: Query) -> bool:
    """Whether a statement waits for a lock."""
    return bool(query("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"))


# ── what a load leaves behind ────────────────────────────────────────────────────────────────────


@WAYS
def test_a_load_leaves_its_rows_and_one_ledger_row_and_nothing_else(
    warehouse: PostgresWarehouse, query: Query, way: str
) -> None:
    trial = LoadTrial(warehouse, way)

    published = trial.run(orders(1, 2), orders(3))

    assert published == Published(TABLE, Account(3, 3), way) == warehouse.published(trial.load_id.job_id)
    assert query.table() == rows(1, 2, 3)
    assert query(
        "SELECT job_id, target, epoch, run_id, way, units, rows_read, rows_loaded FROM dataproc_load.load_ledger"
    ) == [(trial.load_id.job_id, TABLE, 1, trial.load_id.run_id, way, 2, 3, 3)]
    assert (query.staging(), query.count("load_staging")) == ([], 0)


@WAYS
def test_loads_add_to_what_is_there(warehouse: PostgresWarehouse, query: Query, way: str) -> None:
    LoadTrial(warehouse, way).run(orders(1))
    LoadTrial(warehouse, way).run(orders(2))

    assert query.table() == rows(1, 2)
    assert query.count("load_ledger") == 2


@WAYS
def test_rejects_are_written_with_the_load(warehouse: PostgresWarehouse, query: Query, way: str) -> None:
    trial = LoadTrial(warehouse, way)
    [chunk] = chunks_of("u0", orders(1, 2))
    chunk = replace(chunk, read=4).keep(chunk.rows, rejects=rejects_at(2, 3, row='{"id": "\x00"}'))

    published = trial.publish(SourcePlan((a_unit(rows=4),), SCHEMA), [chunk])

    assert published.account == Account(4, 2, 2)
    assert query(
        "SELECT job_id, run_id, target, unit, position, rule, column_name, reason, raw_row "
        "FROM dataproc_load.reject ORDER BY position"
    ) == [
        (trial.load_id.job_id, trial.load_id.run_id, TABLE, "u0", p, "ge", "amount", "too small", '{"id": "\\u0000"}')
        for p in (2, 3)
    ]


@WAYS
def test_a_load_of_nothing_but_rejects_is_published(warehouse: PostgresWarehouse, query: Query, way: str) -> None:
    [chunk] = chunks_of("u0", orders(), schema=SCHEMA)
    chunk = replace(chunk, read=1).keep(chunk.rows, rejects=rejects_at(0))

    published = LoadTrial(warehouse, way).publish(SourcePlan((a_unit(rows=1),), SCHEMA), [chunk])

    assert (published.account, query.table(), query.count("reject")) == (Account(1, 0, 1), [], 1)


@WAYS
def test_empty_units_and_no_units_are_published(warehouse: PostgresWarehouse, query: Query, way: str) -> None:
    LoadTrial(warehouse, way).run(orders(), orders(1), orders())
    LoadTrial(warehouse, way).publish(SourcePlan((), SCHEMA), [])

    assert query.table() == rows(1)
    assert query.count("load_ledger") == 2


def test_rejects_beyond_memory_wait_in_a_file() -> None:
    chunks = [
        replace(chunk, read=1).keep(chunk.rows.slice(0, 0), rejects=rejects_at(chunk.seq))
        for chunk in chunks_of("u0", *(orders(i) for i in range(50)))
    ]

    with Aside(kept_in_memory=1) as aside:
        for chunk in chunks:
            aside.add(loaded(chunk.unit, chunk.seq, rejects=pack(chunk.rejects)))
        found = [(unit, unpack(packed)["position"].to_pylist()) for unit, packed in aside]

    assert found == [("u0", [i]) for i in range(50)]


# ── the fence and the ledger ─────────────────────────────────────────────────────────────────────


@WAYS
def test_an_older_epoch_cannot_publish(warehouse: PostgresWarehouse, query: Query, way: str) -> None:
    trial = LoadTrial(warehouse, way)
    plan, chunks = planned(orders(1))
    load = trial.open(SCHEMA)
    staged = [load.step(chunk) for chunk in chunks]
    warehouse.fence(replace(trial.load_id, epoch=2))

    # The staging table of an epoch that is over is dropped, so this may end before the fence is even reached.
    with pytest.raises(FencedError):
        load.publish(plan, iter(staged), allow)

    assert (query.table(), query.count("load_ledger")) == ([], 0)


@WAYS
def test_an_older_epoch_cannot_raise_the_fence(warehouse: PostgresWarehouse, way: str) -> None:
    load_id = a_load_id(epoch=2)
    warehouse.fence(load_id)

    with pytest.raises(FencedError):
        warehouse.fence(replace(load_id, epoch=1))


@WAYS
def test_a_cancelled_epoch_cannot_publish(warehouse: PostgresWarehouse, query: Query, way: str) -> None:
    trial = LoadTrial(warehouse, way)
    plan, chunks = planned(orders(1))
    load = trial.open(SCHEMA)
    staged = [load.step(chunk) for chunk in chunks]

    assert warehouse.forbid(trial.load_id.job_id, 1) is None

    with pytest.raises(CancelledRunError):
        load.publish(plan, iter(staged), allow)
    assert (query.table(), query.count("load_ledger"), query.count("reject")) == ([], 0, 0)


@WAYS
def test_a_cancel_while_rows_arrive_is_not_kept_waiting_and_wins(
    warehouse: PostgresWarehouse, query: Query, way: str
) -> None:
    trial = LoadTrial(warehouse, way)
    plan, chunks = planned(orders(1), orders(2))
    load = trial.open(SCHEMA)

    def arriving() -> Iterator[LoadedChunk]:
        yield load.step(chunks[0])
        assert warehouse.forbid(trial.load_id.job_id, 1) is None
        yield load.step(chunks[1])

    with pytest.raises(CancelledRunError):
        load.publish(plan, arriving(), allow)
    assert query.table() == []


@WAYS
def test_a_cancelled_job_may_be_revived_by_a_later_epoch_but_not_by_its_own(
    warehouse: PostgresWarehouse, query: Query, way: str
) -> None:
    first = a_load_id()
    warehouse.fence(first)
    warehouse.forbid(first.job_id, 1)

    with pytest.raises(FencedError):
        warehouse.fence(first)
    LoadTrial(warehouse, way, load_id=replace(first, epoch=2)).run(orders(1))

    assert query.table() == rows(1)


def test_forbidding_an_older_epoch_does_not_touch_a_newer_one(warehouse: PostgresWarehouse, query: Query) -> None:
    trial = LoadTrial(warehouse, load_id=a_load_id(epoch=3))
    plan, chunks = planned(orders(1))
    load = trial.open(SCHEMA)

    warehouse.forbid(trial.load_id.job_id, 2)

    load.publish(plan, results_of(load, chunks), allow)
    assert query.table() == rows(1)


def test_an_epoch_that_was_forbidden_before_it_began_cannot_begin(warehouse: PostgresWarehouse) -> None:
    load_id = a_load_id()
    warehouse.forbid(load_id.job_id, 1)

    with pytest.raises(FencedError):
        warehouse.fence(load_id)


def test_forbidding_does_not_wait_for_ever_for_a_publish_that_holds_the_fence(warehouse: PostgresWarehouse) -> None:
    hasty = replace(warehouse, fence_patience=timedelta(milliseconds=100))
    load_id = a_load_id()
    warehouse.fence(load_id)
    target = Target("sales", "orders", (), exists=False)
    with publishing(warehouse.url, load_id, target) as conn:
        take_fence(conn, load_id)

        with pytest.raises(WarehouseUnavailableError, match="holds what is needed"):
            hasty.forbid(load_id.job_id, 1)

    assert warehouse.forbid(load_id.job_id, 1) is None


def test_forbidding_waits_for_a_publish_that_holds_the_fence_and_tells_what_it_published(
    warehouse: PostgresWarehouse, query: Query, threads: ThreadPoolExecutor
) -> None:
    load_id = a_load_id()
    warehouse.fence(load_id)
    target = Target("sales", "orders", (), exists=False)
    with publishing(warehouse.url, load_id, target) as conn:
        take_fence(conn, load_id)
        answer: Future[Published | None] = threads.submit(warehouse.forbid, load_id.job_id, 1)
        wait_until(lambda: somebody_waits(query))
        record(conn, Entry(load_id, TABLE, "direct", SourcePlan((), pa.schema([])), Tally()))

    assert answer.result(timeout=PATIENCE) == Published(TABLE, Account(), "direct")


@WAYS
def test_a_job_is_published_once_and_its_next_claim_is_told_so(
    warehouse: PostgresWarehouse, query: Query, way: str
) -> None:
    trial = LoadTrial(warehouse, way)
    published = trial.run(orders(1))

    assert warehouse.fence(replace(trial.load_id, epoch=2)) == published
    assert warehouse.forbid(trial.load_id.job_id, 2) == published
    assert query.count("load_ledger") == 1


@WAYS
def test_the_same_epoch_cannot_publish_twice(warehouse: PostgresWarehouse, query: Query, way: str) -> None:
    query("CREATE SCHEMA sales; CREATE TABLE sales.orders (id bigint, note text)")
    plan, chunks = planned(orders(1))
    trial = LoadTrial(warehouse, way)
    first, second = trial.open(SCHEMA), trial.open(SCHEMA)
    staged = [second.step(chunk) for chunk in chunks]
    first.publish(plan, results_of(first, chunks), allow)

    with pytest.raises((FencedError, CountMismatchError)):
        second.publish(plan, iter(staged), allow)

    assert query.table() == rows(1)
    assert query.count("load_ledger") == 1


def test_two_loads_of_one_target_publish_one_after_the_other(
    warehouse: PostgresWarehouse, query: Query, threads: ThreadPoolExecutor
) -> None:
    query("CREATE SCHEMA sales; CREATE TABLE sales.orders (id bigint, note text)")
    plan, chunks = planned(orders(1), orders(2))
    load = LoadTrial(warehouse, "direct").open(SCHEMA)

    def arriving() -> Iterator[LoadedChunk]:
        yield load.step(chunks[0])
        second.append(threads.submit(LoadTrial(warehouse, "direct").run, orders(3)))
        wait_until(lambda: somebody_waits(query))
        yield load.step(chunks[1])

    second: list[Future[Published]] = []
    load.publish(plan, arriving(), allow)

    assert second[0].result(timeout=PATIENCE).account.loaded == 1
    assert query.table() == rows(1, 2, 3)


def test_two_first_loads_into_a_new_schema_both_arrive(
    warehouse: PostgresWarehouse, query: Query, threads: ThreadPoolExecutor
) -> None:
    plan, chunks = planned(orders(1))
    load = LoadTrial(warehouse, "direct").open(SCHEMA)

    def arriving() -> Iterator[LoadedChunk]:
        other.append(threads.submit(LoadTrial(warehouse, "direct", "sales.others").run, orders(2)))
        wait_until(lambda: somebody_waits(query))
        yield from results_of(load, chunks)

    other: list[Future[Published]] = []
    load.publish(plan, arriving(), allow)

    assert other[0].result(timeout=PATIENCE).way == "direct"
    assert (query.table(), query.table("sales.others")) == (rows(1), rows(2))


# ── whole or refused ─────────────────────────────────────────────────────────────────────────────


def broken_plans() -> dict[str, tuple[SourcePlan, list[Chunk]]]:
    """Return loads that are not whole."""
    plan, chunks = planned(orders(1, 2), orders(3))
    pieces = chunks_of("u0", orders(1), orders(2))
    one = SourcePlan((a_unit("u0", 2),), SCHEMA)
    return {
        "unit missing": (plan, chunks[:1]),
        "chunk missing": (one, pieces[:1]),
        "first chunk missing": (one, pieces[1:]),
        "unit not planned": (one, chunks),
        "fewer rows than announced": (SourcePlan((a_unit("u0", 3),), SCHEMA), pieces),
        "more rows than announced": (SourcePlan((a_unit("u0", 1),), SCHEMA), pieces),
        "unbalanced": (one, [replace(pieces[0], read=2), pieces[1]]),
    }


@WAYS
@pytest.mark.parametrize("case", broken_plans())
def test_a_load_that_is_not_whole_leaves_the_target_as_it_was(
    warehouse: PostgresWarehouse, query: Query, way: str, case: str
) -> None:
    LoadTrial(warehouse, way).run(orders(0))
    plan, chunks = broken_plans()[case]

    # The CHECK of `load_chunk` refuses an unbalanced chunk before the tally sees it.
    with pytest.raises(DataprocError if case == "unbalanced" else CountMismatchError):
        LoadTrial(warehouse, way).publish(plan, chunks)

    assert (query.table(), query.count("load_ledger")) == (rows(0), 1)


@WAYS
def test_limits_are_checked_before_anything_is_published(warehouse: PostgresWarehouse, query: Query, way: str) -> None:
    def refuse(totals: Totals) -> None:
        raise TooManyRejectsError(account=totals.account)

    plan, chunks = planned(orders(1))

    with pytest.raises(TooManyRejectsError) as raised:
        LoadTrial(warehouse, way).publish(plan, chunks, refuse)

    assert raised.value.context["account"] == Account(1, 1)
    assert (query.exists(), query.count("load_ledger")) == (False, 0)


@WAYS
def test_an_error_on_the_way_leaves_nothing(warehouse: PostgresWarehouse, query: Query, way: str) -> None:
    load = LoadTrial(warehouse, way).open(SCHEMA)
    plan, chunks = planned(orders(1), orders(2))

    def failing() -> Iterator[LoadedChunk]:
        yield load.step(chunks[0])
        raise ContractViolationError(column="amount")

    with pytest.raises(ContractViolationError):
        load.publish(plan, failing(), allow)
    assert (query.exists(), query.count("load_ledger")) == (False, 0)


@WAYS
def test_readers_see_all_of_a_load_or_none_of_it(
    warehouse: PostgresWarehouse, query: Query, way: str, threads: ThreadPoolExecutor
) -> None:
    LoadTrial(warehouse, way).run(orders(0))
    done = threading.Event()
    seen = threads.submit(counts_seen, query.url, done)
    plan, chunks = planned(*(orders(*range(100 * i + 1, 100 * i + 101)) for i in range(10)))
    load = LoadTrial(warehouse, way).open(SCHEMA)

    def arriving() -> Iterator[LoadedChunk]:
        for chunk in chunks:
            yield load.step(chunk)
            assert len(query.table()) == 1

    try:
        load.publish(plan, arriving(), allow)
    finally:
        done.set()

    assert set(seen.result(timeout=PATIENCE)) <= {(1, 1), (1001, 2)}
    assert len(query.table()) == 1001


def counts_seen(url: str, done: threading.Event) -> list[tuple[int, int]]:
    """Return how many rows of the target and of the ledger a reader saw, again and again."""
    seen = []
    look = "SELECT (SELECT count(*) FROM sales.orders), (SELECT count(*) FROM dataproc_load.load_ledger)"
    with psycopg.connect(url, autocommit=True) as conn:
        while not done.is_set():
            seen += conn.execute(look).fetchall()
    return seen


# ── twins ────────────────────────────────────────────────────────────────────────────────────────


@WAYS
def test_a_chunk_that_comes_twice_is_loaded_once(warehouse: PostgresWarehouse, query: Query, way: str) -> None:
    plan, chunks = planned(orders(1, 2), orders(3))

    published = LoadTrial(warehouse, way).publish(plan, [*chunks, *reversed(chunks)])

    assert (published.account, query.table()) == (Account(3, 3), rows(1, 2, 3))


@WAYS
def test_a_chunk_that_comes_again_with_other_rows_is_refused(
    warehouse: PostgresWarehouse, query: Query, way: str
) -> None:
    plan, chunks = planned(orders(1))
    [other] = chunks_of("u0", orders(9))

    with pytest.raises(CountMismatchError, match=r"unit u0, chunk 0 was .* with different rows"):
        LoadTrial(warehouse, way).publish(plan, [*chunks, other])

    assert query.table() == []


def test_a_chunk_that_is_staged_again_with_other_rows_is_refused_though_the_first_result_was_lost(
    warehouse: PostgresWarehouse,
) -> None:
    load = LoadTrial(warehouse, "staged").open(SCHEMA)
    [chunk], [other] = chunks_of("u0", orders(1)), chunks_of("u0", orders(9))
    load.step(chunk)

    with pytest.raises(CountMismatchError, match=r"unit u0, chunk 0 was read twice with different rows"):
        load.step(other)


def test_twins_that_stage_at_the_same_time_stage_once(
    warehouse: PostgresWarehouse, query: Query, threads: ThreadPoolExecutor
) -> None:
    load = LoadTrial(warehouse, "staged").open(SCHEMA)
    plan, chunks = planned(orders(*range(2000)))
    start = threading.Barrier(4)

    def stage(_: int) -> LoadedChunk:
        start.wait()
        return load.step(chunks[0])

    staged = list(threads.map(stage, range(4)))

    assert len(set(map(repr, staged))) == 1
    assert load.publish(plan, iter(staged), allow).account == Account(2000, 2000)
    assert len(query.table()) == 2000


def test_a_twin_knows_the_rows_that_the_warehouse_refused_the_first_time(
    warehouse: PostgresWarehouse, query: Query
) -> None:
    load = LoadTrial(warehouse, "staged").open(SCHEMA)
    bad = pa.table({"id": pa.array([1, 2], pa.int64()), "note": ["order 1", "\x00"]})
    plan, chunks = planned(bad)
    lost = load.step(chunks[0])  # staged, but the worker dies before it can tell

    again = load.step(chunks[0])

    assert again == lost
    assert load.publish(plan, iter([again]), allow).account == Account(2, 1, 1)
    assert query("SELECT position, raw_row FROM dataproc_load.reject") == [(1, '{"id": 2, "note": "\\u0000"}')]


def test_the_staged_way_halves_until_the_refused_rows_are_alone(warehouse: PostgresWarehouse, query: Query) -> None:
    notes = [f"order {i}" if i % 7 else "\x00" for i in range(64)]
    table = pa.table({"id": pa.array(range(64), pa.int64()), "note": notes})

    published = LoadTrial(warehouse, "staged").run(table)

    bad = [i for i in range(64) if i % 7 == 0]
    assert query.table() == [(i, f"order {i}") for i in range(64) if i % 7]
    assert published.account == Account(64, 64 - len(bad), len(bad))
    assert query("SELECT position, rule, column_name FROM dataproc_load.reject ORDER BY 1") == [
        (i, "warehouse", "note") for i in bad
    ]


# ── staging tables ───────────────────────────────────────────────────────────────────────────────


def staged_load(trial: LoadTrial, *ids: int) -> tuple[Load, SourcePlan, list[LoadedChunk]]:
    """Stage a load; return what it takes to publish it."""
    load = trial.open(SCHEMA)
    plan, chunks = planned(orders(*ids))
    return load, plan, [load.step(chunk) for chunk in chunks]


def test_staging_is_unlogged_and_registered_until_it_is_cleaned(warehouse: PostgresWarehouse, query: Query) -> None:
    trial = LoadTrial(warehouse, "staged")
    staged_load(trial, 1)
    name = f"staging_{trial.load_id.job_id.hex}_1"

    assert query("SELECT relpersistence FROM pg_class WHERE relname = %s", name) == [("u",)]
    assert query("SELECT staging_table FROM dataproc_load.load_staging") == [(name,)]

    warehouse.clean(trial.load_id.job_id, 1)

    assert (query.staging(), query.count("load_staging"), query.count("load_chunk")) == ([], 0, 0)


def test_cleaning_leaves_what_is_not_registered_or_not_over(warehouse: PostgresWarehouse, query: Query) -> None:
    trial = LoadTrial(warehouse, "staged", load_id=a_load_id(epoch=2))
    staged_load(trial, 1)
    query("CREATE TABLE dataproc_load.staging_of_somebody (x int)")

    warehouse.clean(trial.load_id.job_id, 1)
    warehouse.clean(a_load_id().job_id, 99)

    assert len(query.staging()) == 2


def test_a_task_that_stages_for_an_epoch_that_is_over_is_fenced(warehouse: PostgresWarehouse, query: Query) -> None:
    trial = LoadTrial(warehouse, "staged")
    load, _, _ = staged_load(trial, 1)
    [late] = chunks_of("late", orders(2))
    warehouse.clean(trial.load_id.job_id, 1)

    with pytest.raises(FencedError, match="the epoch is over"):
        load.step(late)

    assert query.count("load_chunk") == 0


def test_cleaning_does_not_wait_for_a_task_that_hangs(warehouse: PostgresWarehouse, query: Query) -> None:
    trial = LoadTrial(warehouse, "staged")
    load, _, _ = staged_load(trial, 1)
    assert isinstance(load, StagedLoad)
    with query.open() as conn:
        conn.execute(f"INSERT INTO dataproc_load.staging_{trial.load_id.job_id.hex}_1 VALUES (2, 'hangs')".encode())

        warehouse.clean(trial.load_id.job_id, 1)

        assert query.staging() == []
        with pytest.raises(psycopg.OperationalError):
            conn.execute("SELECT 1")


def test_staging_emptied_by_a_crash_is_staged_again_by_the_next_attempt(
    warehouse: PostgresWarehouse, query: Query
) -> None:
    trial = LoadTrial(warehouse, "staged")
    load, plan, staged = staged_load(trial, 1, 2)
    query(f"TRUNCATE dataproc_load.staging_{trial.load_id.job_id.hex}_1")

    with pytest.raises(WarehouseUnavailableError, match="2 rows were staged, and 0 are left after a crash"):
        load.publish(plan, iter(staged), allow)

    assert query.table() == []


def test_rows_that_nobody_staged_are_not_published(warehouse: PostgresWarehouse, query: Query) -> None:
    trial = LoadTrial(warehouse, "staged")
    load, plan, staged = staged_load(trial, 1)
    query(f"INSERT INTO dataproc_load.staging_{trial.load_id.job_id.hex}_1 VALUES (9, 'foreign')")

    with pytest.raises(CountMismatchError, match="1 rows were staged, and 2 are there"):
        load.publish(plan, iter(staged), allow)

    assert query.table() == []


def test_chunks_that_the_driver_never_heard_of_are_not_published(warehouse: PostgresWarehouse, query: Query) -> None:
    load, plan, staged = staged_load(LoadTrial(warehouse, "staged"), 1)
    [unheard] = chunks_of("unheard", orders(9))
    load.step(unheard)

    with pytest.raises(CountMismatchError, match="the chunks in the warehouse say"):
        load.publish(plan, iter(staged), allow)

    assert query.table() == []


# ── the choice of the way, and secrets ───────────────────────────────────────────────────────────


@pytest.mark.parametrize(("asked", "size", "taken"), [
    ("auto", 10, "direct"), ("auto", 11, "staged"), ("direct", 11, "direct"), ("staged", 0, "staged"),
])  # fmt: skip
def test_auto_chooses_by_size_and_a_spec_that_says_is_obeyed(
    warehouse_url: str, asked: str, size: int, taken: str
) -> None:
    warehouse = PostgresWarehouse(warehouse_url, direct_limit=10)

    plan = SourcePlan((a_unit(size=size),), SCHEMA)
    assert LoadTrial(warehouse, asked).open(SCHEMA, plan).way == taken
    assert (
        warehouse.preview(Destination.model_validate({"table": TABLE, "load": asked}), SCHEMA, plan_of_size(size)).way
        == taken
    )


def test_a_type_without_a_binary_form_goes_the_staged_way(warehouse: PostgresWarehouse, query: Query) -> None:
    query("CREATE SCHEMA sales; CREATE TABLE sales.orders (id bigint, note interval)")

    published = LoadTrial(warehouse, "direct").run(pa.table({"id": pa.array([1], pa.int64()), "note": ["1 day"]}))

    assert published.way == "staged"


@WAYS
def test_a_url_is_not_shown(warehouse: PostgresWarehouse, way: str) -> None:
    load = LoadTrial(PostgresWarehouse(warehouse.url, ALWAYS_DIRECT), way).open(SCHEMA)

    assert warehouse.url not in f"{load!r}{load.step!r}{warehouse!r}"
