"""How to reach a database: a value without secrets; the password is a reference that is resolved where it is used."""

from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from dataproc.domain.duration import Duration
from dataproc.domain.fields import SecretReference
from dataproc.ports.store import Connection
from dataproc.sources.connections import config_of

Tls = Literal["disable", "prefer", "require", "verify-ca", "verify-full"]
PORTS = {"postgresql": 5432, "mysql": 3306, "sqlserver": 1433, "oracle": 1521}
KINDS = (*PORTS, "sqlite")
"""The kinds of registered sources that `kind: database` reads."""


class ServerConnection(BaseModel):
    """A database of a server."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field(
        min_length=1,
        max_length=255,
        pattern=r"^[A-Za-z0-9._:/-]+$",
        description="Name or address of the server; a path is the folder of its socket.",
    )
    port: int | None = Field(default=None, ge=1, le=65535, description="Its port; none: the usual one.")
    database: str = Field(min_length=1, max_length=128, description="The database; of Oracle the service.")
    user: str = Field(min_length=1, max_length=128, description="Who reads; a role that may only read is best.")
    password: SecretReference | None = Field(default=None, description="Where the password is; none: it needs none.")
    tls: Tls = Field(default="prefer", description="`verify-full` checks the server's certificate and its name.")
    ca: str | None = Field(
        default=None,
        max_length=200_000,
        pattern=r"^-----BEGIN CERTIFICATE-----",
        description="The certificates, as PEM text, that sign the server's; none: those of the system.",
    )
    statement_timeout: Duration = Field(
        default=timedelta(minutes=30),
        gt=timedelta(0),
        le=timedelta(days=1),
        description="The longest that one statement may take.",
    )


class SqliteConnection(BaseModel):
    """A file of SQLite."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = Field(
        min_length=1, max_length=1024, description="The file, below the folder `DATAPROC_FILES_ROOT`, read only."
    )


def server_of(connection: Connection) -> ServerConnection:
    """Return the value of a registered server, or say what is wrong with it."""
    return config_of(connection, ServerConnection)


def file_of(connection: Connection) -> SqliteConnection:
    """Return the value of a registered file of SQLite, or say what is wrong with it."""
    return config_of(connection, SqliteConnection)
