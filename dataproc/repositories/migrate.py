"""Brings the metadata database to the newest schema: forward only, one migrator at a time."""

import io
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from dataproc.domain.errors import SetupError
from dataproc.repositories.engine import open_sync_engine, translated

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

MIGRATIONS = Path(__file__).parent / "migrations"
TRY_LOCK = text("SELECT pg_try_advisory_lock(hashtextextended('dataproc migrations', 0))")
UNLOCK = text("SELECT pg_advisory_unlock(hashtextextended('dataproc migrations', 0))")

logger = logging.getLogger(__name__)


def migrate(url: str, *, to: str = "head") -> str:
    """Bring the database at `url` to the newest schema and return its revision; two at once are safe."""
    with connected(url) as conn, locked(conn):
        before = revision_on(conn)
        refuse_unknown(before)
        from alembic import command

        command.upgrade(config(conn), to)
        after = revision_on(conn) or "none"
    logger.info("metadata migrated", extra={"from_revision": before, "to_revision": after})
    return after


def revision_of(url: str) -> str | None:
    """Return the revision of the schema at `url`; `None`: it has none yet."""
    with connected(url) as conn:
        return revision_on(conn)


def head_revision() -> str:
    """Return the newest revision that this program knows."""
    return revisions()[-1]


def revisions() -> list[str]:
    """Return every revision, the oldest first: each file of a migration begins with its own."""
    return sorted(path.name.partition("_")[0] for path in MIGRATIONS.joinpath("versions").glob("[0-9]*.py"))


def offline_sql(revision: str) -> str:
    """Return the statements of one migration, without a database."""
    from alembic import command

    before = scripts().get_revision(revision).down_revision or "base"
    out = io.StringIO()
    command.upgrade(config(None, out), f"{before}:{revision}", sql=True)
    return out.getvalue()


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """Give a connection whose errors are ours."""
    engine = open_sync_engine(url)
    with translated(), engine.connect() as conn:
        yield conn


@contextmanager
def locked(conn: Connection) -> Iterator[None]:
    """Hold the migrations' lock; it belongs to the session, so that it outlives each migration's transaction."""
    # A statement that waits for the lock would have a snapshot, for whose end the winner's new indexes would wait.
    while not is_mine(conn):
        time.sleep(0.1)
    try:
        yield
    finally:
        conn.rollback()
        conn.execute(UNLOCK)
        conn.commit()


def is_mine(conn: Connection) -> bool:
    """Whether the migrations' lock could be taken."""
    mine = bool(conn.scalar(TRY_LOCK))
    conn.commit()
    return mine


def revision_on(conn: Connection) -> str | None:
    """Return the revision that a connection sees."""
    from alembic.runtime.migration import MigrationContext

    revision = MigrationContext.configure(conn).get_current_revision()
    conn.rollback()
    return revision


def refuse_unknown(revision: str | None) -> None:
    """Refuse a schema that a newer program has made: there is no way back."""
    if revision is not None and revision not in revisions():
        raise SetupError(f"the metadata schema has revision {revision}, which this version does not know; upgrade it")


def scripts() -> "ScriptDirectory":
    """Return the migrations on disk as Alembic reads them."""
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(config(None))


def config(conn: Connection | None, out: io.StringIO | None = None) -> "Config":
    """Return Alembic's settings, without a file of them."""
    from alembic.config import Config

    settings = Config(output_buffer=out or io.StringIO(), stdout=io.StringIO())
    settings.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    settings.set_main_option("path_separator", "os")
    settings.attributes["connection"] = conn
    return settings
