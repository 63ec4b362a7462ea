"""Sessions that tests keep: a new one costs the server some milliseconds, which is more than most statements."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.pq import ExecStatus


@dataclass(slots=True)
class KeptSession:
    """A session that is made when it is first needed, and again after a fault has ended it."""

    url: str
    connection: "psycopg.Connection[tuple[Any, ...]] | None" = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, statement: str, *parameters: object, binary: bool = False) -> "psycopg.Cursor[tuple[Any, ...]]":
        """Run a statement in a transaction of its own."""
        if self.connection is not None:
            try:
                return self.connection.execute(statement.encode(), parameters or None, binary=binary)
            except psycopg.OperationalError:
                if not self.connection.closed:
                    raise
        self.connection = psycopg.connect(self.url, autocommit=True, prepare_threshold=None)
        return self.connection.execute(statement.encode(), parameters or None, binary=binary)

    def close(self) -> None:
        """End the session."""
        if self.connection is not None:
            self.connection.close()


@dataclass(slots=True)
class KeptSessions:
    """Sessions by the URLs of the databases for which they are kept."""

    by_url: dict[str, KeptSession] = field(default_factory=dict)

    @contextmanager
    def keeping(self, url: str) -> Iterator[None]:
        """Keep a session for a database within the block."""
        self.by_url[url] = KeptSession(url)
        try:
            yield
        finally:
            self.by_url.pop(url).close()

    def rows(self, url: str, statement: str, *parameters: object, binary: bool = False) -> list[tuple[Any, ...]]:
        """Return the rows of a statement, run in the kept session of the database unless another thread uses that."""
        kept = self.by_url.get(url)
        if kept is not None and kept.lock.acquire(blocking=False):
            try:
                return rows_of(kept.run(statement, *parameters, binary=binary))
            finally:
                kept.lock.release()
        with closing(KeptSession(url)) as session:
            return rows_of(session.run(statement, *parameters, binary=binary))


def rows_of(cursor: "psycopg.Cursor[tuple[Any, ...]]") -> list[tuple[Any, ...]]:
    """Return the rows of a statement; one may have no columns, as those of `SELECT FROM t` have."""
    has_rows = cursor.pgresult is not None and cursor.pgresult.status == ExecStatus.TUPLES_OK
    return cursor.fetchall() if has_rows else []


SESSIONS = KeptSessions()
