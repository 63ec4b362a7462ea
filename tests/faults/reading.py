"""A reader who polls a table during a load, and so sees what others would see of it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg


@dataclass(slots=True)
class Reader:
    """Polls a table and notes every count of rows that it sees, or another number that tells how far a load is."""

    url: str
    table: str
    what: str = "count(*)"
    seen: set[int] = field(default_factory=set)
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Read until stopped; a server that is away is read again."""
        while not self.stopped.wait(0.05):
            try:
                with psycopg.connect(self.url, autocommit=True, connect_timeout=5) as conn:
                    self.seen.add(number_in(conn, self.table, self.what))
            except psycopg.OperationalError:
                continue


def number_in(conn: psycopg.Connection, table: str, what: str = "count(*)") -> int:
    """Return a number that a table tells; 0 when it is not there."""
    try:
        row = conn.execute(f"SELECT {what} FROM {table}".encode()).fetchone()
    except psycopg.errors.UndefinedTable:
        return 0
    return row[0] if row else 0


@contextmanager
def reading(url: str, table: str, what: str = "count(*)") -> Iterator[Reader]:
    """Read a table for the length of the block."""
    reader = Reader(url, table, what)
    thread = threading.Thread(target=reader.run, daemon=True)
    thread.start()
    try:
        yield reader
    finally:
        reader.stopped.set()
        thread.join()
