"""Checks of PostgreSQL: the metadata database, the warehouse, and the embedded server for both."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
from sqlalchemy import Connection

from dataproc.cli.finding import Finding, fail, ok, warn
from dataproc.cli.local import embedded_server
from dataproc.cli.machine_checks import existing
from dataproc.domain.errors import DataprocError, SetupError
from dataproc.embedded.account import NAME
from dataproc.embedded.postgres import default_data_dir, refuse_other_version
from dataproc.embedded.programs import MAJOR, installed
from dataproc.ports.queue import DISPATCH, START_DISPATCHER
from dataproc.repositories.migrate import connected, head_revision, revision_on, revisions
from dataproc.settings import Settings
from dataproc.warehouse.connection import connect
from dataproc.warehouse.setup import STEPS, version

OLDEST = 15
MIGRATE = "run `dataproc migrate` (or `python -m jobs.migrate`)"
UPGRADE = "upgrade dataproc: a newer version has changed this database, and there is no way back"
PROCESSES_BESIDES = 1
"""The dispatcher has a pool too."""

LIMITS = """
SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
       current_setting('transaction_read_only') = 'on'
"""
DISPATCHER = f"""
SELECT holder, coalesce(note, '') AS note FROM duties WHERE name = '{DISPATCH}' AND expires_at > clock_timestamp()
"""
DUE = "SELECT count(*) FROM jobs WHERE status = 'PENDING' AND scheduled_for <= clock_timestamp()"
WAREHOUSE = """
SELECT to_regclass('dataproc_load.version') IS NOT NULL, current_setting('transaction_read_only') = 'on',
       has_database_privilege(current_database(), 'CREATE')
"""


def embedded(settings: Settings) -> Iterator[Finding]:
    """Find whether the embedded server runs, or could, where one is needed."""
    if settings.metadata_url is not None and settings.warehouse_url is not None:
        return
    name, folder = "embedded PostgreSQL", settings.data_dir or default_data_dir()
    if embedded_server(settings) is not None:
        yield ok(name, f"runs in {folder}")
        return
    try:
        could_run(folder)
    except SetupError as exc:
        yield fail(name, str(exc), "or set DATAPROC_METADATA_URL and DATAPROC_WAREHOUSE_URL to servers of your own")
    else:
        yield ok(name, f"can run in {folder}; `dataproc up` starts it")


def could_run(folder: Path) -> None:
    """Refuse where the embedded server could not run; nothing is made or changed."""
    program = installed() / f"pginstall{MAJOR}" / "bin" / "postgres"
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)  # noqa: S603 - our own
    if done.returncode != 0:
        raise SetupError(f"{program} does not run here: {done.stderr.strip()}")
    nearest = existing(folder)
    if not os.access(nearest, os.W_OK | os.X_OK) or not nearest.is_dir():
        raise SetupError(f"{nearest} cannot be written: set DATAPROC_DATA_DIR to a folder of your own")
    if os.geteuid() == 0 and shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin") is None:
        raise SetupError(f"PostgreSQL does not run as root: make a user {NAME!r}, or do not run as root")
    if (made_by := folder / "postgres" / "PG_VERSION").exists():
        refuse_other_version(made_by)


def metadata(settings: Settings) -> Iterator[Finding]:
    """Find whether the metadata database answers and is up to date."""
    if settings.metadata_url is None:
        yield ok("metadata database", "not set: the embedded server holds it")
        return
    try:
        with connected(settings.metadata_url.get_secret_value()) as conn:
            found = conn.exec_driver_sql("SELECT current_setting('server_version_num')::int").scalar_one()
            yield server_version("metadata database", int(found), "DATAPROC_METADATA_URL")
            yield from metadata_inside(conn, settings)
    except DataprocError as exc:
        yield fail("metadata database", str(exc), "start the server, or correct DATAPROC_METADATA_URL")


def metadata_inside(conn: Connection, settings: Settings) -> Iterator[Finding]:
    """Find whether the metadata database can be written, has the newest schema, and takes our pools."""
    connections, read_only = conn.exec_driver_sql(LIMITS).one()
    if read_only:
        yield read_only_server("metadata database", "DATAPROC_METADATA_URL")
    found = revision_on(conn)
    yield migrations(found, head_revision())
    if found == head_revision():
        yield dispatcher(conn)
    yield pools(settings, int(connections))


def dispatcher(conn: Connection) -> Finding:
    """Find whether a dispatcher is at work and its runners start; without jobs that are due, none is needed."""
    name = "dispatcher"
    row = conn.exec_driver_sql(DISPATCHER).one_or_none()
    if row is not None and row.note:
        return fail(name, f"jobs wait for {row.note}", "remove the cause; the dispatcher then goes on by itself")
    if row is not None:
        return ok(name, f"{row.holder} is at work")
    if waiting := conn.exec_driver_sql(DUE).scalar_one():
        return fail(name, f"none is at work, and {waiting} jobs that are due wait", START_DISPATCHER)
    return ok(name, "none is at work, and no job waits")


def migrations(found: str | None, newest: str) -> Finding:
    """Find whether the metadata schema is the newest."""
    name = "metadata migrations"
    if found == newest:
        return ok(name, f"revision {found}")
    if found is None:
        return fail(name, "the database has no tables of dataproc yet", MIGRATE)
    if found in revisions():
        return fail(name, f"behind: the database is at revision {found}, this version needs {newest}", MIGRATE)
    return fail(name, f"ahead: the database is at revision {found}, this version knows {newest}", UPGRADE)


def pools(settings: Settings, connections: int) -> Finding:
    """Find whether the pools of all processes together fit into the server's connections."""
    each = settings.pool_size + settings.pool_overflow
    processes = settings.api_replicas + settings.max_runners + PROCESSES_BESIDES
    detail = f"{processes} processes may open {each} each, and the server takes {connections}"
    advice = "lower DATAPROC_POOL_SIZE and DATAPROC_POOL_OVERFLOW, or raise max_connections of the server"
    if each > connections:
        return fail("metadata connections", detail, advice)
    if each * processes > connections:
        return warn("metadata connections", detail, advice)
    return ok("metadata connections", detail)


