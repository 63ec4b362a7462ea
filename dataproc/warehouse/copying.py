"""Bytes sent through one COPY of PostgreSQL, in its binary form."""

from collections.abc import Iterable
from typing import LiteralString

import psycopg
from psycopg import sql

from dataproc.warehouse.encoding import HEADER, TRAILER

Bytes = bytes | memoryview
Command = sql.Composed | LiteralString


def copy_rows(conn: psycopg.Connection, command: Command, payloads: Iterable[Bytes]) -> int:
    """Send whole rows, without what is before the first and after the last; return how many were taken."""
    return copy_stream(conn, command, whole(payloads))


def copy_stream(conn: psycopg.Connection, command: Command, pieces: Iterable[Bytes]) -> int:
    """Send what another COPY gave, from its first byte to its last; return how many rows were taken."""
    with conn.cursor() as cursor:
        with cursor.copy(command) as copy:
            for piece in pieces:
                copy.write(piece)
        return cursor.rowcount


def whole(payloads: Iterable[Bytes]) -> Iterable[Bytes]:
    """Yield rows with what COPY expects before and after them."""
    yield HEADER
    yield from payloads
    yield TRAILER
