"""Sessions with a MySQL or MariaDB source: read only, on one consistent snapshot, streamed in bounded batches."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pymysql
from pymysql.cursors import SSCursor

from dataproc.domain.errors import (
    BadDataError,
    DataprocError,
    SourceNotFoundError,
    SourceRefusedError,
    SourceUnavailableError,
)
from dataproc.sources.database.connection import PORTS
from dataproc.sources.database.login import ServerLogin
from dataproc.sources.database.mysql_types import Description

SESSION = (
    "SET SESSION time_zone = '+00:00', net_write_timeout = 3600",
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
)
ANSWERS: tuple[tuple[frozenset[int], type[DataprocError], str], ...] = (
    (frozenset({1045, 1698, 1251}), SourceRefusedError, "the server refused the user; check user and password"),
    (frozenset({1044, 1142, 1143, 1227, 1370}), SourceRefusedError, "it refused: {}; grant SELECT to the user"),
    (frozenset({1049, 1051, 1109, 1146}), SourceNotFoundError, "there is no such thing: {}; check its name"),
    (frozenset({1290, 1792}), SourceRefusedError, "it refused: {}; a source is only read"),
    (frozenset({2026}), SourceRefusedError, "the encrypted connection failed; check tls and ca"),
    (
        frozenset({1317, 1969, 3024}),
        SourceUnavailableError,
        "the statement was cancelled; raise statement_timeout of the connection, or read less at once",
    ),
    (
        frozenset({0, 1040, 1053, 1152, 1153, 1158, 1159, 1160, 1161, 1203, 1205, 1213, 1226, 2002, 2003, 2006, 2013}),
        SourceUnavailableError,
        "the server does not answer, or ended the connection",
    ),
    # What is said of these quotes a value of a row.
    (frozenset({1264, 1292, 1365, 1366, 1406, 1411, 1525, 1690}), BadDataError, "a value cannot be computed"),
)
"""What becomes of an answer, by its number; the first that fits."""


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn the driver's errors into ours, which begin with `what` they are about."""
    try:
        yield
    except (pymysql.Error, OSError) as exc:
        raise ours(what, exc) from exc


def ours(what: str, exc: Exception) -> DataprocError:
    """Return our error for one of the server's."""
    number = exc.args[0] if isinstance(exc, pymysql.Error) and exc.args and isinstance(exc.args[0], int) else 0
    told = str(exc.args[1]) if len(exc.args) > 1 else ""
    for numbers, kind, words in ANSWERS:
        if number in numbers:
            return kind(f"{what}: {words.format(told)} (error {number})", number=number)
    words = f"it refused the statement: {told} (error {number}); check query, where, columns and cursor"
    return SourceRefusedError(f"{what}: {words}", number=number)


class Streaming(SSCursor):
    """A cursor that holds one batch of a result, and can be left before its end."""

    @property
    def fields(self) -> tuple[Description, ...]:
        """The columns as the server describes them."""
        found: Any = self.result.fields
        return tuple(Description(f.name, f.type_code, f.flags, f.length, f.scale, f.charsetnr) for f in found)

    @property
    def result(self) -> Any:
        """The driver's result; it tells more than its description does."""
        return vars(self)["_result"]

    def leave(self) -> None:
        """Forget the rest of the result: the connection is closed next, and nobody should wait for the rows."""
        if self.result is not None:
            self.result.unbuffered_active = False
            self.result.has_next = False


@dataclass(frozen=True, slots=True)
class MysqlLogin(ServerLogin):
    """How to log in to MySQL or MariaDB."""

    @contextmanager
    def session(self) -> Iterator[Streaming]:
        """Give a cursor whose values are bytes and text as the server writes them."""
        with translated(self.told):
            conn: pymysql.Connection[Any] = pymysql.connect(
                **self.place(), user=self.server.user, password=self.password() or "", database=self.server.database,
                charset="utf8mb4", autocommit=True, connect_timeout=10, read_timeout=self.patience, conv={},
                cursorclass=Streaming, **self.encryption(),
            )  # fmt: skip
        cursor = Streaming(conn)
        try:
            with translated(self.told):
                self.begin(cursor)
            yield cursor
        finally:
            cursor.leave()
            conn.close()
            cursor.connection = None  # type: ignore[assignment] # else it asks the closed one for more results

    @property
    def patience(self) -> int:
        """Seconds to wait for a packet: a little longer than a statement may take."""
        return int(self.server.statement_timeout.total_seconds()) + 60

    def place(self) -> dict[str, Any]:
        """Return where the server is."""
        if self.server.host.startswith("/"):
            return {"unix_socket": self.server.host}
        return {"host": self.server.host, "port": self.server.port or PORTS["mysql"]}

    def encryption(self) -> dict[str, Any]:
        """Return how the connection is encrypted."""
        match self.server.tls:
            case "disable":
                return {"ssl_disabled": True}
            case "prefer":
                return {}
            case tls:
                context = ssl.create_default_context(cadata=self.server.ca)
                context.check_hostname = tls == "verify-full"
                context.verify_mode = ssl.CERT_NONE if tls == "require" else ssl.CERT_REQUIRED
                return {"ssl": context}

    def begin(self, cursor: Streaming) -> None:
        """Begin a transaction on a snapshot."""
        cursor.execute("SELECT version()")
        version = str((cursor.fetchone() or [""])[0])
        cursor.fetchall()
        seconds = self.server.statement_timeout.total_seconds()
        limit = f"max_statement_time = {seconds}"
        if "mariadb" not in version.lower():
            limit = f"max_execution_time = {int(seconds * 1000)}"
        for statement in (f"SET SESSION {limit}", *SESSION):
            cursor.execute(statement)
