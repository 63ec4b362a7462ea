"""From a job's specification and its connection to the reader of that kind of database."""

from pathlib import Path

from dataproc.domain.errors import InvalidSpecError, SetupError
from dataproc.domain.sources.database import DatabaseSource
from dataproc.ports.connector import Connector
from dataproc.ports.pipeline import Source
from dataproc.ports.secrets import Secrets
from dataproc.ports.store import Connection
from dataproc.sources.database.connection import KINDS, file_of, server_of
from dataproc.sources.database.mysql import MysqlConnector, MysqlSource
from dataproc.sources.database.mysql_session import MysqlLogin
from dataproc.sources.database.postgres import PostgresSource
from dataproc.sources.database.postgres_connector import PostgresConnector
from dataproc.sources.database.postgres_session import PostgresLogin
from dataproc.sources.database.reflected import ReflectedConnector, ReflectedSource
from dataproc.sources.database.reflected_engine import Dialect, ReflectedLogin
from dataproc.sources.database.sqlite import SqliteConnector, SqliteFile, SqliteSource


def database_source(
    spec: DatabaseSource,
    connection: Connection | None,
    secrets: Secrets,
    root: Path | None,
    text_columns: frozenset[str] = frozenset(),
) -> Source:
    """Return the reader of what a job names, by the kind of its connection."""
    if connection is None:
        raise InvalidSpecError(f"connection: there is no registered source {spec.connection!r}")
    if spec.row_security == "apply" and connection.kind != "postgresql":
        raise InvalidSpecError("row_security: only PostgreSQL has this option; leave it out")
    match connection.kind:
        case "postgresql":
            login = PostgresLogin(connection.name, server_of(connection), secrets, spec.row_security == "apply")
            return PostgresSource(login, spec, text_columns)
        case "mysql":
            return MysqlSource(MysqlLogin(connection.name, server_of(connection), secrets), spec)
        case "sqlserver" | "oracle":
            reflected = ReflectedLogin(connection.name, server_of(connection), secrets, Dialect(connection.kind))
            return ReflectedSource(reflected, spec)
        case "sqlite":
            return SqliteSource(sqlite_file(connection, root), spec)
        case other:
            raise InvalidSpecError(
                f"connection: {connection.name!r} is of kind {other!r}, the source needs one of {', '.join(KINDS)}"
            )


def database_connector(connection: Connection, secrets: Secrets, root: Path | None) -> Connector:
    """Return what can be asked of a registered database."""
    match connection.kind:
        case "postgresql":
            return PostgresConnector(PostgresLogin(connection.name, server_of(connection), secrets))
        case "mysql":
            return MysqlConnector(MysqlLogin(connection.name, server_of(connection), secrets))
        case "sqlite":
            return SqliteConnector(sqlite_file(connection, root))
        case _:
            login = ReflectedLogin(connection.name, server_of(connection), secrets, Dialect(connection.kind))
            return ReflectedConnector(login)


def sqlite_file(connection: Connection, root: Path | None) -> SqliteFile:
    """Return the file of a connection, which must be below the folder for files."""
    if root is None:
        raise SetupError("kind sqlite: reading files is switched off; set DATAPROC_FILES_ROOT to a folder")
    return SqliteFile(connection.name, root, file_of(connection).file)
