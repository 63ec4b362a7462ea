"""From the specification of files, in a bucket or a folder, to the source that reads them, with its archive."""

from datetime import timedelta
from pathlib import Path

from dataproc.domain.contract import NO_CONTRACT, Contract
from dataproc.domain.errors import InvalidSpecError, SetupError
from dataproc.domain.source_columns import SourceColumns
from dataproc.domain.sources.files import FileOptions, FilesSource, S3Source
from dataproc.ports.pipeline import Source
from dataproc.sources.files.archive import ArchivedSource, S3Archive
from dataproc.sources.files.globs import Selection
from dataproc.sources.files.local import LocalStorage
from dataproc.sources.files.readers import Readers
from dataproc.sources.files.run import SourceRun
from dataproc.sources.files.source import FileSource
from dataproc.sources.s3.service import S3Service
from dataproc.sources.s3.storage import S3Storage

SOME_KEY = f"expires=2026-01-31/job={'0' * 36}/{'0' * 64}.parquet"
"""What is below an archive."""


def s3_source(
    spec: S3Source,
    service: S3Service,
    columns: SourceColumns,
    run: SourceRun | None,
    *,
    contract: Contract = NO_CONTRACT,
    readers: Readers,
) -> Source:
    """Return the source of objects; `run`: that for which it is read, `None` when it is only planned."""
    storage = s3_storage(spec, service, run)
    archive = archive_of(spec, service, run)
    if archive is not None and storage.selection.has(f"{archive.root}{SOME_KEY}"):
        raise InvalidSpecError("archive/path: the path of this source would read it as well; exclude it, or move it")
    return kept(FileSource(storage, spec, columns, contract, readers), archive)


def files_source(
    spec: FilesSource,
    root: Path | None,
    service: S3Service,
    columns: SourceColumns,
    run: SourceRun | None,
    *,
    contract: Contract = NO_CONTRACT,
    readers: Readers,
) -> Source:
    """Return the source of files below a folder; `service` is where an archive goes."""
    if root is None:
        raise SetupError("kind files: reading files is switched off; set DATAPROC_FILES_ROOT to a folder")
    storage = LocalStorage(root, spec.paths, spec.exclude)
    return kept(FileSource(storage, spec, columns, contract, readers), archive_of(spec, service, run))


def s3_storage(spec: S3Source, service: S3Service, run: SourceRun | None) -> S3Storage:
    """Return the objects that `spec` selects."""
    uri = service.connection.uri
    exclude = tuple(uri(one) if "/" in one else one for one in spec.exclude)
    # What failed with an old listing would fail with it again.
    age = spec.listing.cache if run is None or run.attempt == 1 else timedelta(0)
    return S3Storage(
        service, Selection(tuple(map(uri, spec.paths)), exclude), spec.track == "versions", age, spec.inventory
    )


def archive_of(spec: FileOptions, service: S3Service, run: SourceRun | None) -> S3Archive | None:
    """Return where a run keeps its rows; `None`: nowhere."""
    if spec.archive is None or run is None:
        return None
    bucket, prefix = service.connection.locate(f"{spec.archive.path.rstrip('/')}/")
    return S3Archive(service, bucket, prefix, spec.archive.expires, run)


def kept(source: Source, archive: S3Archive | None) -> Source:
    """Return a source, which is kept in an archive if there is one."""
    return source if archive is None else ArchivedSource(source, archive)
