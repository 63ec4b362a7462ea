"""What jobs remember of their sources: watermarks, and the objects that were loaded.

A run reads it when it plans. Its publish changes it by compare and set, so two runs of a job that were planned from the
same memory cannot both be published.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import psycopg
from psycopg import errors as pg

from dataproc.domain.errors import ContractViolationError, MemoryChangedError
from dataproc.domain.job import JobId
from dataproc.domain.memory import Boundary, SourceObject, Window
from dataproc.domain.source_columns import Kind, TargetColumn
from dataproc.warehouse.attributes import describe
from dataproc.warehouse.columns import computed_column
from dataproc.warehouse.connection import connect

BATCH = 10_000
"""Objects that are asked for at once."""

BOUNDARY = "SELECT boundary, boundary_columns FROM dataproc_load.memory WHERE job_name = %s AND target = %s"
READ = "SELECT cursor, watermark FROM dataproc_load.memory WHERE job_name = %s AND target = %s"
UNLOADED = """
SELECT found.at - 1 FROM unnest(%(uris)s::text[], %(versions)s::text[]) WITH ORDINALITY AS found (uri, version, at)
WHERE NOT EXISTS (
    SELECT FROM dataproc_load.source_object AS known JOIN dataproc_load.memory ON memory.id = known.memory_id
    WHERE job_name = %(name)s AND target = %(target)s AND known.uri = found.uri AND known.version = found.version
) ORDER BY found.at
"""
HAS_OBJECTS = """
SELECT FROM dataproc_load.source_object AS known JOIN dataproc_load.memory ON memory.id = known.memory_id
WHERE job_name = %s AND target = %s LIMIT 1
"""
FIND_TARGET = """
SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p')
"""
TAKE = """
INSERT INTO dataproc_load.memory AS memory (job_name, target) VALUES (%s, %s)
ON CONFLICT (job_name, target) DO UPDATE SET changed_at = clock_timestamp() RETURNING id
"""
MOVE = """
UPDATE dataproc_load.memory SET cursor = %(cursor)s, watermark = %(after)s,
    boundary = %(boundary)s, boundary_columns = %(columns)s
WHERE id = %(id)s AND watermark IS NOT DISTINCT FROM %(before)s AND (cursor IS NULL OR cursor = %(cursor)s)
  AND boundary IS NOT DISTINCT FROM %(found)s
RETURNING id
"""
ADD = "COPY dataproc_load.source_object (memory_id, uri, version, size, job_id) FROM STDIN"


@dataclass(frozen=True, slots=True)
class WarehouseMemory:
    """The memory of the jobs of one name for one target, which may be filled `by_key`."""

    url: str = field(repr=False)
    name: str
    target: str
    by_key: bool = False

    def watermark(self, cursor: str) -> str | None:
        """Return the value up to which rows were read; refuse one that was kept for another cursor."""
        with connect(self.url) as conn:
            row = conn.execute(READ, (self.name, self.target)).fetchone()
        if row is None or row[1] is None:
            return None
        if row[0] != cursor:
            raise ContractViolationError(
                f"incremental/cursor: job {self.name!r} was read by {row[0]!r} until now; go on with that column, "
                "or give the job a new name to load everything again",
                column=cursor,
            )
        return str(row[1])

    def boundary(self) -> Boundary:
        """Return the rows at the watermark that earlier runs have read."""
        with connect(self.url) as conn:
            known, columns = conn.execute(BOUNDARY, (self.name, self.target)).fetchone() or (None, "")
        return Boundary(self.by_key, known, columns)

    def unloaded(self, objects: Iterable[SourceObject]) -> Iterator[SourceObject]:
        """Yield those objects of which this version was not loaded yet, in their order."""
        for batch in in_batches(objects):
            asked = {"uris": [o.uri for o in batch], "versions": [o.version for o in batch]}
            with connect(self.url) as conn:
                places = conn.execute(UNLOADED, {**asked, "name": self.name, "target": self.target}).fetchall()
            yield from (batch[at] for (at,) in places)

    def has_objects(self) -> bool:
        """Return whether any object was loaded."""
        with connect(self.url) as conn:
            return conn.execute(HAS_OBJECTS, (self.name, self.target)).fetchone() is not None

    def target_columns(self) -> Mapping[str, TargetColumn]:
        """Return the columns of the target by name; none if the table does not exist yet."""
        with connect(self.url) as conn:
            row = conn.execute(FIND_TARGET, tuple(self.target.split(".", 1))).fetchone()
            attributes = () if row is None else describe(conn, row[0])
        return {each.name: computed_column(each.base_type, each.sql_type, each.base_sql_type) for each in attributes}

    def late_columns(self) -> Mapping[str, Kind]:
        """Return no column: what a run has met is forgotten with it."""
        return {}


def in_batches(objects: Iterable[SourceObject]) -> Iterator[Sequence[SourceObject]]:
    """Yield the objects in batches that one query can take."""
    rest = iter(objects)
    while batch := list(islice(rest, BATCH)):
        yield batch


def take_memory(conn: psycopg.Connection, name: str, target: str) -> int:
    """Return the id of a memory, made if it is new and locked until the transaction ends."""
    row = conn.execute(TAKE, (name, target)).fetchone()
    return int(row[0]) if row else 0


def move_watermark(conn: psycopg.Connection, memory_id: int, window: Window) -> None:
    """Set the watermark to the end of what was read, if it still is where the run was planned from."""
    values = {"id": memory_id, "cursor": window.cursor, "before": window.after, "after": window.up_to}
    values |= {"boundary": window.boundary, "columns": window.columns, "found": window.found}
    if conn.execute(MOVE, values).fetchone() is None:
        raise MemoryChangedError(cursor=window.cursor)


def add_objects(conn: psycopg.Connection, memory_id: int, job_id: JobId, objects: Sequence[SourceObject]) -> None:
    """Remember objects as loaded; one that is known already was loaded by another run in the meantime."""
    try:
        with conn.cursor() as cursor, cursor.copy(ADD) as copy:
            for one in objects:
                copy.write_row((memory_id, one.uri, one.version, one.size, job_id))
    except pg.UniqueViolation as exc:
        raise MemoryChangedError from exc
