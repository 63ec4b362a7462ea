"""Columns that appear after the samples of a source, in the first file or in another one, by both ways to load."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from dataproc.domain.chunk import Chunk, LoadedChunk
from dataproc.domain.destination import Destination
from dataproc.domain.errors import ClusterUnavailableError, ContractViolationError, DataprocError, LateColumnError
from dataproc.domain.job import JobId
from dataproc.domain.sources.files import FilesSource
from dataproc.domain.unit import Unit
from dataproc.ports.pipeline import Engine, Step
from dataproc.ports.pipeline import Transform as PortTransform
from dataproc.ports.warehouse import LoadId
from dataproc.services.monitor import Monitor
from dataproc.services.pipeline import Pipeline
from dataproc.sources.factory import source_for
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.builders import surroundings
from tests.fakes.pipeline import FakeEngine, ListSource
from tests.warehouses import ALWAYS_DIRECT, Query

STAGED = Destination(table="sales.orders", load="staged")
PAD = "x" * 400
MANY = 4000
"""Records of about 1.6 MB, more than any sample."""


def records(*last: dict[str, Any]) -> list[dict[str, Any]]:
    """Return many records with the same keys, and then these."""
    return [*({"id": n, "pad": PAD} for n in range(MANY)), *last]


def as_text(found: list[dict[str, Any]], form: str) -> str:
    return json.dumps(found) if form == "json" else "".join(json.dumps(each) + "\n" for each in found)


def load(
    folder: Path,
    url: str,
    form: str = "jsonl",
    load_id: LoadId | None = None,
    engine: Engine | None = None,
    **more: object,
) -> Monitor:
    """Load all files of a folder, and return the monitor of the run."""
    destination = Destination.model_validate({"table": "sales.orders", **more})
    spec = FilesSource(kind="files", path=f"*.{form}", unit_size=64 * 1024)
    around = surroundings(files_root=folder, contract=destination.terms)
    warehouse = PostgresWarehouse(url, ALWAYS_DIRECT)
    pipeline = Pipeline(source_for(spec, around), (), destination, (), engine or FakeEngine(), warehouse)
    monitor = Monitor()
    pipeline.run(load_id or LoadId(JobId(uuid4()), 1, uuid4()), monitor)
    return monitor


@pytest.fixture
def query(warehouse_url: str) -> Query:
    query = Query(warehouse_url)
    query("CREATE SCHEMA sales")
    return query


@pytest.mark.parametrize(("form", "way"), [("jsonl", "auto"), ("jsonl", "staged"), ("json", "auto")])
@pytest.mark.parametrize("known", ["target", "evolve"])
def test_a_late_key_of_which_something_is_known_is_loaded(
    tmp_path: Path, query: Query, form: str, known: str, way: str
) -> None:
    more = ", coupon varchar(10) DEFAULT 'none'" if known == "target" else ""
    query(f"CREATE TABLE sales.orders (id bigint, pad text{more})")
    contract = "evolve" if known != "target" else {}
    (tmp_path / f"a.{form}").write_text(as_text(records({"id": -1, "coupon": "SAVE"}), form))

    monitor = load(tmp_path, query.url, form=form, contract=contract, load=way)

    found = query("SELECT count(*), count(*) FILTER (WHERE coupon = 'SAVE'), count(coupon) FROM sales.orders")
    assert found == [(MANY + 1, 1, 1)]
    assert "so the run was planned again: coupon" in " ".join(monitor.progress.warnings)
    assert query("SELECT count(*) FROM dataproc_load.load_staging") == [(0,)]


@pytest.mark.parametrize("form", ["jsonl", "json"])
def test_a_late_key_of_which_nothing_is_known_fails_with_what_to_do(
    tmp_path: Path, warehouse_url: str, query: Query, form: str
) -> None:
    query("CREATE TABLE sales.orders (id bigint, pad text)")
    (tmp_path / f"a.{form}").write_text(as_text(records({"id": -1, "coupon": "SAVE"}), form))

    with pytest.raises(
        LateColumnError, match=r"(line 154 after byte|record 4001:).* the key 'coupon' .* declare the key"
    ):
        load(tmp_path, warehouse_url, form=form)

    assert query.table("sales.orders") == []


def test_a_late_key_with_a_reserved_name_is_refused(tmp_path: Path, warehouse_url: str, query: Query) -> None:
    query("CREATE TABLE sales.orders (id bigint, pad text)")
    (tmp_path / "a.jsonl").write_text(as_text(records({"id": -1, "__position": 1}), "jsonl"))

    with pytest.raises(ContractViolationError, match="has a reserved name"):
        load(tmp_path, warehouse_url, contract="evolve")


@pytest.mark.parametrize("way", ["auto", "staged"])
def test_late_keys_of_several_kinds_have_the_types_of_their_values(
    tmp_path: Path, warehouse_url: str, query: Query, way: str
) -> None:
    late: list[dict[str, Any]] = [
        {"id": -1, "n": 1},
        {"id": -2, "n": 1.5, "o": {"a": 1.10}},
        {"id": -3, "t": "x", "n": None},
    ]
    (tmp_path / "a.jsonl").write_text(as_text(records(*late), "jsonl"))
    (tmp_path / "b.jsonl").write_text(as_text(records({"id": -4, "later": True}), "jsonl"))

    load(tmp_path, warehouse_url, contract="evolve", load=way)

    found = query("SELECT id, n::text, o::text, t, later FROM sales.orders WHERE id < 0 ORDER BY id DESC")
    assert found == [
        (-1, "1", None, None, None), (-2, "1.5", '{"a": 1.1}', None, None), (-3, None, None, "x", None),
        (-4, None, None, None, True),
    ]  # fmt: skip
    assert query("SELECT count(*) FROM sales.orders") == [(2 * MANY + 4,)]


@dataclass(slots=True)
class Dying(FakeEngine):
    """An engine that is lost after some chunks."""

    chunks: int = 8

    @contextmanager
    def run(
        self,
        units: Sequence[Unit],
        read: Callable[[Unit], Iterator[Chunk]],
        transforms: Sequence[PortTransform],
        load: Step,
    ) -> Iterator[Iterator[LoadedChunk]]:
        with FakeEngine.run(self, units, read, transforms, load) as results:
            yield chain(islice(results, self.chunks), map(lose_cluster, [0]))


def lose_cluster(_: int) -> LoadedChunk:
    raise ClusterUnavailableError


def test_a_run_that_takes_over_what_another_has_staged_meets_a_late_key(
    tmp_path: Path, warehouse_url: str, query: Query
) -> None:
    query("CREATE TABLE sales.orders (id bigint, pad text, coupon text)")
    (tmp_path / "a.jsonl").write_text(as_text(records({"id": -1, "coupon": "SAVE"}), "jsonl"))
    job = JobId(uuid4())
    with pytest.raises(ClusterUnavailableError):
        load(tmp_path, warehouse_url, load_id=LoadId(job, 1, uuid4()), engine=Dying(), load="staged")
    assert query("SELECT count(*) FROM dataproc_load.load_chunk") == [(8,)]

    monitor = load(tmp_path, warehouse_url, load_id=LoadId(job, 2, uuid4()), load="staged")

    assert query("SELECT count(*), count(DISTINCT id), max(coupon) FROM sales.orders") == [(MANY + 1, MANY + 1, "SAVE")]
    assert monitor.progress.units_resumed == 0
    assert query("SELECT count(*) FROM dataproc_load.load_staging") == [(0,)]


def test_a_worker_of_an_earlier_plan_of_the_run_stages_nothing(warehouse_url: str, query: Query) -> None:
    warehouse, source, destination = PostgresWarehouse(warehouse_url, 0), ListSource([[1, 2]]), STAGED
    plan, load_id = source.plan(), LoadId(JobId(uuid4()), 1, uuid4())
    warehouse.fence(load_id)
    chunks = [list(source.read(unit)) for unit in plan.units]
    before = warehouse.open(load_id, destination, plan.schema, plan)
    after = warehouse.open(replace(load_id, replans=1), destination, plan.schema, plan)

    with pytest.raises(DataprocError):
        before.step(chunks[0][0])

    assert query("SELECT count(*) FROM dataproc_load.load_chunk") == [(0,)]
    assert after.step(chunks[0][0]).loaded == 2


@pytest.mark.parametrize("form", ["csv", "jsonl", "json"])
def test_a_first_record_longer_than_the_sample_shows_the_columns(
    tmp_path: Path, warehouse_url: str, query: Query, form: str
) -> None:
    long = "y" * 3_000_000
    for name in "ab":
        rows = [{"id": 1, "note": long, "n": 7}, {"id": 2, "note": "z", "n": 8}]
        text = "id;note;n\n" + "".join(f"{row['id']};{row['note']};{row['n']}\n" for row in rows)
        (tmp_path / f"{name}.{form}").write_text(text if form == "csv" else as_text(rows, form))

    load(tmp_path, warehouse_url, form=form)

    found = query("SELECT id, length(note), n, pg_typeof(n)::text FROM sales.orders ORDER BY id")
    assert found == [(1, len(long), 7, "bigint")] * 2 + [(2, 1, 8, "bigint")] * 2
