"""Rows that a job has set aside, for tests: a load of which every row breaks a rule, and one that replays them."""

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID, uuid4

import numpy as np
import pyarrow as pa

from dataproc.domain.destination import Destination
from dataproc.domain.job import JobId
from dataproc.domain.source_columns import SourceColumns
from dataproc.domain.sources.rejects import RejectsSource
from dataproc.domain.unit import SourcePlan
from dataproc.ports.cipher import NO_KEYS, Cipher
from dataproc.ports.pipeline import Transform
from dataproc.ports.warehouse import LoadId, Published
from dataproc.services.monitor import Monitor
from dataproc.services.pipeline import Pipeline
from dataproc.sources.rejected.source import RejectedSource
from dataproc.transforms.breaks import Break, reject_table
from dataproc.warehouse.reject_table import WarehouseRejects
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.fakes.pipeline import FakeEngine
from tests.warehouses import LoadTrial, a_load_id, a_unit, chunks_of

REPLAYED = "sales.replayed"


def orders(*ids: int) -> pa.Table:
    """Return orders with an amount that some rule may not like."""
    return pa.table({"id": pa.array(ids, pa.int64()), "amount": [f"-{one}.50" for one in ids]})


def breaks_of(rows: pa.Table, *rules: str) -> list[Break]:
    """Return rules that all rows broke."""
    mask = np.ones(rows.num_rows, np.bool_)
    return [Break(rule, "amount", f"column 'amount' is not {rule} 0", mask) for rule in rules or ("ge",)]


def set_aside(
    warehouse: PostgresWarehouse, rows: pa.Table, *rules: str, job: JobId | None = None, way: str = "auto"
) -> JobId:
    """Publish a job that has set all rows aside, each for every rule; return its id."""
    load_id = a_load_id(1, job)
    [chunk] = chunks_of("u0", rows)
    kept = chunk.keep(chunk.rows.slice(0, 0), rejects=reject_table(chunk.rows, breaks_of(rows, *rules)))
    plan = SourcePlan((a_unit(rows=rows.num_rows),), rows.schema)
    LoadTrial(warehouse, way, load_id=load_id).publish(plan, [kept])
    return load_id.job_id


def rejected(
    url: str, job: UUID, *, text: Sequence[str] = (), cipher: Cipher = NO_KEYS, **fields: object
) -> RejectedSource:
    """Return the source of a replay."""
    spec = RejectsSource.model_validate({"kind": "rejects", "job": job, **fields})
    return RejectedSource(spec, WarehouseRejects(url, cipher), SourceColumns(declared=frozenset(text)))


def replayed(
    warehouse: PostgresWarehouse,
    source: RejectedSource,
    transforms: tuple[Transform, ...] = (),
    *,
    load_id: LoadId | None = None,
    way: str = "auto",
    table: str = REPLAYED,
) -> Published:
    """Run a replay to its end."""
    destination = Destination.model_validate({"table": table, "load": way})
    pipeline = Pipeline(source, transforms, destination, (), FakeEngine(), warehouse)
    return pipeline.run(load_id or replace(a_load_id(), name=f"replay-{uuid4().hex[:6]}"), Monitor())
