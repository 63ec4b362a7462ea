"""What must hold after any fault: the invariants of the load protocol, checked by one function."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise

import psycopg
from psycopg import sql

from dataproc.domain.status import RunStatus
from dataproc.repositories.store import PostgresStore
from tests.faults.modes import FILES, PERSONAL, Row, loaded_rows, source_rows
from tests.faults.server import OBSERVER
from tests.faults.world import SECRET, Case, World, state_of
from tests.waiting import wait_until

COUNTS = "rows_read, rows_loaded, rows_rejected, rows_filtered, rows_deduplicated"
LEFT_OVER = """
SELECT 'table ' || relname FROM pg_class
WHERE relkind = 'r' AND (relname LIKE 'staging\\_%' OR relname LIKE 'replacement\\_%' OR relname LIKE 'replaced\\_%')
UNION ALL SELECT 'registration ' || staging_table FROM dataproc_load.load_staging
UNION ALL SELECT 'chunk ' || unit || ' ' || seq FROM dataproc_load.load_chunk
UNION ALL SELECT 'lease of ' || job_id FROM job_leases
"""
OBJECTS = """
SELECT job_id, count(*) FROM dataproc_load.source_object AS known JOIN dataproc_load.memory ON memory.id = memory_id
WHERE target = %s GROUP BY job_id
"""
BROKEN_VERSIONS = """
SELECT {keys}, {valid_from}, {valid_to}, {is_current}, next FROM (
    SELECT *, lead({valid_from}) OVER of_key AS next, count(*) FILTER (WHERE {is_current}) OVER all_of_key AS current
    FROM {table}
    WINDOW all_of_key AS (PARTITION BY {keys}), of_key AS (PARTITION BY {keys} ORDER BY {valid_from}, {valid_to})
) AS version
WHERE {valid_to} < {valid_from} OR next < {valid_to} OR (next IS NOT NULL AND {valid_to} IS NULL) OR current > 1
   OR {is_current} IS DISTINCT FROM ({valid_to} IS NULL)
