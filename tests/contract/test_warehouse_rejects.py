"""What was set aside, in the warehouse: looked at page by page, encrypted where it is personal, taken once."""

import json
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import UUID, uuid4

import numpy as np
import pyarrow as pa
import pytest

from dataproc.domain.across import Across
from dataproc.domain.chunk import LONGEST_ROW
from dataproc.domain.errors import InvalidSpecError, MemoryChangedError, RetryableError, SetupError
from dataproc.domain.keys import KeyRule, key_schema, keys_of
from dataproc.domain.replay import Replay, Selection
from dataproc.domain.unit import SourcePlan
from dataproc.ports.cipher import NO_KEYS
from dataproc.ports.rejects import RejectCount, StoredReject
from dataproc.security.ciphers import DataKeyCipher
from dataproc.transforms.breaks import Break, reject_table
from dataproc.warehouse.connection import connect
from dataproc.warehouse.reject_table import LARGEST_PAGE, WarehouseRejects, mark_replayed
from dataproc.warehouse.rejects import in_ascii, pack, unpack
from dataproc.warehouse.setup import STEPS, prepare
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.fakes.secrets import FakeSecrets
from tests.rejected import REPLAYED, breaks_of, orders, rejected, replayed, set_aside
from tests.warehouses import LoadTrial, Query, a_load_id, a_unit, allow, chunks_of

KEY = "secret://dataproc#key"
CIPHER = DataKeyCipher((KEY,), FakeSecrets({KEY: b64encode(bytes(range(32))).decode()}))
WAYS = pytest.mark.parametrize("way", ["direct", "staged"])
PERSONAL = "zoe@example.com"


def pages(url: str, selection: Selection, limit: int, largest_page: int = LARGEST_PAGE) -> list[list[StoredReject]]:
    """Return all pages of a selection."""
    found, after = [], 0
    rejects = WarehouseRejects(url, largest_page=largest_page)
    while True:
        page = rejects.page(selection, after=after, limit=limit)
        found.append(list(page.rejects))
        if page.after is None:
            return found
        after = page.after


@WAYS
def test_a_reject_tells_where_it_comes_from_and_why(warehouse: PostgresWarehouse, query: Query, way: str) -> None:
    job = set_aside(warehouse, orders(7), way=way)

    [[found]] = pages(warehouse.url, Selection(job), 10)

    [(run,)] = query("SELECT run_id FROM dataproc_load.load_ledger")
    assert (found.run, found.attempt, found.unit, found.position) == (run, 1, "u0", 0)
    assert (found.rule, found.code, found.column) == ("ge", "ge", "amount")
    assert found.reason == "column 'amount' is not ge 0"
    assert json.loads(found.row or "") == {"id": 7, "amount": "-7.50"}
    assert (found.is_row, found.is_encrypted, found.replayed_by) == (True, False, None)


def test_pages_go_on_where_the_one_before_ended(warehouse: PostgresWarehouse) -> None:
    job = set_aside(warehouse, orders(*range(5)), "ge", "le")
    set_aside(warehouse, orders(9))

    by_four, by_five, of_rule = (
        pages(warehouse.url, which, limit)
        for which, limit in ((Selection(job), 4), (Selection(job), 5), (Selection(job, "le", "amount"), 4))
    )

    assert [len(page) for page in by_four] == [4, 4, 2]
    assert [len(page) for page in by_five] == [5, 5]
    assert [[each.position for each in page] for page in of_rule] == [[0, 1, 2, 3], [4]]
    assert [each.position for page in by_four for each in page] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert pages(warehouse.url, Selection(job, "pattern"), 4) == [[]]


def test_a_page_of_large_rows_ends_early_and_loses_none(warehouse: PostgresWarehouse) -> None:
    rows = pa.table({"id": list(range(5)), "amount": ["x" * 600] * 5})
    job = set_aside(warehouse, rows)

    found = pages(warehouse.url, Selection(job), 4, largest_page=1000)

    assert [[each.position for each in page] for page in found] == [[0, 1], [2, 3], [4]]


def test_counts_tell_each_rule_and_what_was_replayed(warehouse: PostgresWarehouse) -> None:
    job = set_aside(warehouse, orders(1, 2, 3), "ge", "le")

    before = WarehouseRejects(warehouse.url).counts(job)
    replayed(warehouse, rejected(warehouse.url, job))

    assert before == [RejectCount("ge", "amount", 3, 0), RejectCount("le", "amount", 3, 0)]
    assert {each.replayed for each in WarehouseRejects(warehouse.url).counts(job)} == {3}


