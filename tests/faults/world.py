"""A small world for one fault: a database for jobs and data, proxies before it, files to load, and runners."""

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import SecretStr

from dataproc.settings import Settings
from tests.conftest import open_folder
from tests.faults.modes import APPEND, FILES, ROWS_IN_FILE, LoadMode, Row, source_rows
from tests.faults.process import RunnerProcess
from tests.faults.proxy import Proxy
from tests.faults.runner import Order
from tests.faults.server import OBSERVER, FaultServer
from tests.sessions import SESSIONS
from tests.waiting import PATIENCE

SECRET = "hunter-5d1f0c"
"""Planted in the password, as `PERSONAL` is in every row; neither may show where it has no business."""
LEASE = timedelta(seconds=30)
HEARTBEAT = timedelta(milliseconds=200)
READ_PAUSE = 0.02
HASTENED = (
    ("job_leases", "expires_at", "true"),
    ("jobs", "scheduled_for", "status = 'PENDING'"),
    ("outbox", "due_at", "delivered_at IS NULL"),
)


class State(NamedTuple):
    """How many rows a table has, what all of them add up to, and how far its jobs remember to have read."""

    rows: int
    total: int | None
    watermark: str | None


@dataclass(slots=True)
class Reader:
    """Polls a table all the while, and notes every state of it that it has seen."""

    url: str
    table: str
    seen: set[State] = field(default_factory=set)
    has_seen: threading.Event = field(default_factory=threading.Event)
    is_over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Read until stopped; a server that is away is asked again."""
        while not self.is_over.is_set():
            with suppress(psycopg.OperationalError), psycopg.connect(self.url, autocommit=True) as conn:
                while not self.is_over.is_set():
                    self.seen.add(state_of(conn, self.table))
                    self.has_seen.set()
                    self.is_over.wait(READ_PAUSE)
            self.is_over.wait(READ_PAUSE)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read for the length of the block, which begins when the table was seen once."""
        thread = threading.Thread(target=self.run, name="reader", daemon=True)
        thread.start()
        try:
            assert self.has_seen.wait(PATIENCE)
            yield
        finally:
            self.is_over.set()
            thread.join()


def state_of(conn: psycopg.Connection, table: str) -> State:
    """Return a table as one statement sees it, with what its jobs remember; a table that is not there has no rows."""
    watermark = "SELECT max(watermark) FROM dataproc_load.memory WHERE target = %s"
    statement = f"SELECT count(*), sum(hashtextextended(t::text, 0))::text, ({watermark}) FROM {table} AS t"
    try:
        row = conn.execute(statement.encode(), (table,)).fetchone()
    except psycopg.errors.UndefinedTable:
        return State(0, None, None)
    assert row is not None
    return State(row[0], None if row[1] is None else int(row[1]), row[2])


@dataclass(slots=True)
class Case:
    """One job in the world, and all that will be asked about it."""

    table: str
    load: str
    key: str
    mode: LoadMode
    reader: Reader
    job_id: UUID | None = None
    accepted: list[UUID] = field(default_factory=list)
    cancelled: bool = False
    first_status: int = 0

    @property
    def before(self) -> tuple[Row, ...]:
        """The rows of the table before the job."""
        return self.mode.before


