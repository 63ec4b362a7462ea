"""From a specification to the source that it means."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import assert_never

from dataproc.domain.errors import SetupError
from dataproc.domain.sources.files import FilesSource, S3Source
from dataproc.ports.pipeline import Source
from dataproc.ports.store import Connection
from dataproc.sources.file_source import FileSource
from dataproc.sources.local import LocalStorage
from dataproc.sources.s3 import S3Storage
from dataproc.sources.s3_connection import connection_for


def source_for(
    spec: S3Source | FilesSource,
    *,
    connection: Connection | None = None,
    files_root: Path | None = None,
    text_columns: frozenset[str] = frozenset(),
    environment: Mapping[str, str] = os.environ,
) -> Source:
    """Return the source that `spec` means; `text_columns` are left as text for a later step to cast."""
    match spec:
        case S3Source():
            storage = S3Storage(connection_for(connection, environment), spec.path)
            return FileSource(storage, spec, text_columns)
        case FilesSource():
            if files_root is None:
                raise SetupError("kind files: reading files is switched off; set DATAPROC_FILES_ROOT to a folder")
            return FileSource(LocalStorage(files_root, spec.path), spec, text_columns)
        case _:
            assert_never(spec)
