"""Chunks into a staging table: each is one transaction, and is there once however often it is sent.

A chunk's row in `load_chunk` is inserted before its rows are copied. So PostgreSQL arbitrates twins
(a task that Ray ran twice): the second waits, finds the row, and copies nothing.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import psycopg
import pyarrow as pa
from psycopg import sql

from dataproc.domain.chunk import POSITION, Account, Chunk, LoadedChunk, broken_by, texts_of
from dataproc.domain.fault_points import FaultPoint, reached
from dataproc.domain.keys import KeyRule
from dataproc.domain.tally import twins_differ
from dataproc.ports.cipher import Cipher
from dataproc.ports.warehouse import LoadId
from dataproc.warehouse import encoding, rejects
from dataproc.warehouse.columns import Column
from dataproc.warehouse.connection import ROW_ERRORS, column_of, connect, first_line, words_of
from dataproc.warehouse.copying import copy_rows
from dataproc.warehouse.discarding import within_contract
from dataproc.warehouse.fitting import fit, fit_texts, is_left_to_postgres
from dataproc.warehouse.keys import PLACE, UNIT
from dataproc.warehouse.ledger import counts
from dataproc.warehouse.staging import key_tables, staging_table
from dataproc.warehouse.target import Target, names_of

ADD = """
INSERT INTO dataproc_load.load_chunk
    (job_id, epoch, target, unit, seq, last,
     rows_read, rows_loaded, rows_rejected, rows_filtered, rows_deduplicated, digest, rejects, mark, high, discarded,
     broken, edge)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING seq
"""
CHANGE = """
UPDATE dataproc_load.load_chunk SET rows_loaded = %s, rows_rejected = %s, rejects = %s, broken = %s
WHERE job_id = %s AND epoch = %s AND target = %s AND unit = %s AND seq = %s
"""
FIND = """
SELECT rows_loaded, rows_rejected, rows_filtered, rows_deduplicated, digest FROM dataproc_load.load_chunk
WHERE job_id = %s AND epoch = %s AND target = %s AND unit = %s AND seq = %s
"""
TEXTS = sql.Identifier("pg_temp", "dataproc_texts")
"""A temporary table for values that travel as text; PostgreSQL casts them on their way from there."""
SMALL_PIECE = 256 * 1024
"""Bytes of rows that are deleted faster than their table is truncated."""
LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the warehouse had against a row."""

    reason: str
    column: str | None
    code: str | None = None

    @classmethod
    def of(cls, exc: psycopg.Error, *, personal: bool) -> "Refusal":
        """Return what an error tells; where rows are personal, not in PostgreSQL's words, which may show values."""
        constraint = f" ({exc.diag.constraint_name})" if exc.diag.constraint_name else ""
        told = words_of(exc) + constraint if personal else first_line(exc)
        return cls(told, column_of(exc), exc.sqlstate)

    def reject(self, rows: pa.Table) -> dict[str, object]:
        """Return the one row of `rows` as a reject."""
        return {
            "position": rows[POSITION][0].as_py(),
            "rule": "warehouse",
            "code": self.code,
            "column": self.column,
            "reason": self.reason[:LONGEST_REASON],
            "row": texts_of(rows.drop_columns([POSITION]))[0],
        }


@dataclass(frozen=True, slots=True)
class Stage:
    """Copies a chunk into the staging table; runs in the workers."""

    url: str = field(repr=False)
    load_id: LoadId
    target: Target
    rules: tuple[KeyRule, ...] = ()
    numbers: Mapping[str, int] = field(default_factory=dict, repr=False)
    cipher: Cipher | None = field(default=None, repr=False)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of the staging table; for rules over all rows, each row tells its place."""
        return (*self.target.staged_columns, *(PLACE if self.rules or self.target.placed else ()))

    def __call__(self, chunk: Chunk) -> LoadedChunk:
        """Stage the chunk in one transaction, unless a twin did; return its account."""
        chunk = within_contract(chunk, self.target.columns, self.target.left_out)
        fitted, columns = fit_texts(self.placed(chunk, chunk.rows), self.columns, chunk.unit)
        payload = encoding.encode(fitted)
        loaded = LoadedChunk(
            chunk.unit, chunk.seq, chunk.last, chunk.read, chunk.rows.num_rows, chunk.rejected, chunk.filtered,
            encoding.digest(payload), deduplicated=chunk.deduplicated, mark=chunk.mark, high=chunk.high,
            discarded=chunk.discarded, broken=broken_by(chunk.rejects), edge=chunk.edge,
        )  # fmt: skip
        with connect(self.url) as conn, conn.transaction():
            told = (
                *counts(Account() + loaded),
                loaded.digest,
                rejects.pack(chunk.rejects, self.cipher) or None,
                chunk.mark,
                chunk.high,
                json.dumps(chunk.discarded),
                json.dumps(loaded.broken),
                chunk.edge,
            )
            if conn.execute(ADD, (*self.key(loaded), chunk.last, *told)).fetchone() is None:
                return self.twin_of(conn, loaded)
            reached(FaultPoint.CHUNK_RECORDED)
            staged = Copying(self, conn, columns).copy(chunk, loaded, payload, fitted)
            self.copy_keys(conn, chunk)
            reached(FaultPoint.CHUNK_COPIED)
        reached(FaultPoint.CHUNK_STAGED)
        return staged

    def placed(self, chunk: Chunk, rows: pa.Table) -> pa.Table:
        """Return rows with the number of their unit, if there are rules over all rows."""
        if not (self.rules or self.target.placed):
            return rows
        number = pa.scalar(self.numbers[chunk.unit], pa.int32())
        return rows.append_column(UNIT, pa.repeat(number, rows.num_rows))

    def copy_keys(self, conn: psycopg.Connection, chunk: Chunk) -> None:
        """Copy the keys of the chunk's rows for each rule."""
        for table, keys in zip(key_tables(self.load_id, self.rules), chunk.keys, strict=True):
            payload = encoding.encode(fit(self.placed(chunk, keys), table.columns))
            copy_rows(conn, table.copy, [payload])

    def key(self, chunk: Chunk | LoadedChunk) -> tuple[object, ...]:
        """Return a chunk's primary key."""
        return (self.load_id.job_id, self.load_id.epoch, self.target.name, chunk.unit, chunk.seq)

    def twin_of(self, conn: psycopg.Connection, loaded: LoadedChunk) -> LoadedChunk:
        """Return the account of the chunk that is there already; other rows under its name are refused."""
        row = conn.execute(FIND, self.key(loaded)).fetchone()
        if row is None or row[2:] != (loaded.filtered, loaded.deduplicated, loaded.digest):
            raise twins_differ(loaded)
        return replace(loaded, loaded=row[0], rejected=row[1])


