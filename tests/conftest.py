"""What many tests stand on: real PostgreSQL servers, databases fresh for each test, and stores."""

import gc
import logging
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import settings
from psycopg import sql
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from dataproc.embedded.account import Account
from dataproc.embedded.postgres import SERVER_SETTINGS, EmbeddedPostgres
from dataproc.ports.store import Store
from dataproc.repositories.migrate import migrate
from dataproc.repositories.store import PostgresStore
from dataproc.settings import Settings
from dataproc.telemetry.logs import LOGGERS
from dataproc.warehouse.setup import prepare
from tests.fakes.store import FakeStore
from tests.sessions import SESSIONS

INSTALLED_15 = Path("/usr/lib/postgresql/15/bin")
ROOT = Path(__file__).parents[1]
ACCEPTANCE = ROOT / "tests" / "acceptance"
SHARED_MEMORY, NEEDED_BYTES = Path("/dev/shm"), 8 * 2**30  # noqa: S108 - only `mkdtemp` makes something there
EMPTY, METADATA, WAREHOUSE = "template0", "metadata_template", "warehouse_template"
"""Databases to copy from: with nothing in it, with the newest schema of the jobs, and a prepared warehouse."""
DEFAULT_MAJOR = int(os.environ.get("DATAPROC_TEST_POSTGRES", "18"))
"""The server of every test that does not name one; `make test-all` runs them on the oldest supported one, too."""
TEST_SETTINGS = {**SERVER_SETTINGS, "fsync": "off", "autovacuum": "off"}
"""Settings of an embedded server that loses nothing when its processes are killed, and all when the machine is.

Autovacuum writes at any time, so that two snapshots of the same rows differ.
"""

settings.register_profile("dataproc", deadline=None, print_blob=True)
settings.load_profile("dataproc")

PassTime = Callable[[timedelta], Awaitable[None]]


class OneRayScheduling(LoadScopeScheduling):  # type: ignore[misc]  # pytest-xdist has no types
    """Keeps the tests of a module on one worker, and all that start a Ray on the same one, where they take turns."""

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return "ray" if starts_ray(module) else module


@cache
def starts_ray(module: str) -> bool:
    """Return whether the tests of a module start a Ray."""
    path = ROOT / module
    return path.parent == ACCEPTANCE or "pytest.mark.ray" in path.read_text(encoding="utf-8")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> OneRayScheduling:
    """Give the scheduler of parallel runs; `--dist=loadgroup` of pytest-xdist 3.8 has no effect with pytest 9.2."""
    return OneRayScheduling(config, log)


def pytest_collection_finish() -> None:
    """Exclude the imported objects from garbage collection, which takes a tenth of the time of the tests otherwise."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Include the objects again: extension modules report those as leaks that the interpreter does not collect."""
    gc.unfreeze()


def pytest_runtest_setup() -> None:
    """Forget the width of a terminal, which Ray leaves in the environment: what commands print depends on it."""
    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def logs_as_before() -> Iterator[None]:
    """Leave the loggers as they were: a workshop sends them to standard error."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(logger, logger.handlers, logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, handlers, level, propagate in before:
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


@cache
def fast_folder() -> Path | None:
    """Return the folder in shared memory if it has room, else `None`, which means the usual temporary folder.

    A test database has some hundred files. Most tests spend half of their time on creating and removing them on ext4.
    """
    is_usable = SHARED_MEMORY.is_dir() and os.access(SHARED_MEMORY, os.W_OK)
    return SHARED_MEMORY if is_usable and shutil.disk_usage(SHARED_MEMORY).free >= NEEDED_BYTES else None


@contextmanager
def open_folder() -> Iterator[Path]:
    """Give a folder with a short name that another account can enter, and remove it in the end."""
    folder = Path(tempfile.mkdtemp(prefix="dataproc-test-", dir=fast_folder()))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def embedded_18() -> Iterator[Callable[[str], str]]:
    """Give the URLs of the embedded server's databases."""
    with open_folder() as folder, EmbeddedPostgres(folder, server_settings=TEST_SETTINGS) as server:
        yield server.url


@contextmanager
def installed_15() -> Iterator[Callable[[str], str]]:
    """Give the URLs of the databases of a server of the oldest version that we support."""
    if not INSTALLED_15.exists():
        pytest.skip("PostgreSQL 15 is not installed")
    account = Account.current()
    with open_folder() as folder:
        data = folder / "data"
        account.make_folder(data)
        account.run(
            INSTALLED_15 / "initdb", "-A", "trust", "-U", "postgres", "-E", "UTF8", "-D", data
        ).check_returncode()
        options = f"-c listen_addresses='' -c fsync=off -c autovacuum=off -k {data}"
        pg_ctl = (INSTALLED_15 / "pg_ctl", "-w", "-D", data)
        account.run(*pg_ctl, "-l", data / "log", "-o", options, "start").check_returncode()
        try:
            yield lambda database: f"postgresql://postgres@/{database}?host={data}"
        finally:
            account.run(*pg_ctl, "-m", "immediate", "stop").check_returncode()


