"""A reader who polls a table during a load, and so sees what others would see of it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg


@dataclass(slots=True)
class Reader:
    """Polls a table and notes every count of rows that it sees."""

    url: str
    table: str
    seen: set[int] = field(default_factory=set)
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Read until stopped; a server that is away is read again."""
        while not self.stopped.wait(0.05):
            try:
                with psycopg.connect(self.url, autocommit=True, connect_timeout=5) as conn:
                    self.seen.add(rows_in(conn, self.table))
            except psycopg.OperationalError:
                continue


def rows_in(conn: psycopg.Connection, table: str) -> int:
    """Return how many rows a table has; none when it is not there."""
    try:
        row = conn.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
    except psycopg.errors.UndefinedTable:
        return 0
    return row[0] if row else 0


@contextmanager
def reading(url: str, table: str) -> Iterator[Reader]:
    """Read a table for the length of the block."""
    reader = Reader(url, table)
    thread = threading.Thread(target=reader.run, daemon=True)
    thread.start()
    try:
        yield reader
    finally:
        reader.stopped.set()
        thread.join()