"""
"""Versions that end before they begin or after the next one begins, that hold beside another, or are marked wrong."""
STILL_OPEN = """
SELECT 'advisory lock of ' || pid FROM pg_locks
WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
UNION ALL SELECT 'transaction of ' || pid || ': ' || query FROM pg_stat_activity
WHERE datname = current_database() AND xact_start IS NOT NULL AND application_name <> 'observer'
"""


def check(world: World, case: Case, *ends: RunStatus) -> None:
    """Demand all invariants of a case whose job had to end in one of `ends`."""
    assert OBSERVER in STILL_OPEN
    invariants: tuple[Callable[[World, Case], Iterator[str]], ...] = (
        target_is_as_expected,
        ledger_agrees_with_target,
        versions_follow_each_other,
        reader_saw_no_part,
        memory_is_that_of_what_is_published,
        nothing_is_left_over,
        statuses_are_legal,
        every_end_is_told_once,
        audit_is_whole,
        nothing_is_told_that_should_not_be,
        accounts_are_balanced,
    )
    broken = [f"{invariant.__name__}: {text}" for invariant in invariants for text in invariant(world, case)]
    if (status := status_of(world, case)) not in ends:
        broken.append(f"the job is {status}, and had to be one of {[end.value for end in ends]}")
    assert broken == [], "\n".join(broken)


def status_of(world: World, case: Case) -> str | None:
    """Return how the job stands."""
    found = world.fetch("SELECT status FROM jobs WHERE id = %s", case.job_id)
    return found[0][0] if found else None


def is_published(world: World, case: Case) -> bool:
    """Whether the job had to bring its rows into the target."""
    return status_of(world, case) == RunStatus.COMPLETED


def expected_rows(world: World, case: Case) -> Counter[Row]:
    """Return what has to be in the target."""
    return case.mode.after() if is_published(world, case) else Counter(case.before)


def target_is_as_expected(world: World, case: Case) -> Iterator[str]:
    """I1: the target holds the rows that it should, each as often as it should."""
    wanted, found = expected_rows(world, case), Counter(rows_of(world, case.table))
    if found != wanted:
        yield f"{(wanted - found).total()} rows are missing, {(found - wanted).total()} are too many"
    rejected = world.fetch(
        "SELECT count(*), count(DISTINCT (unit, position)) FROM dataproc_load.reject WHERE job_id = %s", case.job_id
    )
    rejects = sum(row[1] is not None and row[3] < 0 for row in source_rows()) if is_published(world, case) else 0
    if rejected != [(rejects, rejects)]:
        yield f"{rejects} rows had to be set aside, and (rows, distinct) are {rejected}"


def rows_of(world: World, table: str) -> list[Row]:
    """Return the rows of a table; a table that is not there has none."""
    try:
        return world.fetch(sql.SQL("SELECT * FROM {}").format(sql.Identifier(*table.split("."))).as_string())
    except psycopg.errors.UndefinedTable:
        return []


def ledger_agrees_with_target(world: World, case: Case) -> Iterator[str]:
    """I2: there is one ledger row of a load that was published, and none of another."""
    found = world.fetch("SELECT target, run_id FROM dataproc_load.load_ledger WHERE job_id = %s", case.job_id)
    if len(found) != is_published(world, case):
        yield f"the job is {status_of(world, case)}, and its ledger rows are {found}"
    published = len(rows_of(world, case.table)) > len(case.before)
    if len(found) != published:
        yield f"the ledger has {len(found)} rows, and whether the target has the job's rows is {published}"
    runs = {run for (run,) in world.fetch("SELECT id FROM job_runs WHERE job_id = %s", case.job_id)}
    if not {run for _, run in found} <= runs:
        yield "the ledger names a run that nobody knows"


def versions_follow_each_other(world: World, case: Case) -> Iterator[str]:
    """I1 for scd2: the versions of a key do not overlap, and one of them holds at most."""
    if case.mode.options.get("mode") == "scd2":
        keys = tuple(case.mode.options["keys"])
        yield from (f"version {version} is wrong" for version in world.fetch(broken_versions(case.table, keys)))


def broken_versions(
    table: str, keys: Iterable[str], names: tuple[str, str, str] = ("valid_from", "valid_to", "is_current")
) -> str:
    """Return the statement that finds the versions of a table that contradict others of the same key."""
    named = dict(zip(("valid_from", "valid_to", "is_current"), map(sql.Identifier, names), strict=True))
    listed = sql.SQL(", ").join(map(sql.Identifier, keys))
    statement = sql.SQL(BROKEN_VERSIONS).format(table=sql.Identifier(*table.split(".")), keys=listed, **named)
    return statement.as_string()


def reader_saw_no_part(world: World, case: Case) -> Iterator[str]:
    """I3: a reader saw the target as it was before or as it is after, and nothing between."""
    with psycopg.connect(world.url, autocommit=True) as conn:
        after = state_of(conn, case.table)
    legal = {len(case.before), after.rows}
    if partial := {state.rows for state in case.reader.seen if state.rows not in legal}:
        yield f"the reader saw {partial} rows, and only {legal} are whole"
    if other := {state for state in case.reader.seen if state.rows == after.rows and state != after}:
        yield f"the reader saw other rows: {other}, and in the end there are {after}"


def memory_is_that_of_what_is_published(world: World, case: Case) -> Iterator[str]:
    """I4: the watermark and the objects are those of the rows in the target, at any moment."""
    if ahead := {state for state in case.reader.seen if state.rows == len(case.before) and state.watermark is not None}:
        yield f"the watermark passed what was published: {ahead}"
    told = world.fetch("SELECT cursor, watermark FROM dataproc_load.memory WHERE target = %s", case.table)
    wanted = [("id", str(max(row[0] for row in source_rows())))] if is_published(world, case) else []
    if told != wanted:
        yield f"the memory had to be {wanted}, and is {told}"
    objects = world.fetch(OBJECTS, case.table)
    if objects != ([(case.job_id, FILES)] if is_published(world, case) else []):
        yield f"the objects that are remembered are {objects}"


def nothing_is_left_over(world: World, _: Case) -> Iterator[str]:
    """I5: no staging, no chunk that waits, no lease, no lock and no open transaction."""
    yield from (text for (text,) in world.fetch(LEFT_OVER))
    # The server takes a moment to notice that a session is gone.
    wait_until(lambda: not world.fetch(STILL_OPEN))


def statuses_are_legal(world: World, case: Case) -> Iterator[str]:
    """I6: every accepted job is at its end, and nothing ever followed an end."""
    statuses = [RunStatus(status) for status in history(world, case)]
    if len(set(case.accepted)) != 1:
        yield f"one key gave these jobs: {case.accepted}"
    if not statuses or statuses[0] is not RunStatus.PENDING:
        yield f"the job was not PENDING first: {statuses}"
    for before, after in pairwise(statuses):
        is_requeued = before.is_running and after is RunStatus.PENDING
        if not (before.may_become(after) or is_requeued):
            yield f"{after} came after {before}"
    unfinished = world.fetch("SELECT id, status FROM jobs WHERE status = ANY(%s)", unfinished_statuses())
    if unfinished:
        yield f"jobs have not come to an end: {unfinished}"


def history(world: World, case: Case) -> list[str]:
    """Return every status of the case's job that was ever committed."""
    noted = "SELECT status FROM observer.status WHERE job_id = %s ORDER BY seq"
    return [status for (status,) in world.fetch(noted, case.job_id)]