@dataclass(frozen=True, slots=True)
class Copying:
    """Copies the rows of one chunk, whose `columns` travel in binary form or as text that PostgreSQL casts."""

    stage: Stage
    conn: psycopg.Connection
    columns: tuple[Column, ...]

    @property
    def needs_cast(self) -> bool:
        """Whether a column travels as text."""
        return any(column.is_text for column in self.columns)

    def copy(self, chunk: Chunk, loaded: LoadedChunk, payload: bytes, fitted: pa.Table) -> LoadedChunk:
        """Copy the rows; those that the warehouse refuses are found by halving, and set aside with the chunk."""
        if self.needs_cast:
            # Text without a zone is UTC, whatever the server says.
            self.conn.execute("SET LOCAL TimeZone = 'UTC'")
            self.conn.execute(self.make_texts())
        if self.took(payload) is None:
            return loaded
        refused = pa.Table.from_pylist(list(self.refused(chunk.rows, fitted)), schema=rejects.CODED)
        cipher = self.stage.cipher
        aside = pa.concat_tables([chunk.rejects, refused], promote_options="default")
        left = replace(
            loaded,
            loaded=loaded.loaded - refused.num_rows,
            rejected=loaded.rejected + refused.num_rows,
            broken=broken_by(aside),
        )
        told = (left.loaded, left.rejected, rejects.pack(aside, cipher), json.dumps(left.broken))
        self.conn.execute(CHANGE, (*told, *self.stage.key(chunk)))
        return left

    def refused(self, rows: pa.Table, fitted: pa.Table) -> Iterator[dict[str, object]]:
        """Copy the halves of `fitted`, and theirs, down to the single rows that are refused; yield these as rejects."""
        half = fitted.num_rows // 2
        for start, stop in ((0, half), (half, fitted.num_rows)):
            piece = fitted.slice(start, stop - start)
            if piece.num_rows == 0 or (refusal := self.took(encoding.encode(piece))) is None:
                continue
            if piece.num_rows == 1:
                row = rows.slice(start, 1)
                yield replace(refusal, column=refusal.column or self.culprit(row)).reject(row)
            else:
                yield from self.refused(rows.slice(start, stop - start), piece)

    def culprit(self, row: pa.Table) -> str | None:
        """Return the column whose text PostgreSQL refused, where only one can be meant: casts name no column."""
        before = zip(self.stage.columns, self.columns, strict=True)
        asked = [column for column, sent in before if sent.is_text and not column.is_text]
        found = [column.name for column in asked if is_left_to_postgres(row[column.name], column)]
        return found[0] if len(found) == 1 else None

    def took(self, payload: bytes) -> Refusal | None:
        """Copy `payload` in a savepoint; return `None`, or what the warehouse had against a row."""
        staging = staging_table(self.stage.load_id)
        into = TEXTS if self.needs_cast else staging
        command = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(into, names_of(self.columns))
        try:
            with self.conn.transaction():
                copy_rows(self.conn, command, [payload])
                if self.needs_cast:
                    self.conn.execute(self.cast_texts(staging))
                    # To truncate a table costs as much as to delete some thousand rows.
                    clear = "DELETE FROM {}" if len(payload) < SMALL_PIECE else "TRUNCATE {}"
                    self.conn.execute(sql.SQL(clear).format(TEXTS))
        except ROW_ERRORS as exc:
            return Refusal.of(exc, personal=self.stage.cipher is not None)
        return None

    def make_texts(self) -> sql.Composed:
        """Return the statement that makes the temporary table."""
        columns = (
            sql.SQL("{} {}").format(sql.Identifier(c.name), sql.SQL("text" if c.is_text else c.sql_type))
            for c in self.columns
        )
        return sql.SQL("CREATE TEMPORARY TABLE {} ({}) ON COMMIT DROP").format(TEXTS, sql.SQL(", ").join(columns))

    def cast_texts(self, staging: sql.Identifier) -> sql.Composed:
        """Return the statement that casts the values in the temporary table, and moves them to staging.

        A cast to `bit(3)` would cut a value that is too long; the insert into a column of that type refuses it.
        """
        values = (
            sql.SQL("{}::{}").format(sql.Identifier(c.name), sql.SQL(c.without_limits))
            if c.is_text
            else sql.Identifier(c.name)
            for c in self.columns
        )
        return sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {}").format(
            staging, names_of(self.columns), sql.SQL(", ").join(values), TEXTS
        )
