"""Sessions with SQL Server and Oracle through SQLAlchemy; the drivers are optional, imported when needed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module

from sqlalchemy import URL, Connection, create_engine, exc, text
from sqlalchemy.pool import NullPool

from dataproc.domain.errors import (
    DataprocError,
    SetupError,
    SourceNotFoundError,
    SourceRefusedError,
    SourceUnavailableError,
)
from dataproc.sources.database.connection import PORTS
from dataproc.sources.database.login import ServerLogin


class Dialect(StrEnum):
    """The kinds of databases that are read through SQLAlchemy."""

    SQLSERVER = "sqlserver"
    ORACLE = "oracle"

    @property
    def driver(self) -> str:
        """The package that talks to the server."""
        return {"sqlserver": "pymssql", "oracle": "oracledb"}[self.value]

    @property
    def scheme(self) -> str:
        """What SQLAlchemy calls it."""
        return {"sqlserver": "mssql+pymssql", "oracle": "oracle+oracledb"}[self.value]


ANSWERS: tuple[tuple[tuple[str, ...], type[DataprocError], str], ...] = (
    (("18456", "18452", "ORA-01017", "ORA-28000", "ORA-28001"), SourceRefusedError,
     "the server refused the user; check user and password"),
    (("4060", "ORA-12514", "ORA-12505"), SourceNotFoundError, "the server has no such database; check database"),
    (("208,", "(208", "ORA-00942"), SourceNotFoundError, "there is no such table; check its name and schema"),
    (("229,", "(229", "230,", "ORA-01031"), SourceRefusedError, "it refused; grant SELECT to the user"),
    (("ORA-01013", "DBPROCESS is dead", "timed out", "timeout"), SourceUnavailableError,
     "the statement was cancelled or the connection lost; raise statement_timeout of the connection"),
    (("20009", "20003", "20002", "DPY-6005", "DPY-4011", "ORA-125", "ORA-03113", "ORA-03114"), SourceUnavailableError,
     "the server does not answer, or ended the connection"),
)  # fmt: skip
"""What becomes of an answer, by a number in its text; the first that fits. The text itself may hold values of rows."""


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn SQLAlchemy's errors into ours, which begin with `what` they are about."""
    try:
        yield
    except exc.NoSuchTableError as found:
        raise SourceNotFoundError(f"{what}: there is no such table; check its name and schema") from found
    except exc.SQLAlchemyError as found:
        raise ours(what, found) from found


def ours(what: str, error: exc.SQLAlchemyError) -> DataprocError:
    """Return our error for one of the server's."""
    told = str(getattr(error, "orig", None) or error)
    for numbers, kind, words in ANSWERS:
        if any(number in told for number in numbers):
            return kind(f"{what}: {words}")
    if isinstance(error, exc.ProgrammingError):
        return SourceRefusedError(f"{what}: it refused the statement; check where, columns and cursor")
    return SourceUnavailableError(f"{what}: the server could not answer")


@dataclass(frozen=True, slots=True)
class ReflectedLogin(ServerLogin):
    """How to log in to SQL Server or Oracle."""

    dialect: Dialect

    def url(self, password: str | None) -> URL:
        """Return what SQLAlchemy connects by."""
        database, query = (self.server.database, {})
        if self.dialect is Dialect.ORACLE:
            database, query = "", {"service_name": self.server.database}
        port = self.server.port or PORTS[self.dialect]
        return URL.create(
            self.dialect.scheme, self.server.user, password, self.server.host, port, database or None, query
        )

    def options(self) -> dict[str, object]:
        """Return what the driver is told besides."""
        seconds = int(self.server.statement_timeout.total_seconds())
        encrypted = self.server.tls not in {"disable", "prefer"}
        if self.dialect is Dialect.SQLSERVER:
            if self.server.tls.startswith("verify") or self.server.ca is not None:
                raise SetupError(
                    f"{self.told}: tls: its driver checks no certificate; write require, prefer or disable"
                )
            encryption = {"require": "require", "prefer": "request", "disable": "off"}[self.server.tls]
            return {"timeout": seconds, "login_timeout": 10, "encryption": encryption, "tds_version": "7.4"}
        if encrypted:
            return {
                "tcp_connect_timeout": 10,
                "protocol": "tcps",
                "ssl_server_dn_match": self.server.tls == "verify-full",
            }
        return {"tcp_connect_timeout": 10}

    @contextmanager
    def session(self) -> Iterator[Connection]:
        """Give a connection that only reads."""
        try:
            import_module(self.dialect.driver)
        except ImportError as missing:
            raise SetupError(
                f"{self.told}: kind {self.dialect} needs the package {self.dialect.driver}; install "
                f"dataproc[{self.dialect}]"
            ) from missing
        engine = create_engine(self.url(self.password()), poolclass=NullPool, connect_args=self.options())
        with translated(self.told), engine.connect() as conn:
            if self.dialect is Dialect.ORACLE:
                conn.execute(text("SET TRANSACTION READ ONLY"))
            yield conn