def unfinished_statuses() -> list[str]:
    """Return the statuses that are no end."""
    return [status.value for status in RunStatus if not status.is_final]


def every_end_is_told_once(world: World, case: Case) -> Iterator[str]:
    """I7: one event for each end, delivered at least once under its own id."""
    ends = [status.lower() for status in history(world, case) if RunStatus(status).is_final]
    events = world.fetch("SELECT id, kind, delivered_at FROM outbox WHERE job_id = %s", case.job_id)
    if sorted(kind for _, kind, _ in events) != sorted(f"job.{end}" for end in ends):
        yield f"the job's ends were {ends}, and its events are {[kind for _, kind, _ in events]}"
    received = [json.loads(line) for line in world.mailbox.read_text().splitlines()] if world.mailbox.exists() else []
    ids = {event["id"] for event in received if event["job_id"] == str(case.job_id)}
    if ids != {str(event_id) for event_id, _, _ in events}:
        yield f"events {[str(event_id) for event_id, _, _ in events]} were recorded, and {ids} received"
    if any(delivered_at is None for _, _, delivered_at in events):
        yield "an event was delivered, and that was not noted"


def audit_is_whole(world: World, case: Case) -> Iterator[str]:
    """I8, first half: the audit's chains hold, with one entry for each mutation."""
    if (broken := asyncio.run(first_broken(world))) is not None:
        yield f"the chain of the audit is broken at {broken}"
    wanted = Counter(["job.created", *(["job.cancelled"] if case.cancelled else [])])
    entries = world.fetch("SELECT action FROM audit_logs WHERE subject = %s", str(case.job_id))
    if Counter(action for (action,) in entries) != wanted:
        yield f"the audit had to have {dict(wanted)}, and has {entries}"


async def first_broken(world: World) -> tuple[int, int] | None:
    """Return where the audit's chain is broken."""
    store = PostgresStore.open(world.url, world.settings)
    try:
        async with store.begin() as tables:
            return await tables.audit.first_broken()
    finally:
        await store.close()


def nothing_is_told_that_should_not_be(world: World, _: Case) -> Iterator[str]:
    """I8, second half: no secret and no personal value in any table of ours, in any log or event.

    Rows that were set aside are kept as they are, in a table that is as closed as the target.
    """
    tables = "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('public', 'dataproc_load')"
    for schema, table in world.fetch(tables):
        if table == "reject" or table.startswith("staging_"):
            continue
        look = sql.SQL("SELECT count(*) FROM {} AS t WHERE t::text LIKE ANY(%s)").format(sql.Identifier(schema, table))
        [(found,)] = world.fetch(look.as_string(), [f"%{SECRET}%", f"%{PERSONAL}%"])
        if found:
            yield f"{found} rows of {schema}.{table} hold what they should not"
    for path in (world.log, world.mailbox):
        text = path.read_text() if path.exists() else ""
        yield from (f"{path.name} has {planted}" for planted in (SECRET, PERSONAL) if planted in text)


def accounts_are_balanced(world: World, case: Case) -> Iterator[str]:
    """I9: each row that was read is accounted for, in all and in each unit."""
    everything = source_rows()
    filtered = sum(row[1] is None for row in everything)
    rejected = sum(row[1] is not None and row[3] < 0 for row in everything)
    wanted = (len(everything), loaded_rows().total(), rejected, filtered, 0)
    ledger = world.fetch(f"SELECT {COUNTS} FROM dataproc_load.load_ledger WHERE job_id = %s", case.job_id)
    units = world.fetch(f"SELECT {COUNTS} FROM dataproc_load.load_unit WHERE job_id = %s", case.job_id)
    if not is_published(world, case):
        if units:
            yield f"nothing was published, and there are accounts of units: {units}"
        return
    if ledger != [wanted]:
        yield f"the ledger says {ledger}, and it had to be {wanted}"
    if tuple(map(sum, zip(*units, strict=True))) != wanted:
        yield f"the units add up to {units}, and had to be {wanted}"
    if any(read != loaded + rejected + left_out + doubled for read, loaded, rejected, left_out, doubled in units):
        yield f"rows of a unit went missing: {units}"
