"""Places that files can be put into for a source to find: a folder of this machine, a bucket of an S3 server."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dataproc.domain.source_columns import SourceColumns
from dataproc.domain.sources.files import FilesSource, S3Source
from dataproc.ports.pipeline import Source
from dataproc.sources.factory import source_for
from tests.builders import surroundings
from tests.s3 import S3Server


class Place(Protocol):
    """Somewhere that files can be put for a source to find."""

    def put(self, name: str, data: bytes) -> None: ...
    def remove(self, name: str) -> None: ...
    def source(self, path: str, *, text: frozenset[str] = frozenset(), **options: object) -> Source: ...


@dataclass(frozen=True)
class Folder:
    """A folder of this machine."""

    root: Path

    def put(self, name: str, data: bytes) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def remove(self, name: str) -> None:
        (self.root / name).unlink()

    def source(self, path: str, *, text: frozenset[str] = frozenset(), **options: object) -> Source:
        spec = FilesSource.model_validate({"kind": "files", "path": path, **options})
        return source_for(spec, surroundings(files_root=self.root, columns=SourceColumns(declared=text)))


@dataclass(frozen=True)
class Bucket:
    """A bucket of a real S3 server."""

    server: S3Server
    name: str

    def put(self, name: str, data: bytes) -> None:
        self.server.client().put_object(Bucket=self.name, Key=name, Body=data)

    def remove(self, name: str) -> None:
        self.server.client().delete_object(Bucket=self.name, Key=name)

    def source(self, path: str, *, text: frozenset[str] = frozenset(), **options: object) -> Source:
        spec = S3Source.model_validate({"kind": "s3", "path": f"s3://{self.name}/{path}", **options})
        return source_for(spec, surroundings(columns=SourceColumns(declared=text), environment=self.server.environment))
