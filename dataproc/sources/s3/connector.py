"""What can be asked of a registered S3 bucket before any job reads it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from dataproc.domain.errors import BadDataError, ContractViolationError, InvalidSpecError
from dataproc.domain.source_columns import type_name
from dataproc.domain.sources.files import S3Source
from dataproc.ports.connector import Discovered
from dataproc.sources.files.formats import format_of
from dataproc.sources.files.globs import Selection, escaped
from dataproc.sources.files.listing import pages
from dataproc.sources.files.readers import Readers
from dataproc.sources.files.source import FileSource
from dataproc.sources.s3.connection import SCHEME
from dataproc.sources.s3.errors import translated
from dataproc.sources.s3.listing import S3Lister
from dataproc.sources.s3.service import S3Service
from dataproc.sources.s3.storage import S3Storage

MOST = 1000
"""Names that are told."""
LOOKED_INTO = 10
"""Files whose columns are told: each takes some requests."""


@dataclass(frozen=True, slots=True)
class S3Connector:
    """What can be asked of an S3 bucket; names are as a job of this connection writes them in `path`."""

    service: S3Service
    readers: Readers

    @property
    def place(self) -> tuple[str, str]:
        """The bucket, and the folder in it."""
        connection = self.service.connection
        if connection.bucket is None:
            raise InvalidSpecError("connection: it names no bucket; write `bucket`, which is what can be looked at")
        return connection.bucket, connection.folder

    def test(self) -> str:
        """List one object; return how the service calls itself."""
        bucket, folder = self.place
        with translated(f"{SCHEME}{bucket}/{folder}"):
            reply = self.service.ask(
                lambda client: client.list_objects_v2(Bucket=bucket, Prefix=folder, MaxKeys=1, **self.service.payer)
            )
        server = reply.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("server", "S3")
        return f"{server}, bucket {bucket}"

    def discover(self) -> Sequence[Discovered]:
        """Return the folders and objects directly below the connection's prefix; of the first files the columns."""
        bucket, folder = self.place
        start = f"{SCHEME}{bucket}/{folder}"
        names = sorted(islice(self.names(start), MOST))
        readable = [name for name in names if format_of(name) is not None][:LOOKED_INTO]
        return [self.look(start, name) if name in readable else Discovered(name) for name in names]

    def names(self, start: str) -> Iterator[str]:
        """Yield the names of folders and objects."""
        for page in pages(S3Lister(self.service), start, folded=True):
            found = [*page.folders, *(file.uri for file in page.files)]
            yield from (uri.removeprefix(start) for uri in found if uri != start)

    def look(self, start: str, name: str) -> Discovered:
        """Return the columns of a file, and its rows if it tells them; one that cannot be read has none."""
        spec = S3Source(kind="s3", path=start + name)
        selection = Selection((escaped(start + name),))
        source = FileSource(S3Storage(self.service, selection), spec, readers=self.readers)
        try:
            plan = source.plan()
        except (BadDataError, ContractViolationError):
            return Discovered(name)
        columns = tuple((field.name, type_name(field)) for field in plan.schema)
        return Discovered(name, columns, plan.rows)
