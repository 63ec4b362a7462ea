"""A real MariaDB in a temporary folder, on a port of its own."""

import getpass
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql
import pytest

from tests.processes import server_process
from tests.waiting import wait_until

SERVER = Path("/usr/sbin/mariadbd")
INSTALL = Path("/usr/bin/mariadb-install-db")
PASSWORD = "only-for-reading"


@dataclass(frozen=True, slots=True)
class MariaDb:
    """A running server; `reader` may read everything."""

    folder: Path
    port: int

    @property
    def socket(self) -> str:
        """Where its owner connects."""
        return str(self.folder / "socket")

    def __call__(self, *statements: str, database: str | None = None) -> list[tuple[Any, ...]]:
        """Run statements as the owner; return the rows of the last."""
        conn = pymysql.connect(
            unix_socket=self.socket, user=getpass.getuser(), database=database, charset="utf8mb4", autocommit=True
        )
        with conn, conn.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())


@contextmanager
def mariadb() -> Iterator[MariaDb]:
    """Give a server; skip the test where none is installed."""
    if not (SERVER.exists() and INSTALL.exists()):
        pytest.skip("MariaDB is not installed")
    folder = Path(tempfile.mkdtemp(prefix="dataproc-mariadb-"))
    try:
        with started(folder) as server:
            server(
                f"CREATE USER reader IDENTIFIED BY '{PASSWORD}'", "GRANT SELECT ON *.* TO reader",
                f"CREATE USER stranger IDENTIFIED BY '{PASSWORD}'", "CREATE DATABASE shop CHARACTER SET utf8mb4",
            )  # fmt: skip
            yield server
    finally:
        shutil.rmtree(folder)


@contextmanager
def started(folder: Path) -> Iterator[MariaDb]:
    """Give a new server that is up."""
    user, data = getpass.getuser(), folder / "data"
    install: list[str | Path] = [INSTALL, "--no-defaults", f"--datadir={data}", f"--user={user}", "--skip-test-db"]
    subprocess.run(
        [*install, "--auth-root-authentication-method=socket", f"--auth-root-socket-user={user}"],
        check=True, capture_output=True,
    )  # fmt: skip

    def words(port: int) -> list[str | Path]:
        return [
            SERVER, "--no-defaults", f"--datadir={data}", f"--socket={folder / 'socket'}", f"--port={port}",
            "--bind-address=127.0.0.1", f"--user={user}", f"--pid-file={folder / 'pid'}", "--skip-name-resolve",
            "--innodb-flush-log-at-trx-commit=0",
        ]  # fmt: skip

    with (folder / "log").open("ab") as log, server_process(words, log) as port:
        server = MariaDb(folder, port)
        wait_until(lambda: is_up(server))
        yield server


def is_up(server: MariaDb) -> bool:
    """Whether the server answers."""
    # The driver leaves a socket open where nobody answers.
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(server.socket) == 0