@dataclass
class World:
    """Everything that a case needs. It serves many cases, one after the other, until one of them fails."""

    server: FaultServer
    database: str
    folder: Path
    metadata_proxy: Proxy
    warehouse_proxy: Proxy
    runners: list[RunnerProcess] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The database, for the test's own sessions."""
        return self.server.url(self.database)

    @property
    def mailbox(self) -> Path:
        """Where the receiver of events keeps them."""
        return self.folder / "mailbox.jsonl"

    @property
    def log(self) -> Path:
        """What all runners have said."""
        return self.folder / "runners.log"

    @property
    def settings(self) -> Settings:
        """The settings of a runner: it reaches the database through the proxies."""
        return Settings(
            metadata_url=SecretStr(self.url_through(self.metadata_proxy)),
            warehouse_url=SecretStr(self.url_through(self.warehouse_proxy)),
            files_root=self.folder,
            lease=LEASE,
            heartbeat=HEARTBEAT,
            pool_size=2,
            pool_overflow=2,
        )

    def url_through(self, proxy: Proxy) -> str:
        """Return the URL of the database behind a proxy, with a password that nobody may see."""
        place = f"127.0.0.1:{proxy.port}/{self.database}"
        return f"postgresql://postgres:{SECRET}@{place}?sslmode=disable&gssencmode=disable"

    def fetch(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Ask the database."""
        return SESSIONS.rows(self.url, statement, *parameters)

    def act(self, statement: str, *parameters: object) -> None:
        """Change the database."""
        self.fetch(statement, *parameters)

    def runner(self) -> RunnerProcess:
        """Return a runner that has nothing to do."""
        self.runners = [runner for runner in self.runners if runner.is_alive]
        for runner in self.runners:
            if not runner.is_busy:
                return runner
        self.runners.append(runner := RunnerProcess.start(self.settings, self.log, self.mailbox))
        return runner

    def expire(self) -> None:
        """Let all leases end, without waiting for it, and bring all that waits for its time to be due."""
        for table, column, which in HASTENED:
            free = f"SELECT ctid FROM {table} WHERE {which} FOR UPDATE SKIP LOCKED"
            self.act(f"UPDATE {table} SET {column} = clock_timestamp() WHERE ctid = ANY(ARRAY({free}))")

    def is_waiting_for_lock(self) -> bool:
        """Whether a session of ours waits for another; the reader may, where a table is being replaced."""
        waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        return bool(self.fetch(f"{waiting} AND application_name <> '{OBSERVER}'"))

    def accept_order(self, case: Case, **fields: Any) -> Order:
        """Return the order to accept the case's job."""
        return Order("accept", document=document(case), key=case.key, **fields)

    @contextmanager
    def case(self, load: str, mode: LoadMode | None = None) -> Iterator[Case]:
        """Give a job to be, with a table of its own that a reader polls; there is none before if it has no rows."""
        table = f"fault_{uuid4().hex[:12]}.orders"
        mode = mode or APPEND[load]
        if mode.before:
            self.act(f"CREATE SCHEMA {table.partition('.')[0]}")
            self.act(f"CREATE TABLE {table} ({', '.join(filter(None, (mode.columns, mode.constraint)))})")
        for row in mode.before:
            self.act(f"INSERT INTO {table} VALUES ({', '.join(['%s'] * len(row))})", *row)
        reader = Reader(self.url, table)
        case = Case(table, load, key=uuid4().hex, mode=mode, reader=reader)
        case.first_status = self.fetch("SELECT coalesce(max(seq), 0) FROM observer.status")[0][0]
        with reader.reading():
            yield case

    def close(self) -> None:
        """End all runners."""
        for runner in self.runners:
            if runner.is_alive:
                runner.kill()


def document(case: Case) -> str:
    """Return the specification of a case's job: some rows are left out, and some are set aside."""
    source = '{"kind": "files", "path": "orders/*.parquet"}'
    clean = '{"kind": "clean", "drop_nulls": ["name"]}'
    validate = '{"kind": "validate", "columns": {"amount": "float64 >= 0"}}'
    # Modes that keep some of the rows cannot be told to go directly; small as the files are here, they do.
    chooses = case.mode.options.get("mode", "append") not in ("append", "replace")
    way = "auto" if chooses and case.load == "direct" else case.load
    destination = json.dumps({"table": case.table, "load": way, **case.mode.options})
    retry = '{"attempts": 20, "first_delay": "1ms", "max_delay": "1ms"}'
    return (
        f'{{"name": "fault", "source": {source}, "transforms": [{clean}, {validate}], '
        f'"destination": {destination}, "retry": {retry}}}'
    )


def write_files(folder: Path) -> None:
    """Write the files that all jobs load."""
    folder.mkdir()
    names = ("id", "name", "email", "amount", "at")
    types = (pa.int64(), pa.string(), pa.string(), pa.float64(), pa.timestamp("us", "UTC"))
    rows = source_rows()
    for number in range(FILES):
        part = rows[number * ROWS_IN_FILE : (number + 1) * ROWS_IN_FILE]
        columns = [pa.array(values, dtype) for values, dtype in zip(zip(*part, strict=True), types, strict=True)]
        pq.write_table(pa.table(dict(zip(names, columns, strict=True))), folder / f"part-{number}.parquet")


@contextmanager
def new_world(server: FaultServer) -> Iterator[World]:
    """Give a world on a database of its own."""
    with ExitStack() as stack:
        database = stack.enter_context(server.database())
        folder = stack.enter_context(open_folder())
        write_files(folder / "orders")
        metadata_proxy, warehouse_proxy = (stack.enter_context(Proxy(server.socket_path)) for _ in range(2))
        world = World(server, database, folder, metadata_proxy, warehouse_proxy)
        stack.enter_context(SESSIONS.keeping(world.url))
        stack.callback(world.close)
        yield world
