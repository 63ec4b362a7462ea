"""A PostgreSQL of our own that tests may stop, restart and fill, with databases that note every status they see."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from dataproc.embedded.postgres import EmbeddedPostgres
from dataproc.repositories.migrate import migrate
from dataproc.warehouse.setup import prepare
from tests.conftest import TEST_SETTINGS, open_folder

TEMPLATE = "fault_template"
OBSERVER = "observer"
"""How the tests' own sessions name themselves, to be told from those of the runners."""
DISK = "400m"
BALLAST_PIECE = 1 << 20

# A trigger misses nothing, as a poller would: it notes each status in the transaction that makes it true.
WATCH = """
CREATE SCHEMA observer;
CREATE TABLE observer.status (
    seq bigint GENERATED ALWAYS AS IDENTITY, job_id uuid NOT NULL, status text NOT NULL, epoch bigint NOT NULL
);
CREATE FUNCTION observer.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' OR OLD.status IS DISTINCT FROM NEW.status OR OLD.epoch <> NEW.epoch THEN
        INSERT INTO observer.status (job_id, status, epoch) VALUES (NEW.id, NEW.status, NEW.epoch);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER observed AFTER INSERT OR UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION observer.note();
"""


@dataclass
class FaultServer:
    """A server whose databases hold both the jobs and the warehouse."""

    postgres: EmbeddedPostgres

    @property
    def socket_path(self) -> str:
        """The socket that a proxy forwards to."""
        return str(self.postgres.socket_dir / ".s.PGSQL.5432")

    def url(self, database: str) -> str:
        """Return the URL of a database, for sessions of the test itself."""
        return f"{self.postgres.url(database)}&application_name={OBSERVER}"

    @cached_property
    def template(self) -> str:
        """The name of a database to copy from, made when it is first asked for."""
        self.run(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
        url = self.postgres.url(TEMPLATE)
        migrate(url)
        prepare(url)
        with psycopg.connect(url) as conn:
            conn.execute(WATCH.encode())
        return TEMPLATE

    def run(self, statement: sql.Composed) -> None:
        """Run a statement that is about databases."""
        with psycopg.connect(self.postgres.url("postgres"), autocommit=True) as conn:
            conn.execute(statement)

    @contextmanager
    def database(self) -> Iterator[str]:
        """Give the name of a new database, and drop it in the end."""
        name = f"case_{uuid4().hex[:12]}"
        template = sql.Identifier(self.template)
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
        self.run(statement.format(sql.Identifier(name), template))
        try:
            yield name
        finally:
            self.run(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def complaints(self) -> int:
        """Return how often the server has said that its disk is full."""
        return (self.postgres.folder / "server.log").read_text(errors="replace").count("No space left on device")

    def restart(self) -> None:
        """End the server at once, without a checkpoint, and start it again."""
        self.postgres.pg_ctl("stop", "--mode=immediate")
        self.postgres.wait()


@dataclass(frozen=True, slots=True)
class Ballast:
    """What takes up the rest of a disk."""

    file: Path

    def fill(self) -> None:
        """Leave no room on the disk."""
        with self.file.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(BALLAST_PIECE))
            except OSError:
                return

    def free(self) -> None:
        """Make room again."""
        self.file.unlink(missing_ok=True)


@contextmanager
def fault_server() -> Iterator[FaultServer]:
    """Give a server in a folder of its own."""
    with open_folder() as folder, EmbeddedPostgres(folder, server_settings=TEST_SETTINGS) as postgres:
        yield FaultServer(postgres)


@contextmanager
def small_disk() -> Iterator[Path]:
    """Give a folder on a disk of its own that is soon full; skip the test where we may not mount one."""
    with open_folder() as folder:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=755", "tmpfs", str(folder)]
        if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            pytest.skip("a disk can only be filled where a small one can be mounted, which takes root")
        try:
            yield folder
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def server_on_small_disk() -> Iterator[tuple[FaultServer, Ballast]]:
    """Give a server on a small disk, and what fills it."""
    with small_disk() as folder, EmbeddedPostgres(folder, server_settings=TEST_SETTINGS) as postgres:
        yield FaultServer(postgres), Ballast(folder / "ballast")


def fetch(url: str, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Return the rows of a statement."""
    with psycopg.connect(url, autocommit=True) as conn:
        return conn.execute(statement.encode(), parameters or None).fetchall()
