"""The table `dataproc_load.reject`: looked at by callers, read by replays, and marked by what a replay has taken."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from uuid import UUID

import psycopg

from dataproc.domain.errors import MemoryChangedError
from dataproc.domain.replay import Replay, Selection
from dataproc.ports.cipher import NO_KEYS, Cipher
from dataproc.ports.rejects import RawRow, RejectCount, RejectPage, StoredReject
from dataproc.warehouse.connection import connect

FETCHED = 100
"""Rows that are held at once: each may have a megabyte."""
LARGEST_PAGE = 8 * 1024 * 1024
"""Bytes of rows after which a page ends."""

MATCHES = """
job_id = %(job)s AND (%(rule)s::text IS NULL OR rule = %(rule)s)
AND (%(column)s::text IS NULL OR column_name = %(column)s)
"""
WAITS = f"{MATCHES} AND is_row AND replayed_by IS NULL"
PAGE = f"""
SELECT id, run_id, attempt, unit, position, rule, column_name, code, reason, raw_row, is_row, is_encrypted,
       replayed_by, rejected_at, in_all
FROM (
    SELECT *, count(*) OVER () AS in_all,
           sum(coalesce(octet_length(raw_row), 0)) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING)
               - coalesce(octet_length(raw_row), 0) AS before
    FROM (
        SELECT * FROM dataproc_load.reject WHERE {MATCHES} AND id > %(after)s ORDER BY id LIMIT %(limit)s
    ) AS found
) AS measured
WHERE before < %(bytes)s ORDER BY id
"""
# Before the first ANALYZE, PostgreSQL takes the rest of a job for a few rows, and would sort them for every page.
BY_INDEX = "SET LOCAL enable_bitmapscan = off"
COUNTS = """
SELECT rule, column_name, count(*), count(replayed_by) FROM dataproc_load.reject WHERE job_id = %s
GROUP BY rule, column_name ORDER BY count(*) DESC, rule, column_name
"""
IS_PUBLISHED = "SELECT FROM dataproc_load.load_ledger WHERE job_id = %s"
ROWS = f"""
SELECT id, raw_row, is_encrypted FROM dataproc_load.reject AS one JOIN (
    SELECT min(id) AS id FROM dataproc_load.reject WHERE {WAITS} AND (%(end)s::bigint IS NULL OR id < %(end)s)
    GROUP BY unit, position HAVING min(id) >= %(first)s
) AS first USING (id)
WHERE one.job_id = %(job)s ORDER BY id
"""
STUCK = f"SELECT count(*) FROM dataproc_load.reject WHERE {MATCHES} AND NOT is_row"
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('dataproc_load.replay:' || %(job)s, 0))"
TAKE = f"""
WITH waiting AS MATERIALIZED (
    SELECT DISTINCT unit, position FROM dataproc_load.reject WHERE {WAITS}
), taken AS (
    UPDATE dataproc_load.reject AS one SET replayed_by = %(by)s FROM waiting
    WHERE one.job_id = %(job)s AND one.replayed_by IS NULL
        AND one.unit = waiting.unit AND one.position = waiting.position
    RETURNING one.unit, one.position
)
SELECT count(DISTINCT (unit, position)) FROM taken
"""


@dataclass(frozen=True, slots=True)
class WarehouseRejects:
    """The rejects of a warehouse; `cipher` decrypts for replays, and for nobody else."""

    url: str = field(repr=False)
    cipher: Cipher = field(default=NO_KEYS, repr=False)
    largest_page: int = LARGEST_PAGE

    def page(self, selection: Selection, *, after: int, limit: int) -> RejectPage:
        """Return rejects whose ids come after `after`, in their order."""
        asked = asdict(selection) | {"after": after, "limit": limit + 1, "bytes": self.largest_page}
        with connect(self.url) as conn, conn.transaction():
            conn.execute(BY_INDEX)
            rows = conn.execute(PAGE.encode(), asked).fetchall()
        found = [StoredReject(*row[:-1]) for row in rows[:limit]]
        return RejectPage(found, found[-1].id if found and len(found) < rows[0][-1] else None)

    def counts(self, job: UUID) -> Sequence[RejectCount]:
        """Return how often each rule was broken, the most frequent first."""
        with connect(self.url) as conn:
            return [RejectCount(*row) for row in conn.execute(COUNTS, (job,))]

    def is_published(self, job: UUID) -> bool:
        """Return whether a job has published."""
        with connect(self.url) as conn:
            return conn.execute(IS_PUBLISHED, (job,)).fetchone() is not None

    def rows(self, selection: Selection, span: tuple[int, int] | None = None) -> Iterator[RawRow]:
        """Yield each row that can be replayed and was not yet, once, in the order of ids."""
        first, end = span or (0, None)
        asked = asdict(selection) | {"first": first, "end": end}
        with connect(self.url) as conn, conn.transaction(), conn.cursor(name="dataproc_rejects") as cursor:
            cursor.itersize = FETCHED
            for at, text, is_encrypted in cursor.execute(ROWS.encode(), asked):
                clear = self.cipher.decrypt(text).decode() if is_encrypted else text
                yield RawRow(at, clear, is_encrypted)

    def stuck(self, selection: Selection) -> int:
        """Return how many rejects can never be replayed."""
        with connect(self.url) as conn:
            row = conn.execute(STUCK.encode(), asdict(selection)).fetchone()
        return int(row[0]) if row else 0


def mark_replayed(conn: psycopg.Connection, replay: Replay, by: UUID) -> None:
    """Mark the rows that a load has taken, all rejects of each; refuse when another replay was faster with some."""
    asked = asdict(replay.selection) | {"by": by}
    # Rows are only ever marked, so the same number means the same rows; the lock keeps two replays from a deadlock.
    conn.execute(LOCK, asked)
    row = conn.execute(TAKE.encode(), asked).fetchone()
    if row is None or row[0] != replay.rows:
        raise MemoryChangedError(
            "another replay has taken some of these rows in the meantime; the next attempt takes what is left",
            job=replay.selection.job,
        )