@WAYS
def test_a_row_is_kept_whole_up_to_a_limit_and_beyond_it_is_no_row(warehouse: PostgresWarehouse, way: str) -> None:
    rows = pa.table({"id": [1, 2], "amount": ["é" * 500_000, "é" * 600_000]})

    job = set_aside(warehouse, rows, way=way)

    whole, cut = (each for page in pages(warehouse.url, Selection(job), 1) for each in page)
    assert (whole.is_row, cut.is_row) == (True, False)
    assert json.loads(whole.row or "")["amount"] == "é" * 500_000
    assert LONGEST_ROW - 4 < len((cut.row or "").encode()) <= LONGEST_ROW


def test_what_the_warehouse_refuses_has_its_sqlstate_as_code(warehouse: PostgresWarehouse, query: Query) -> None:
    query("CREATE SCHEMA sales")
    query("CREATE TABLE sales.orders (id bigint, amount numeric CHECK (amount > 0))")
    LoadTrial(warehouse, "staged").run(orders(1))

    assert query("SELECT rule, code, is_row FROM dataproc_load.reject") == [("warehouse", "23514", True)]


def people(*emails: str) -> pa.Table:
    return pa.table({"id": list(range(len(emails))), "amount": list(emails)})


@WAYS
def test_a_personal_row_is_encrypted_before_it_leaves_the_worker(
    warehouse: PostgresWarehouse, query: Query, way: str
) -> None:
    hiding = warehouse.hiding(CIPHER, personal=True)
    [chunk] = chunks_of("u0", people(PERSONAL))
    breaks = [Break("model", "amount", f"{PERSONAL} is no amount", np.ones(1, np.bool_))]
    kept = chunk.keep(chunk.rows.slice(0, 0), rejects=reject_table(chunk.rows, breaks))
    trial = LoadTrial(hiding, way)
    plan = SourcePlan((a_unit(rows=1),), people().schema)
    load = trial.open(plan.schema, plan)

    loaded = load.step(kept)
    staged = query("SELECT coalesce(string_agg(encode(rejects, 'escape'), ''), '') FROM dataproc_load.load_chunk")
    load.publish(plan, iter([loaded]), allow)

    assert PERSONAL.encode() not in bytes(loaded.rejects)
    assert PERSONAL not in staged[0][0]
    [(raw, reason, is_row, is_encrypted)] = query(
        "SELECT raw_row, reason, is_row, is_encrypted FROM dataproc_load.reject"
    )
    assert PERSONAL not in raw + reason
    assert (is_row, is_encrypted, reason) == (True, True, "the row broke the rule 'model'")
    assert json.loads(CIPHER.decrypt(raw)) == {"id": 0, "amount": PERSONAL}


def test_a_personal_row_that_the_warehouse_refuses_is_not_shown_by_its_words(
    warehouse: PostgresWarehouse, query: Query
) -> None:
    query("CREATE SCHEMA sales")
    query("CREATE TABLE sales.orders (id bigint, amount inet)")
    LoadTrial(warehouse.hiding(CIPHER, personal=True), "staged").run(people(PERSONAL))
    LoadTrial(warehouse, "staged").run(people("nobody"))

    personal, other = query("SELECT reason, code FROM dataproc_load.reject ORDER BY id")
    assert personal == ("invalid text representation", "22P02")
    assert other == ('invalid input syntax for type inet: "nobody"', "22P02")


def test_personal_rows_that_are_not_unique_are_encrypted_too(warehouse: PostgresWarehouse, query: Query) -> None:
    rows = people(PERSONAL, PERSONAL)
    [chunk] = chunks_of("u0", rows)
    rule = KeyRule(("amount",), key_schema(rows.schema, ("amount",)), "quarantine")
    chunk = chunk.with_keys(keys_of(chunk.rows, ("amount",)))
    plan, load_id = SourcePlan((a_unit(rows=2),), rows.schema), a_load_id()
    hiding = warehouse.hiding(CIPHER, personal=True)
    hiding.fence(load_id)
    trial = LoadTrial(hiding, "staged")
    load = hiding.open(load_id, trial.destination, rows.schema, plan, Across((rule,)))

    load.publish(plan, iter([load.step(chunk)]), allow)

    [(raw, is_encrypted)] = query("SELECT raw_row, is_encrypted FROM dataproc_load.reject")
    assert is_encrypted
    assert json.loads(CIPHER.decrypt(raw)) == {"id": 1, "amount": PERSONAL}


def test_without_a_key_personal_rows_are_refused(warehouse: PostgresWarehouse) -> None:
    with pytest.raises(SetupError, match="DATAPROC_ENCRYPTION_KEYS"):
        warehouse.hiding(NO_KEYS, personal=True)

    assert warehouse.hiding(NO_KEYS, personal=False) == warehouse


