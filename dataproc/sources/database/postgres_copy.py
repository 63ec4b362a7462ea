"""The bytes of a binary COPY out of PostgreSQL, by a driver that gives many rows at once.

libpq gives row by row, which costs Python three times as much. The driver is asynchronous and we are not: each COPY has
a loop of its own, which runs only while somebody waits for the next piece.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from dataproc.sources.database.connection import PORTS, ServerConnection, Tls
from dataproc.sources.database.copy_rows import PIECE, RowCutter
from dataproc.sources.database.postgres_errors import asyncpg_translated
from dataproc.sources.database.postgres_session import BEGIN, READING, PostgresLogin, local

LOGIN_TIMEOUT = 10.0
IDLE = 60
"""Seconds without a byte after which the other end is asked whether it is still there."""
GULP = 64 * 1024
NAP = 0.0003
"""Seconds. PostgreSQL sends 8 KB at a time; taken one by one they cost twice the CPU of what comes in a nap."""
FAREWELL = 5.0
"""Seconds for a COPY to notice that its connection was ended."""


@dataclass(slots=True)
class CopyOut:
    """A session that copies the rows of one statement; `rows` tells how many they were, once all have come."""

    loop: asyncio.AbstractEventLoop
    conn: "asyncpg.Connection[Any]"
    full: "asyncio.Future[None]"
    rows: int = 0
    arrived: list[bytes] = field(default_factory=list, repr=False)
    held: int = 0

    def pieces(self, statement: str, columns: int) -> Generator[bytes, None, None]:
        """Yield the rows of a statement in pieces; the last one may be empty."""
        cutter = RowCutter(columns)
        copy = self.loop.create_task(self.conn.copy_from_query(statement, output=self.take, format="binary"))
        try:
            while not copy.done():
                self.loop.run_until_complete(self.filled(copy))
                arrived, self.arrived, self.held = self.arrived, [], 0
                for data in arrived:
                    yield from cutter.take(data)
            self.rows = int(copy.result().rpartition(" ")[2])
            yield cutter.rest()
        finally:
            self.conn.terminate()
            self.loop.run_until_complete(over(copy))

    async def filled(self, copy: "asyncio.Task[str]") -> None:
        """Wait until there is enough for a piece, or no more to come. What nobody waits for stays with the server."""
        self.full = self.loop.create_future()
        ends: set[asyncio.Future[Any]] = {copy, self.full}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)

    async def take(self, data: bytes) -> None:
        """Keep what arrived."""
        self.arrived.append(data)
        self.held += len(data)
        if len(data) < GULP:
            nap()
        if self.held >= PIECE and not self.full.done():
            self.full.set_result(None)


@contextmanager
def copying(login: PostgresLogin, told: str, snapshot: str | None) -> Iterator[CopyOut]:
    """Give a session on `snapshot`, if there is one; its connection ends with the block."""
    loop = asyncio.new_event_loop()
    try:
        with asyncpg_translated(told, logged_in=False):
            conn = loop.run_until_complete(connect(login))
        try:
            with asyncpg_translated(told):
                loop.run_until_complete(begin(conn, login, snapshot))
                yield CopyOut(loop, conn, loop.create_future())
        finally:
            conn.terminate()
    finally:
        end(loop)


async def connect(login: PostgresLogin) -> "asyncpg.Connection[Any]":
    """Return a session; what it says is UTF-8, as the driver always asks for."""
    server = login.server
    conn = await asyncpg.connect(
        host=server.host, port=server.port or PORTS["postgresql"], user=server.user, password=login.password(),
        database=server.database, ssl=encryption(server), timeout=LOGIN_TIMEOUT, statement_cache_size=0,
        server_settings={"application_name": "dataproc"},
    )  # fmt: skip
    # The driver has no setting for this, and shows its connection to nobody.
    keep_alive(conn._transport.get_extra_info("socket"))  # type: ignore[attr-defined]  # noqa: SLF001
    return conn


def encryption(server: ServerConnection) -> ssl.SSLContext | Tls:
    """Return how a connection is encrypted: by the names of libpq, or by the certificates that are to be trusted."""
    if server.tls in {"disable", "prefer"} or (server.tls == "require" and server.ca is None):
        return server.tls
    context = ssl.create_default_context(cadata=server.ca)
    # Anybody has a certificate that the system trusts: without a name it proves nothing.
    context.check_hostname = server.tls == "verify-full" or server.ca is None
    return context


def keep_alive(connection: Any) -> None:
    """Let a connection end when the other end is gone without a word."""
    if connection is not None and connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, IDLE)


async def begin(conn: "asyncpg.Connection[Any]", login: PostgresLogin, snapshot: str | None) -> None:
    """Begin a read-only transaction on a snapshot, with the settings of every reader."""
    await conn.execute(BEGIN)
    if snapshot is not None:
        await conn.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
    await conn.execute(local(login.settings | READING))


def nap() -> None:
    """Let more rows come; nothing else waits for this loop."""
    time.sleep(NAP)


async def over(copy: "asyncio.Task[str]") -> None:
    """Wait for the end of a COPY whose connection was ended; how it ended was told before, or matters to nobody."""
    await asyncio.wait({copy}, timeout=FAREWELL)
    if copy.done():
        copy.exception()


def end(loop: asyncio.AbstractEventLoop) -> None:
    """Close a loop after what it still has to do for connections that were ended."""
    loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
