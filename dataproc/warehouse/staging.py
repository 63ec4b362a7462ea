"""The staged way: each chunk is one transaction into an UNLOGGED table; all of them are published in one.

A chunk's row in `load_chunk` is inserted before its rows are copied. So PostgreSQL arbitrates twins
(a task that Ray ran twice): the second waits, finds the row, and copies nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import psycopg
import pyarrow as pa
from psycopg import sql

from dataproc.domain.chunk import POSITION, Account, Chunk, LoadedChunk
from dataproc.domain.errors import CountMismatchError
from dataproc.domain.tally import Tally
from dataproc.domain.unit import SourcePlan
from dataproc.ports import LoadId, Published
from dataproc.warehouse import encoding, rejects
from dataproc.warehouse.connection import ROW_ERRORS, connect, first_line
from dataproc.warehouse.ledger import Entry, record, take_fence
from dataproc.warehouse.publish import publishing
from dataproc.warehouse.target import Target

REGISTER = """
INSERT INTO dataproc_load.load_staging (job_id, epoch, target, staging_table) VALUES (%s, %s, %s, %s)
ON CONFLICT DO NOTHING
"""
ADD_CHUNK = """
INSERT INTO dataproc_load.load_chunk
    (job_id, epoch, target, unit, seq, last, rows_read, rows_loaded, rows_rejected, rows_filtered, digest)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING seq
"""
CHANGE_CHUNK = """
UPDATE dataproc_load.load_chunk SET rows_loaded = %s, rows_rejected = %s
WHERE job_id = %s AND epoch = %s AND target = %s AND unit = %s AND seq = %s
"""
FIND_CHUNK = """
SELECT rows_loaded, rows_rejected, digest FROM dataproc_load.load_chunk
WHERE job_id = %s AND epoch = %s AND target = %s AND unit = %s AND seq = %s
"""
SUM_CHUNKS = """
SELECT COALESCE(sum(rows_read), 0), COALESCE(sum(rows_loaded), 0),
       COALESCE(sum(rows_rejected), 0), COALESCE(sum(rows_filtered), 0)
FROM dataproc_load.load_chunk WHERE job_id = %s AND epoch = %s AND target = %s
"""


def staging_name(load_id: LoadId) -> str:
    """Return the name of the staging table of a load."""
    return f"staging_{load_id.job_id.hex}_{load_id.epoch}"


@dataclass(frozen=True, slots=True)
class Stage:
    """Copies a chunk into the staging table; runs in the workers."""

    url: str
    load_id: LoadId
    target: Target

    def __call__(self, chunk: Chunk) -> LoadedChunk:
        """Stage the chunk in one transaction, unless a twin did; return its account."""
        fitted = encoding.fit(chunk.rows, self.target.columns)
        payload = encoding.encode(fitted)
        loaded = LoadedChunk(
            chunk.unit, chunk.seq, chunk.last, chunk.read, chunk.rows.num_rows, chunk.rejected, chunk.filtered,
            encoding.digest(payload), b"", rejects.pack(chunk.rejects),
        )  # fmt: skip
        with connect(self.url) as conn, conn.transaction():
            if conn.execute(ADD_CHUNK, (*self.key, *columns_of(loaded))).fetchone() is None:
                return self.twin_of(conn, loaded)
            return self.copy(conn, chunk, loaded, payload, fitted)

    @property
    def key(self) -> tuple[object, ...]:
        """The first part of a chunk's primary key."""
        return (self.load_id.job_id, self.load_id.epoch, self.target.name)

    def copy(
        self, conn: psycopg.Connection, chunk: Chunk, loaded: LoadedChunk, payload: bytes, fitted: pa.Table
    ) -> LoadedChunk:
        """Copy the rows; those that the warehouse refuses are found by halving, and set aside."""
        if self.took(conn, payload) is None:
            return loaded
        refused = pa.Table.from_pylist(list(self.bisect(conn, chunk.rows, fitted)), schema=chunk.rejects.schema)
        left = replace(
            loaded,
            loaded=loaded.loaded - refused.num_rows,
            rejected=loaded.rejected + refused.num_rows,
            rejects=rejects.pack(pa.concat_tables([chunk.rejects, refused])),
        )
        conn.execute(CHANGE_CHUNK, (left.loaded, left.rejected, *self.key, chunk.unit, chunk.seq))
        return left

    def bisect(self, conn: psycopg.Connection, rows: pa.Table, fitted: pa.Table) -> Iterator[dict[str, object]]:
        """Copy the halves of `fitted`, and theirs, down to the single rows that are refused; yield these as rejects."""
        if fitted.num_rows == 0:
            return
        refusal = self.took(conn, encoding.encode(fitted))
        if refusal is None:
            return
        if fitted.num_rows == 1:
            row = {name: value[0] for name, value in rows.drop_columns([POSITION]).to_pydict().items()}
            position = rows[POSITION][0].as_py()
            yield {
                "position": position,
                "rule": "warehouse",
                "column": None,
                "reason": refusal,
                "row": repr(row)[:10_000],
            }
            return
        half = fitted.num_rows // 2
        yield from self.bisect(conn, rows.slice(0, half), fitted.slice(0, half))
        yield from self.bisect(conn, rows.slice(half), fitted.slice(half))

    def took(self, conn: psycopg.Connection, payload: bytes) -> str | None:
        """Copy `payload` in a savepoint; return `None`, or what the warehouse had against a row."""
        command = sql.SQL("COPY {} FROM STDIN (FORMAT BINARY)").format(table_of(self.load_id))
        try:
            with conn.transaction(), conn.cursor() as cursor, cursor.copy(command) as copy:
                copy.write(encoding.HEADER)
                copy.write(payload)
                copy.write(encoding.TRAILER)
        except ROW_ERRORS as exc:
            return first_line(exc)
        return None

    def twin_of(self, conn: psycopg.Connection, loaded: LoadedChunk) -> LoadedChunk:
        """Return the account of the chunk that is there already; other rows under its name are refused."""
        row = conn.execute(FIND_CHUNK, (*self.key, loaded.unit, loaded.seq)).fetchone()
        if row is None or row[2] != loaded.digest:
            raise CountMismatchError(f"unit {loaded.unit}, chunk {loaded.seq} was staged before with different rows")
        return replace(loaded, loaded=row[0], rejected=row[1])