def test_personal_rows_are_replayed_with_the_key_and_only_as_personal(
    warehouse: PostgresWarehouse, query: Query
) -> None:
    job = set_aside(warehouse.hiding(CIPHER, personal=True), people(PERSONAL))

    with pytest.raises(InvalidSpecError, match="personal: true"):
        rejected(warehouse.url, job, cipher=CIPHER).plan()
    replayed(warehouse, rejected(warehouse.url, job, cipher=CIPHER, personal=True))

    assert query.table(REPLAYED) == [(0, PERSONAL)]


def test_a_replay_marks_all_rejects_of_its_rows_and_no_others(warehouse: PostgresWarehouse, query: Query) -> None:
    job, other = (set_aside(warehouse, orders(1, 2), "ge", "le") for _ in range(2))
    load_id = a_load_id()

    replayed(warehouse, rejected(warehouse.url, job, rule="ge"), load_id=load_id)

    found = query("SELECT job_id, replayed_by, count(*) FROM dataproc_load.reject GROUP BY 1, 2")
    assert set(found) == {(job, load_id.job_id, 4), (other, None, 4)}


@WAYS
def test_a_second_replay_loads_nothing(warehouse: PostgresWarehouse, query: Query, way: str) -> None:
    job = set_aside(warehouse, orders(1, 2))

    first, second = (replayed(warehouse, rejected(warehouse.url, job), way=way) for _ in range(2))

    assert (first.account.loaded, second.account.read) == (2, 0)
    assert query.table(REPLAYED) == [(1, "-1.50"), (2, "-2.50")]


@WAYS
def test_of_two_replays_at_once_one_is_published_and_the_other_tried_again(
    warehouse: PostgresWarehouse, query: Query, threads: ThreadPoolExecutor, way: str
) -> None:
    job = set_aside(warehouse, orders(*range(20)))

    def run(number: int) -> int:
        load_id = a_load_id()
        for epoch in range(1, 20):
            try:
                source = rejected(warehouse.url, job)
                taken = replayed(
                    warehouse, source, load_id=replace(load_id, epoch=epoch), way=way, table=f"sales.t{number}"
                )
            except RetryableError:
                continue
            return taken.account.loaded
        return -1

    loaded = list(threads.map(run, range(4)))

    assert sorted(loaded) == [0, 0, 0, 20]
    [by] = {by for (by,) in query("SELECT replayed_by FROM dataproc_load.reject")}
    assert isinstance(by, UUID)


def test_a_replay_that_was_planned_before_another_is_refused(warehouse: PostgresWarehouse, query: Query) -> None:
    job = set_aside(warehouse, orders(1, 2))

    with connect(warehouse.url) as conn, pytest.raises(MemoryChangedError), conn.transaction():
        mark_replayed(conn, Replay(Selection(job), 3), uuid4())

    assert query("SELECT count(replayed_by) FROM dataproc_load.reject") == [(0,)]


def test_rejects_from_before_this_version_can_be_looked_at_and_stay(empty_database_url: str) -> None:
    prepare(empty_database_url, STEPS[:-1])
    job = uuid4()
    with connect(empty_database_url) as conn:
        conn.execute(
            "INSERT INTO dataproc_load.reject (job_id, run_id, target, unit, position, rule, reason, raw_row) "
            "VALUES (%s, %s, 'a.b', 'u0', 7, 'ge', 'too small', '{\"a\": 1}')",
            (job, uuid4()),
        )

    prepare(empty_database_url)

    [[found]] = pages(empty_database_url, Selection(job), 10)
    assert (found.position, found.attempt, found.code, found.is_row) == (7, None, None, False)
    assert list(WarehouseRejects(empty_database_url).rows(Selection(job))) == []
    assert WarehouseRejects(empty_database_url).stuck(Selection(job)) == 1


def test_rejects_that_an_earlier_version_has_staged_are_read() -> None:
    [chunk] = chunks_of("u0", orders(1))
    packed = pa.BufferOutputStream()
    before = reject_table(chunk.rows, breaks_of(chunk.rows))
    with pa.ipc.new_stream(packed, before.schema) as writer:
        writer.write_table(before)

    assert unpack(packed.getvalue().to_pybytes()) == unpack(pack(before))


def test_rejects_go_into_a_database_of_another_encoding_and_stay_rows(warehouse: PostgresWarehouse) -> None:
    [chunk] = chunks_of("u0", people("Zoë \U0001f388"))
    found = in_ascii(unpack(pack(reject_table(chunk.rows, [Break("ge", "amount", "né", np.ones(1, np.bool_))]))))

    [row] = found.to_pylist()
    assert (row["row"] + row["reason"]).isascii()
    assert json.loads(row["row"]) == {"id": 0, "amount": "Zoë \U0001f388"}