def warehouse(settings: Settings) -> Iterator[Finding]:
    """Find whether the warehouse answers and can be loaded into."""
    if settings.warehouse_url is None:
        yield ok("warehouse", "not set: the embedded server holds it")
        return
    try:
        with connect(settings.warehouse_url.get_secret_value()) as conn:
            yield server_version("warehouse", conn.info.server_version, "DATAPROC_WAREHOUSE_URL")
            yield from warehouse_inside(conn)
    except DataprocError as exc:
        yield fail("warehouse", str(exc), "start the server, or correct DATAPROC_WAREHOUSE_URL")


def warehouse_inside(conn: psycopg.Connection) -> Iterator[Finding]:
    """Find whether the warehouse can be written, has the newest `dataproc_load`, and lets us make tables."""
    prepared, read_only, may_create = conn.execute(WAREHOUSE).fetchone() or (False, False, False)
    if read_only:
        yield read_only_server("warehouse", "DATAPROC_WAREHOUSE_URL")
    yield load_schema(version(conn) if prepared else 0)
    yield rights(may_create=may_create)


def load_schema(found: int) -> Finding:
    """Find whether the schema `dataproc_load` is the newest."""
    name, newest = "warehouse schema", len(STEPS)
    if found == newest:
        return ok(name, f"dataproc_load is at version {found}")
    if found > newest:
        return fail(name, f"ahead: dataproc_load is at version {found}, this version knows {newest}", UPGRADE)
    return fail(name, f"behind: dataproc_load is at version {found}, this version needs {newest}", MIGRATE)


def rights(*, may_create: bool) -> Finding:
    """Find whether we may make targets that do not exist."""
    if may_create:
        return ok("warehouse rights", "may make schemas and tables")
    advice = "GRANT CREATE ON DATABASE … TO our role; or make every target by hand, owned by our role"
    return warn("warehouse rights", "may not make schemas: a job whose target is missing will fail", advice)


def server_version(name: str, number: int, variable: str) -> Finding:
    """Find whether a server is new enough."""
    told = f"PostgreSQL {number // 10000}.{number % 10000}"
    if number // 10000 >= OLDEST:
        return ok(name, told)
    return fail(name, f"{told} is too old", f"name a server of PostgreSQL {OLDEST} or newer in {variable}")


def read_only_server(name: str, variable: str) -> Finding:
    """Return that a server takes no writes."""
    return fail(name, "the server is read-only", f"name the primary in {variable}, not a standby")
