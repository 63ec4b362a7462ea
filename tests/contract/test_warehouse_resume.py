"""Going on with what an earlier epoch has staged: nothing twice, nothing lost, and no zombie can add to it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain

import psycopg
import pyarrow as pa
import pytest

from dataproc.domain.chunk import Account, Chunk, LoadedChunk
from dataproc.domain.errors import DataprocError, FencedError
from dataproc.domain.unit import SourcePlan
from dataproc.ports.warehouse import Load
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.waiting import PATIENCE
from tests.warehouses import (
    LoadTrial,
    Query,
    a_load_id,
    a_unit,
    allow,
    chunks_of,
    rejects_at,
)


def orders(*ids: int) -> pa.Table:
    return pa.table({"id": pa.array(ids, pa.int64()), "note": pa.array([f"order {i}" for i in ids], pa.string())})


def rows(*ids: int) -> list[tuple[int, str]]:
    return [(i, f"order {i}") for i in ids]


CHUNKS = chunks_of("u0", orders(1), orders(2, 3)) + chunks_of("u1", orders(4), orders(5))
PLAN = SourcePlan((a_unit("u0", 3), a_unit("u1", 2)), orders().schema)


def first_epoch(warehouse: PostgresWarehouse, chunks: list[Chunk]) -> tuple[LoadTrial, Load]:
    """Stage some chunks under the first epoch."""
    trial = LoadTrial(warehouse, "staged")
    load = trial.open(PLAN.schema, PLAN)
    for chunk in chunks:
        load.step(chunk)
    return trial, load


def next_epoch(trial: LoadTrial) -> LoadTrial:
    """Return the same job under its next epoch."""
    return replace(trial, load_id=a_load_id(trial.load_id.epoch + 1, trial.load_id.job_id))


def publish_rest(load: Load) -> Account:
    """Load the units that are not staged as a whole, and publish all."""
    staged = {chunk.unit for chunk in load.staged_before}
    rest: Iterator[LoadedChunk] = (load.step(chunk) for chunk in CHUNKS if chunk.unit not in staged)
    return load.publish(PLAN, chain(load.staged_before, rest), allow).account


@pytest.mark.parametrize("staged", range(len(CHUNKS) + 1))
def test_whatever_was_staged_each_row_is_loaded_once(warehouse: PostgresWarehouse, query: Query, staged: int) -> None:
    trial, _ = first_epoch(warehouse, CHUNKS[:staged])

    load = next_epoch(trial).open(PLAN.schema, PLAN)

    assert {chunk.unit for chunk in load.staged_before} == set(["u0", "u1"][: staged // 2])
    assert publish_rest(load) == Account(5, 5)
    assert query.table() == rows(1, 2, 3, 4, 5)
    assert [query.count(name) for name in ("load_staging", "load_chunk", "load_ledger")] == [0, 0, 1]
    assert query.staging() == []


def test_rejects_that_wait_with_their_chunks_are_kept(warehouse: PostgresWarehouse, query: Query) -> None:
    [chunk] = chunks_of("u0", orders(1, 2))
    chunk = replace(chunk, read=3).keep(chunk.rows, rejects=rejects_at(2))
    plan = SourcePlan((a_unit("u0", 3),), PLAN.schema)
    trial = LoadTrial(warehouse, "staged")
    trial.open(plan.schema, plan).step(chunk)

    again = next_epoch(trial)
    load = again.open(plan.schema, plan)

    assert load.publish(plan, iter(load.staged_before), allow).account == Account(3, 2, 1)
    assert query("SELECT run_id, position FROM dataproc_load.reject") == [(again.load_id.run_id, 2)]


def test_an_epoch_may_take_over_from_one_that_took_over(warehouse: PostgresWarehouse, query: Query) -> None:
    trial, _ = first_epoch(warehouse, CHUNKS[:2])
    second = next_epoch(trial)
    second.open(PLAN.schema, PLAN).step(CHUNKS[2])

    assert publish_rest(next_epoch(second).open(PLAN.schema, PLAN)) == Account(5, 5)
    assert query.table() == rows(1, 2, 3, 4, 5)


def test_staging_that_a_crash_has_emptied_is_not_taken_over(warehouse: PostgresWarehouse, query: Query) -> None:
    trial, _ = first_epoch(warehouse, CHUNKS)
    query(f"TRUNCATE dataproc_load.{query.staging()[0]}")

    load = next_epoch(trial).open(PLAN.schema, PLAN)

    assert (load.staged_before, query.count("load_chunk")) == ((), 0)
    assert publish_rest(load) == Account(5, 5)


def test_staging_that_somebody_has_dropped_is_not_taken_over(warehouse: PostgresWarehouse, query: Query) -> None:
    trial, _ = first_epoch(warehouse, CHUNKS)
    query(f"DROP TABLE dataproc_load.{query.staging()[0]}")

    assert publish_rest(next_epoch(trial).open(PLAN.schema, PLAN)) == Account(5, 5)


@pytest.mark.parametrize("change", ["a version", "the columns", "the target"])
def test_what_is_no_longer_the_same_is_loaded_anew(warehouse: PostgresWarehouse, query: Query, change: str) -> None:
    trial, _ = first_epoch(warehouse, CHUNKS)
    plan = PLAN
    if change == "a version":
        plan = SourcePlan((a_unit("u0", 3), replace(a_unit("u1", 2), id="u1@2")), PLAN.schema)
    elif change == "the columns":
        plan = SourcePlan(PLAN.units, PLAN.schema.remove(1))
    else:
        query("CREATE SCHEMA sales; CREATE TABLE sales.orders (id bigint, note varchar(20))")

    load = next_epoch(trial).open(plan.schema, plan)

    assert (load.staged_before, query.count("load_chunk"), len(query.staging())) == ((), 0, 1)


def test_a_zombie_adds_nothing_to_what_was_taken_over(warehouse: PostgresWarehouse, query: Query) -> None:
    trial, zombie = first_epoch(warehouse, [])
    staged = [zombie.step(chunk) for chunk in CHUNKS]
    load = next_epoch(trial).open(PLAN.schema, PLAN)

    for chunk in CHUNKS:
        with pytest.raises(FencedError):
            zombie.step(chunk)
    with pytest.raises(FencedError):
        zombie.publish(PLAN, iter(staged), allow)

    assert publish_rest(load) == Account(5, 5)
    assert query.table() == rows(1, 2, 3, 4, 5)


def test_a_zombie_in_the_middle_of_a_chunk_is_ended_and_leaves_nothing(
    warehouse: PostgresWarehouse, query: Query
) -> None:
    trial, _ = first_epoch(warehouse, CHUNKS[:2])
    with query.open() as conn:
        conn.execute(f"INSERT INTO dataproc_load.{query.staging()[0]} VALUES (9, 'hangs')".encode())

        load = next_epoch(trial).open(PLAN.schema, PLAN)

        with pytest.raises(psycopg.OperationalError):
            conn.execute("SELECT 1")
    assert publish_rest(load) == Account(5, 5)
    assert query.table() == rows(1, 2, 3, 4, 5)


def test_zombies_that_go_on_staging_while_they_are_overtaken_add_nothing(
    warehouse: PostgresWarehouse, query: Query, threads: ThreadPoolExecutor
) -> None:
    trial, zombie = first_epoch(warehouse, [])

    def stage(chunk: Chunk) -> bool:
        try:
            zombie.step(chunk)
        except DataprocError:
            return False
        return True

    staging = [threads.submit(stage, chunk) for chunk in CHUNKS]
    load = next_epoch(trial).open(PLAN.schema, PLAN)
    told = [each.result(timeout=PATIENCE) for each in staging]

    assert len(told) == len(CHUNKS)
    assert publish_rest(load) == Account(5, 5)
    assert query.table() == rows(1, 2, 3, 4, 5)
