"""From a specification to the source that it means, and from a registered connection to what can be asked of it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import assert_never

from dataproc.domain.errors import InvalidSpecError, Problem, SetupError
from dataproc.domain.sources.files import FilesSource, S3Source
from dataproc.domain.spec import AnySource
from dataproc.ports.connector import Connector
from dataproc.ports.pipeline import Source
from dataproc.ports.secrets import Secrets
from dataproc.ports.store import Connection
from dataproc.sources.file_source import FileSource
from dataproc.sources.local import LocalStorage
from dataproc.sources.s3 import S3Connector, S3Storage
from dataproc.sources.s3_connection import connection_for


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a source is given besides its specification; `text_columns` are left as text for a later step to cast."""

    secrets: Secrets
    connection: Connection | None = None
    files_root: Path | None = None
    text_columns: frozenset[str] = frozenset()
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)


def source_for(spec: AnySource, around: Surroundings) -> Source:
    """Return the source that `spec` means."""
    match spec:
        case S3Source():
            storage = S3Storage(connection_for(around.connection, around.environment), spec.path)
            return FileSource(storage, spec, around.text_columns)
        case FilesSource():
            if around.files_root is None:
                raise SetupError("kind files: reading files is switched off; set DATAPROC_FILES_ROOT to a folder")
            return FileSource(LocalStorage(around.files_root, spec.path), spec, around.text_columns)
        case _:
            assert_never(spec)


def connector_for(around: Surroundings) -> Connector:
    """Return what can be asked of the registered connection, or raise `InvalidSpecError` with what is wrong in it."""
    connection = around.connection
    match connection.kind if connection else "":
        case "s3":
            return S3Connector(connection_for(connection, around.environment))
        case other:
            wrong = Problem("/kind", "write s3")
            raise InvalidSpecError(f"There are no connections of kind {other!r}.", (wrong,))
