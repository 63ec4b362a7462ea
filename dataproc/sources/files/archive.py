"""The archive: the rows of a source as they were read, before any transform, one Parquet file a unit.

Keys are `PREFIX/expires=DAY/job=ID/UNIT.parquet`. They hold the job and not the run: a run that goes on after a failed
one does not read again what that one had staged, so only both together make the archive of what was published. For the
same reason the day is counted from when the job was accepted: all its runs write to one folder.
"""

import hashlib
import logging
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import IO, TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from boto3.s3.transfer import TransferConfig

from dataproc.domain.chunk import POSITION, Chunk
from dataproc.domain.errors import ContractViolationError, DataprocError, SourceRefusedError
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.ports.memory import BLANK, Memory
from dataproc.ports.pipeline import Source
from dataproc.sources.files.listing import pages
from dataproc.sources.files.run import SourceRun
from dataproc.sources.s3.connection import SCHEME
from dataproc.sources.s3.errors import translated
from dataproc.sources.s3.listing import S3Lister
from dataproc.sources.s3.service import S3Service

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import DeleteTypeDef

logger = logging.getLogger(__name__)

DAY = re.compile(r"/expires=(\d{4}-\d\d-\d\d)/$")
OURS = re.compile(r"/expires=\d{4}-\d\d-\d\d/job=[0-9a-f-]{36}/[0-9a-f]{64}\.parquet$")
MOST_SWEPT = 10_000
"""Expired files that are removed at once; those beyond come with the next run."""
DELETED_AT_ONCE = 1000
ONE_THREAD = TransferConfig(use_threads=False)


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class ArchivedSource:
    """A source whose rows are kept: the last chunk of a unit comes when the file with all of them is in place."""

    source: Source
    archive: "S3Archive"

    def plan(self, memory: Memory = BLANK) -> SourcePlan:
        """Return the plan of the source; what earlier runs kept of other units is removed, and what has expired."""
        plan = self.source.plan(memory)
        self.archive.keep_only(plan.units)
        self.archive.sweep()
        return plan

    def read(self, unit: Unit) -> Iterator[Chunk]:
        """Yield the chunks of a unit."""
        with rows_file() as rows:
            for chunk in self.source.read(unit):
                rows.add(chunk)
                if chunk.last:
                    self.archive.put(unit, rows.finished(unit))
                yield chunk


@dataclass(slots=True)
class RowsFile:
    """A Parquet file of this machine, to which chunks are written as they come."""

    file: IO[bytes]
    writer: pq.ParquetWriter | None = None

    def add(self, chunk: Chunk) -> None:
        """Write the rows of a chunk."""
        rows = chunk.rows.drop_columns([POSITION])
        try:
            if self.writer is None:
                self.writer = pq.ParquetWriter(self.file, rows.schema, compression="zstd")
            self.writer.write_table(rows)
        except pa.ArrowNotImplementedError as exc:
            msg = f"archive: {exc}; read that column as text, or keep no archive of this source"
            raise ContractViolationError(msg, unit=chunk.unit) from exc

    def finished(self, unit: Unit) -> IO[bytes]:
        """Return the file, complete and at its start; it tells of which unit it is."""
        if self.writer is not None:
            self.writer.add_key_value_metadata({"dataproc.unit": unit.id})
            self.writer.close()
        self.file.seek(0)
        return self.file


@contextmanager
def rows_file() -> Iterator[RowsFile]:
    """Give a file that is removed in the end."""
    with tempfile.TemporaryFile(prefix="archive-") as file:
        yield RowsFile(file)


@dataclass(frozen=True, slots=True)
class S3Archive:
    """The archive of a job below a prefix; it travels to workers, without secrets."""

    service: S3Service
    bucket: str
    prefix: str
    """Empty, or a folder with its slash."""
    expires: timedelta
    run: SourceRun
    now: Callable[[], datetime] = utc_now

    @property
    def root(self) -> str:
        """The folder of all archives, as a URI."""
        return f"{SCHEME}{self.bucket}/{self.prefix}"

    @property
    def folder(self) -> str:
        """The folder of this job, as a URI."""
        day = (self.run.accepted_at.astimezone(UTC) + self.expires).date()
        return f"{self.root}expires={day.isoformat()}/job={self.run.job_id}/"

    def uri(self, unit: Unit) -> str:
        """Return where a unit is kept."""
        return f"{self.folder}{hashlib.sha256(unit.id.encode()).hexdigest()}.parquet"

    def put(self, unit: Unit, file: IO[bytes]) -> None:
        """Keep the rows of a unit; a task that runs twice writes the same file twice."""
        uri = self.uri(unit)
        key = self.key(uri)
        told = {"Metadata": {"run-id": str(self.run.run_id)}}

        def send(client: "S3Client") -> None:
            file.seek(0)
            client.upload_fileobj(file, self.bucket, key, ExtraArgs=told | self.service.payer, Config=ONE_THREAD)

        with translated(uri):
            self.service.ask(send)

    def keep_only(self, units: Iterable[Unit]) -> None:
        """Remove what earlier runs of this job kept of units that are not planned any more: their files changed."""
        planned = {self.uri(unit) for unit in units}
        self.delete(uri for uri in self.files(self.folder) if uri not in planned)

    def sweep(self) -> None:
        """Remove what has expired; where that is not allowed, loads go on."""
        try:
            days = [name for page in pages(S3Lister(self.service), self.root, folded=True) for name in page.folders]
            expired = (uri for day in days if self.is_over(day) for uri in self.files(day))
            self.delete(islice(expired, MOST_SWEPT))
        except DataprocError as exc:
            logger.warning("expired archives stay", extra={"archive": self.root, "error": exc.code})

    def is_over(self, folder: str) -> bool:
        """Whether the day in a folder's name has come."""
        found = DAY.search(folder)
        return found is not None and found[1] < self.now().date().isoformat()

    def files(self, folder: str) -> Iterator[str]:
        """Yield the archived files in a folder; whatever else lies there is left alone."""
        for page in pages(S3Lister(self.service), folder):
            yield from (file.uri for file in page.files if OURS.search(file.uri))

    def delete(self, uris: Iterable[str]) -> None:
        """Remove files."""
        rest = iter(uris)
        while batch := list(islice(rest, DELETED_AT_ONCE)):
            self.delete_some(batch)

    def delete_some(self, uris: Sequence[str]) -> None:
        """Remove as many files as one request can."""
        named: DeleteTypeDef = {"Objects": [{"Key": self.key(uri)} for uri in uris], "Quiet": True}
        with translated(uris[0]):
            reply = self.service.ask(
                lambda client: client.delete_objects(Bucket=self.bucket, Delete=named, **self.service.payer)
            )
        if failed := reply.get("Errors"):
            where, code = f"{SCHEME}{self.bucket}/{failed[0].get('Key')}", failed[0].get("Code")
            msg = f"archive: {where} may not be removed ({code}); let these credentials delete objects below it"
            raise SourceRefusedError(msg, uri=where)

    def key(self, uri: str) -> str:
        """Return the key of a URI in the archive's bucket."""
        return uri.removeprefix(f"{SCHEME}{self.bucket}/")