def columns_of(loaded: LoadedChunk) -> tuple[object, ...]:
    """Return the columns of a chunk's row after its key."""
    return (
        loaded.unit, loaded.seq, loaded.last,
        loaded.read, loaded.loaded, loaded.rejected, loaded.filtered, loaded.digest,
    )  # fmt: skip


def table_of(load_id: LoadId) -> sql.Identifier:
    """Return the quoted name of the staging table of a load."""
    return sql.Identifier("dataproc_load", staging_name(load_id))


@dataclass(frozen=True, slots=True)
class StagedLoad:
    """A load by way of a staging table."""

    url: str
    load_id: LoadId
    target: Target
    way: str = "staged"

    @property
    def step(self) -> Stage:
        """What workers do with a chunk."""
        return Stage(self.url, self.load_id, self.target)

    def prepare(self, conn: psycopg.Connection) -> None:
        """Register the staging table, then make it: what is not registered is never dropped."""
        key = (self.load_id.job_id, self.load_id.epoch, self.target.name)
        conn.execute(REGISTER, (*key, staging_name(self.load_id)))
        columns = (
            sql.SQL("{} {}{}").format(
                sql.Identifier(c.name), sql.SQL(c.staging_type), sql.SQL(" NOT NULL" if c.required else "")
            )
            for c in self.target.columns
        )
        conn.execute(
            sql.SQL("CREATE UNLOGGED TABLE IF NOT EXISTS {} ({})").format(
                table_of(self.load_id), sql.SQL(", ").join(columns)
            )
        )

    def publish(self, plan: SourcePlan, results: Iterator[LoadedChunk], check: Callable[[Account], None]) -> Published:
        """Wait until all is staged; then publish it in one transaction."""
        tally, aside = Tally(), list[LoadedChunk]()
        for chunk in results:
            if tally.add(chunk) and chunk.rejects:
                aside.append(chunk)
        tally.verify(plan)
        check(tally.account)
        with publishing(self.url, self.load_id, self.target) as conn:
            take_fence(conn, self.load_id)
            self.move_rows(conn, tally.account)
            rejects.copy_rejects(conn, self.load_id, self.target.name, aside)
            drop_staging(conn, self.load_id)
            entry = Entry(self.load_id, self.target.name, self.way, tally.units_done, tally.account)
            return record(conn, entry)

    def move_rows(self, conn: psycopg.Connection, account: Account) -> None:
        """Insert the staged rows into the target, once the chunks, the rows and our own count agree."""
        row = conn.execute(SUM_CHUNKS, (self.load_id.job_id, self.load_id.epoch, self.target.name)).fetchone()
        if row is None or Account(*map(int, row)) != account:
            raise CountMismatchError(f"the chunks in the warehouse say {row}, the results of the workers {account}")
        values = sql.SQL(", ").join(
            sql.SQL("{}::{}" if c.coding == "text" else "{}").format(
                sql.Identifier(c.name), *([sql.SQL(c.sql_type)] if c.coding == "text" else [])
            )
            for c in self.target.columns
        )
        insert = sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {}").format(
            self.target.identifier, self.target.column_list, values, table_of(self.load_id)
        )
        inserted = conn.execute(insert).rowcount
        if inserted != account.loaded:
            raise CountMismatchError(f"{account.loaded} rows were staged, and {inserted} inserted")


def drop_staging(conn: psycopg.Connection, load_id: LoadId) -> None:
    """Drop the staging table of a load, and take it off the register."""
    conn.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(table_of(load_id)))
    conn.execute(
        "DELETE FROM dataproc_load.load_staging WHERE job_id = %s AND epoch = %s", (load_id.job_id, load_id.epoch)
    )


def drop_dead(conn: psycopg.Connection, job_id: object, epoch: int) -> int:
    """Drop the registered staging tables of a job up to `epoch`; return how many there were."""
    found = conn.execute(
        "DELETE FROM dataproc_load.load_staging WHERE job_id = %s AND epoch <= %s RETURNING staging_table",
        (job_id, epoch),
    ).fetchall()
    for (name,) in found:
        conn.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier("dataproc_load", name)))
    conn.execute("DELETE FROM dataproc_load.load_chunk WHERE job_id = %s AND epoch <= %s", (job_id, epoch))
    return len(found)