@dataclass(slots=True)
class PostgresServers:
    """Servers by major version, and the databases to copy from in them; made when a test first needs them."""

    stack: ExitStack
    urls: dict[int, Callable[[str], str]] = field(default_factory=dict)
    templates: set[tuple[int, str]] = field(default_factory=set)

    def url(self, major: int, database: str) -> str:
        """Return the URL of a database."""
        if major not in self.urls:
            self.urls[major] = self.stack.enter_context(embedded_18() if major == 18 else installed_15())
            self.stack.enter_context(SESSIONS.keeping(self.urls[major]("postgres")))
        return self.urls[major](database)

    def run(self, major: int, statement: sql.Composed) -> None:
        """Run a statement that is about databases."""
        SESSIONS.rows(self.url(major, "postgres"), statement.as_string())

    def make_template(self, major: int, template: str) -> None:
        """Make a database to copy from, unless it exists."""
        if template == EMPTY or (major, template) in self.templates:
            return
        self.create(major, template, EMPTY)
        (migrate if template == METADATA else prepare)(self.url(major, template))
        self.templates.add((major, template))

    def create(self, major: int, name: str, template: str) -> None:
        """Create a database; without fsync, copying the files takes a fifth of the time of writing them to the log."""
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
        self.run(major, statement.format(sql.Identifier(name), sql.Identifier(template)))

    @contextmanager
    def database(self, major: int, template: str) -> Iterator[str]:
        """Give the URL of a new database, and drop it in the end."""
        self.make_template(major, template)
        self.create(major, name := f"test_{uuid4().hex[:12]}", template)
        try:
            with SESSIONS.keeping(url := self.url(major, name)):
                yield url
        finally:
            self.run(major, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def postgres_servers() -> Iterator[PostgresServers]:
    with ExitStack() as stack:
        yield PostgresServers(stack)


@pytest.fixture
def postgres_major(request: pytest.FixtureRequest) -> int:
    """Return the usual version, unless a test is parametrized (`indirect=True`) with another one."""
    return int(getattr(request, "param", DEFAULT_MAJOR))


@pytest.fixture
def database_url(postgres_servers: PostgresServers, postgres_major: int) -> Iterator[str]:
    """Give a metadata database of the newest schema."""
    with postgres_servers.database(postgres_major, METADATA) as url:
        yield url


@pytest.fixture
def empty_database_url(postgres_servers: PostgresServers, postgres_major: int) -> Iterator[str]:
    """Give a database with nothing in it."""
    with postgres_servers.database(postgres_major, EMPTY) as url:
        yield url


@pytest.fixture
def warehouse_url(postgres_servers: PostgresServers, postgres_major: int) -> Iterator[str]:
    """Give a prepared warehouse."""
    with postgres_servers.database(postgres_major, WAREHOUSE) as url:
        yield url


@pytest.fixture
async def postgres_store(database_url: str) -> AsyncIterator[PostgresStore]:
    """Give a store on a metadata database of its own."""
    store = PostgresStore.open(database_url, Settings())
    yield store
    await store.close()


@pytest.fixture(params=["fake", "postgresql"])
async def store(request: pytest.FixtureRequest, postgres_servers: PostgresServers) -> AsyncIterator[Store]:
    """Give every kind of store, one after the other."""
    if request.param == "fake":
        yield FakeStore()
        return
    with postgres_servers.database(DEFAULT_MAJOR, METADATA) as url:
        real = PostgresStore.open(url, Settings())
        yield real
        await real.close()


@pytest.fixture
def pass_time(store: Store) -> PassTime:
    """Return a function that lets time pass without waiting: it moves a store's clock, or what lies ahead of it."""

    async def pass_by(length: timedelta) -> None:
        if isinstance(store, FakeStore):
            store.now += length
            return
        assert isinstance(store, PostgresStore)
        async with store.engine.begin() as conn:
            past = f"interval '{length.total_seconds()} seconds'"
            await conn.exec_driver_sql(f"UPDATE job_leases SET expires_at = expires_at - {past}")
            await conn.exec_driver_sql(
                f"UPDATE jobs SET scheduled_for = scheduled_for - {past}, updated_at = updated_at - {past}"
            )
            await conn.exec_driver_sql(f"UPDATE duties SET expires_at = expires_at - {past}")
            await conn.exec_driver_sql(f"UPDATE outbox SET due_at = due_at - {past}")

    return pass_by
