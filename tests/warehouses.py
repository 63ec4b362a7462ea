"""Warehouses and loads for tests: a prepared database, and one load after the other without Ray."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

import psycopg
import pyarrow as pa
from psycopg import sql

from dataproc.domain.chunk import REJECTS, Chunk, LoadedChunk, no_rejects, number, with_positions
from dataproc.domain.destination import Destination
from dataproc.domain.job import JobId
from dataproc.domain.tally import Totals
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.ports.warehouse import Load, LoadId, Published
from dataproc.warehouse.warehouse import PostgresWarehouse
from tests.sessions import SESSIONS

TABLE = "sales.orders"
ALWAYS_DIRECT = 2**40
WAYS = ("direct", "staged")


def schema_of(columns: Mapping[str, pa.DataType]) -> pa.Schema:
    """Return a schema of columns of any types."""
    return pa.schema(columns)


def struct_of(**fields: pa.DataType) -> pa.DataType:
    """Return a struct of fields of any types."""
    return pa.struct(list(fields.items()))


def a_load_id(epoch: int = 1, job_id: JobId | None = None) -> LoadId:
    """Return the id of a load of a new job, or of a later epoch of a known one."""
    return LoadId(job_id or JobId(uuid4()), epoch, uuid4())


def going(warehouse: PostgresWarehouse, way: str) -> PostgresWarehouse:
    """Return a warehouse in which `auto` is always this way, wherever a mode can go it."""
    return replace(warehouse, direct_limit=ALWAYS_DIRECT if way == "direct" else 0)


def rows_of_ids(ids: Iterable[int]) -> pa.Table:
    """Return rows of one column `id`."""
    return pa.table({"id": pa.array(ids, pa.int64())})


def a_unit(name: str = "u0", rows: int | None = None, size: int = 100) -> Unit:
    """Return a unit."""
    return Unit(name, f"s3://lake/{name}", "1", size, rows=rows)


def chunks_of(unit: str, *tables: pa.Table, schema: pa.Schema | None = None) -> list[Chunk]:
    """Return the chunks of a unit with the rows of `tables`."""
    pieces, first = [], 0
    for table in tables:
        pieces.append((with_positions(table, first), no_rejects()))
        first += table.num_rows
    found = schema if schema is not None else tables[0].schema
    return list(number(unit, found, pieces))


def rejects_at(*positions: int, row: str = "{}") -> pa.Table:
    """Return rejects that a transform might have made."""
    found = [{"position": p, "rule": "ge", "column": "amount", "reason": "too small", "row": row} for p in positions]
    return pa.Table.from_pylist(found, schema=REJECTS)


def allow(totals: Totals) -> None:
    """Refuse no totals."""
    assert totals.account.read >= 0


def as_role(warehouse: PostgresWarehouse, name: str) -> PostgresWarehouse:
    """Return the warehouse as a new role sees it that may load, and owns nothing."""
    query = Query(warehouse.url)
    query(f"CREATE ROLE {name} LOGIN")
    query(f"GRANT ALL ON SCHEMA dataproc_load TO {name}")
    query(f"GRANT ALL ON ALL TABLES IN SCHEMA dataproc_load TO {name}")
    return replace(warehouse, url=warehouse.url.replace("postgres@", f"{name}@"))


@dataclass(slots=True)
class LoadTrial:
    """A load of some chunks into a table, step by step."""

    warehouse: PostgresWarehouse
    way: str = "auto"
    table: str = TABLE
    load_id: LoadId = field(default_factory=a_load_id)
    terms: Mapping[str, Any] = field(default_factory=dict)

    @property
    def destination(self) -> Destination:
        return Destination.model_validate({"table": self.table, "load": self.way, **self.terms})

    def open(self, schema: pa.Schema, plan: SourcePlan | None = None) -> Load:
        """Raise the fence and open the load."""
        assert self.warehouse.fence(self.load_id) is None
        return self.warehouse.open(self.load_id, self.destination, schema, plan or SourcePlan((a_unit(),), schema))

    def run(self, *tables: pa.Table) -> Published:
        """Load each table as a unit of its own."""
        plan, chunks = planned(*tables)
        return self.publish(plan, chunks)

    def publish(
        self,
        plan: SourcePlan,
        chunks: Iterable[Chunk],
        check: Callable[[Totals], None] = allow,
    ) -> Published:
        """Load chunks."""
        load = self.open(plan.schema, plan)
        return load.publish(plan, (load.step(chunk) for chunk in chunks), check)


def done_by(published: Published) -> tuple[int, int, int | None, int]:
    """Return how many rows a load has inserted, updated, deleted and left alone."""
    effect = published.effect
    return (effect.inserted, effect.updated, effect.deleted, effect.unchanged)


def planned(*tables: pa.Table) -> tuple[SourcePlan, list[Chunk]]:
    """Return a plan of one unit a table, and all its chunks."""
    units = tuple(a_unit(f"u{i}", table.num_rows) for i, table in enumerate(tables))
    plan = SourcePlan(units, tables[0].schema)
    return plan, [chunk for unit, table in zip(units, tables, strict=True) for chunk in chunks_of(unit.id, table)]


@dataclass(frozen=True, slots=True)
class Query:
    """Looks into a database."""

    url: str

    def __call__(self, statement: str, *parameters: object, binary: bool = False) -> list[tuple[Any, ...]]:
        """Run a statement; return its rows. Binary ones are exact: as text, a real has fewer digits than its value."""
        return SESSIONS.rows(self.url, statement, *parameters, binary=binary)

    def table(self, name: str = TABLE, *, binary: bool = False) -> list[tuple[Any, ...]]:
        """Return the rows of a table, in order; an empty list if there is no such table."""
        if not self.exists(name):
            return []
        statement = sql.SQL("SELECT * FROM {} ORDER BY 1").format(sql.Identifier(*name.split(".")))
        return self(statement.as_string(), binary=binary)

    def exists(self, name: str = TABLE) -> bool:
        """Whether there is such a table."""
        schema, _, table = name.partition(".")
        found = (
            "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = %s AND relname = %s"
        )
        return bool(self(found, schema, table))

    def count(self, name: str) -> int:
        """Return how many rows a table of `dataproc_load` has."""
        rows = self(sql.SQL("SELECT count(*) FROM dataproc_load.{}").format(sql.Identifier(name)).as_string())
        return int(rows[0][0])

    def staging(self) -> list[str]:
        """Return the staging tables that exist."""
        return [name for (name,) in self("SELECT relname FROM pg_class WHERE relname ~ '^staging_' AND relkind = 'r'")]

    @contextmanager
    def open(self) -> Iterator["psycopg.Connection[tuple[Any, ...]]"]:
        """Give a connection that stays open."""
        with psycopg.connect(self.url) as conn:
            yield conn


def loaded(unit: str = "u0", seq: int = 0, *, last: bool = True, rows: int = 1, **fields: Any) -> LoadedChunk:
    """Return the account of a chunk that came through whole."""
    values: dict[str, Any] = {"read": rows, "loaded": rows, "rejected": 0, "filtered": 0, "digest": b"d"} | fields
    return LoadedChunk(unit, seq, last, **values)
