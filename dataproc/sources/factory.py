"""From a specification to the source that it means, and from a registered connection to what can be asked of it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import assert_never

from dataproc.domain.contract import NO_CONTRACT, Contract
from dataproc.domain.errors import InvalidSpecError, Problem, SetupError
from dataproc.domain.source_columns import EVERYTHING_INFERRED, SourceColumns
from dataproc.domain.sources.database import DatabaseSource
from dataproc.domain.sources.external import DltSource, PluginSource
from dataproc.domain.sources.files import FilesSource, S3Source
from dataproc.domain.sources.kinds import AnySource
from dataproc.domain.sources.rejects import RejectsSource
from dataproc.domain.sources.rest import RestSource
from dataproc.ports.connector import Connector
from dataproc.ports.pipeline import Source
from dataproc.ports.rejects import RejectedRows
from dataproc.ports.secrets import Secrets
from dataproc.ports.store import Connection
from dataproc.ports.throttle import UNLIMITED, Throttle
from dataproc.sources.database.connection import KINDS as DATABASES
from dataproc.sources.database.source import database_connector, database_source
from dataproc.sources.external.dlt import DltResourceSource
from dataproc.sources.external.plugins import PluginConnector, plugin_source
from dataproc.sources.files.factory import files_source, s3_source
from dataproc.sources.files.isolated import IsolatedReaders
from dataproc.sources.files.readers import Readers, ReadersHere
from dataproc.sources.files.run import SourceRun
from dataproc.sources.rejected.source import RejectedSource
from dataproc.sources.rest.connection import rest_connection
from dataproc.sources.rest.connector import RestConnector
from dataproc.sources.rest.source import ApiSource
from dataproc.sources.s3.connection import connection_for
from dataproc.sources.s3.connector import S3Connector
from dataproc.sources.s3.service import S3Service


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a source is given besides its specification; `columns` is what steps and target say of its columns."""

    secrets: Secrets
    connection: Connection | None = None
    files_root: Path | None = None
    columns: SourceColumns = EVERYTHING_INFERRED
    python_modules: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    run: SourceRun | None = None
    throttle: Throttle = UNLIMITED
    contract: Contract = NO_CONTRACT
    rejected: RejectedRows | None = None
    isolated: bool = False

    @property
    def readers(self) -> Readers:
        """What decodes files: processes that may die, where this one has other work (`isolated`)."""
        return IsolatedReaders() if self.isolated else ReadersHere()

    @property
    def text_columns(self) -> frozenset[str]:
        """The columns that a later step casts from text, as plugins were given them before."""
        return self.columns.declared


def source_for(spec: AnySource, around: Surroundings) -> Source:  # noqa: PLR0911 - one for each kind
    """Return the source that `spec` means."""
    match spec:
        case S3Source():
            return s3_source(
                spec, s3_service(around), around.columns, around.run, contract=around.contract, readers=around.readers
            )
        case FilesSource():
            service, columns = s3_service(around), around.columns
            return files_source(
                spec, around.files_root, service, columns, around.run, contract=around.contract, readers=around.readers
            )
        case RestSource():
            connection = rest_connection(around.connection)
            return ApiSource(spec, connection, around.secrets, around.throttle, around.columns)
        case DatabaseSource():
            return database_source(spec, around.connection, around.secrets, around.files_root, around.columns.declared)
        case DltSource():
            return DltResourceSource(spec, around.secrets, around.python_modules)
        case PluginSource():
            return plugin_source(spec, around)
        case RejectsSource():
            return RejectedSource(spec, rejected_rows(around), around.columns)
        case _:
            assert_never(spec)


def rejected_rows(around: Surroundings) -> RejectedRows:
    """Return the rows that were set aside, which are in the warehouse."""
    if around.rejected is None:
        raise SetupError("rejects are in the warehouse: set DATAPROC_WAREHOUSE_URL", setting="DATAPROC_WAREHOUSE_URL")
    return around.rejected


def s3_service(around: Surroundings) -> S3Service:
    """Return the S3 service of the registered connection, or of the environment."""
    return S3Service(connection_for(around.connection, around.environment), around.secrets)


def connector_for(around: Surroundings) -> Connector:
    """Return what can be asked of the registered connection, or raise `InvalidSpecError` with what is wrong in it."""
    connection = around.connection
    if connection is not None and connection.kind in DATABASES:
        return database_connector(connection, around.secrets, around.files_root)
    match connection.kind if connection else "":
        case "s3":
            return S3Connector(s3_service(around), around.readers)
        case "rest":
            return RestConnector(rest_connection(connection), around.secrets, around.throttle)
        case "plugin":
            return PluginConnector()
        case other:
            wrong = Problem("/kind", f"write one of plugin, rest, s3, {', '.join(sorted(DATABASES))}")
            raise InvalidSpecError(f"There are no connections of kind {other!r}.", (wrong,))
