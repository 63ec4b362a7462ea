"""S3 Inventory: reports of all objects of a bucket, in place of a listing of very many.

A report is hours old. Whoever takes files from it looks at each of them once more.
"""

import csv
import gzip
import hashlib
import json
import re
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pyarrow as pa
import pyarrow.parquet as pq

from dataproc.domain.errors import BadDataError, InvalidSpecError, SourceChangedError, SourceNotFoundError
from dataproc.sources.files.globs import Root
from dataproc.sources.files.listing import pages
from dataproc.sources.files.storage import FoundFile
from dataproc.sources.s3.connection import SCHEME, split
from dataproc.sources.s3.errors import translated
from dataproc.sources.s3.listing import S3Lister, bare, version_of
from dataproc.sources.s3.replies import demand_field
from dataproc.sources.s3.service import S3Service

MANIFEST, CHECKSUM = "manifest.json", "manifest.checksum"
REPORT = re.compile(r"/\d{4}-\d\d-\d\dT\d\d-\d\dZ/$")
ROWS_AT_ONCE = 10_000
PIECE = 1024 * 1024

NAMES = {
    "Key": "key", "Size": "size", "ETag": "e_tag", "VersionId": "version_id", "IsLatest": "is_latest",
    "IsDeleteMarker": "is_delete_marker",
}  # fmt: skip
"""Fields of a report that we look at: as manifests name them, and as columns of Parquet files."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Inventory:
    """The report of a manifest, or the latest one in a folder of reports."""

    service: S3Service
    uri: str
    versions: bool = False

    def entries(self, roots: Iterable[Root]) -> Iterator[FoundFile]:
        """Yield the objects of the report in its order, which is none; each part of it is checked by its checksum."""
        manifest = self.manifest()
        source, store = self.field(manifest, "sourceBucket"), self.field(manifest, "destinationBucket")
        self.demand_bucket(source, roots)
        for part in self.field(manifest, "files"):
            uri = f"{SCHEME}{store.removeprefix('arn:aws:s3:::')}/{self.field(part, 'key')}"
            with self.fetched(uri, self.field(part, "MD5checksum")) as path:
                for row in self.rows(path, uri, manifest):
                    if is_current(row):
                        yield self.found(source, row)

    def manifest(self) -> dict[str, Any]:
        """Return the manifest, after a look at its checksum and format."""
        uri = self.uri if self.uri.endswith(".json") else self.latest()
        wanted = self.bytes_of(f"{uri.rpartition('/')[0]}/{CHECKSUM}").decode("ascii", "replace").strip()
        text = self.bytes_of(uri)
        demand_checksum(uri, hashlib.md5(text, usedforsecurity=False).hexdigest(), wanted)
        try:
            manifest: dict[str, Any] = dict(json.loads(text))
        except (ValueError, TypeError, RecursionError) as exc:
            raise BadDataError(f"inventory: {uri} is not the manifest of a report", uri=uri) from exc
        if (form := self.field(manifest, "fileFormat")) not in ("CSV", "Parquet"):
            msg = f"inventory: {uri} is of format {form}; have the report made as CSV or Parquet"
            raise BadDataError(msg, uri=uri)
        return manifest

    def field(self, part: Row, name: str) -> Any:
        """Return a field of the manifest, or of one of its parts."""
        return demand_field(part, name, self.uri, "the manifest of the inventory")

    def latest(self) -> str:
        """Return the manifest of the latest report that is complete: its checksum is written last."""
        folder = f"{self.uri.rstrip('/')}/"
        lister = S3Lister(self.service)
        found = [name for page in pages(lister, folder, folded=True) for name in page.folders if REPORT.search(name)]
        for report in sorted(found, reverse=True):
            if lister.page(f"{report}{CHECKSUM}", only=True).files:
                return f"{report}{MANIFEST}"
        msg = f"inventory: {folder} holds no complete report; name the folder that holds those called 2026-01-31T01-00Z"
        raise SourceNotFoundError(msg, uri=folder)

    def demand_bucket(self, source: str, roots: Iterable[Root]) -> None:
        """Refuse a path in another bucket than the report's."""
        for prefix, _ in roots:
            if split(prefix)[0] != source:
                raise InvalidSpecError(f"inventory: it tells of bucket {source!r}, but path names {prefix!r}")

    def rows(self, path: Path, uri: str, manifest: Row) -> Iterator[Row]:
        """Yield the entries of one part of the report, by the names of Parquet columns."""
        try:
            if manifest["fileFormat"] == "CSV":
                names = str(self.field(manifest, "fileSchema")).split(",")
                fields = [NAMES.get(name.strip(), "") for name in names]
                self.demand_fields(fields)
                yield from csv_rows(path, fields)
            else:
                self.demand_fields(pq.read_schema(path).names)
                yield from parquet_rows(path)
        except (OSError, EOFError, zlib.error, csv.Error, ValueError, pa.ArrowException) as exc:
            raise BadDataError(f"inventory: {uri} cannot be read as {manifest['fileFormat']}", uri=uri) from exc

    def demand_fields(self, fields: Iterable[str]) -> None:
        """Refuse a report without the fields that are needed."""
        needed = ["Key", "Size", "ETag", *(["VersionId", "IsLatest"] if self.versions else [])]
        if lacking := [name for name in needed if NAMES[name] not in fields]:
            msg = f"inventory: {self.uri} lacks {', '.join(lacking)}; add these fields to the inventory's configuration"
            raise InvalidSpecError(msg)

    def found(self, bucket: str, row: Row) -> FoundFile:
        """Return an object as the report tells it."""
        uri = f"{SCHEME}{bucket}/{row['key']}"
        etag, size = (demand_field(row, name, uri, "an entry of the inventory") for name in ("e_tag", "size"))
        version = version_of(row["version_id"] or "null", etag) if self.versions else bare(etag)
        try:
            return FoundFile(uri, version, int(size))
        except ValueError as exc:
            raise BadDataError(f"inventory: the size of {uri} is not a number", uri=uri) from exc

    def bytes_of(self, uri: str) -> bytes:
        """Return a small object."""
        bucket, key = split(uri)
        with translated(uri):
            reply = self.service.ask(lambda client: client.get_object(Bucket=bucket, Key=key, **self.service.payer))
            return reply["Body"].read()

    @contextmanager
    def fetched(self, uri: str, checksum: str) -> Iterator[Path]:
        """Give a part of the report as a file of this machine, whose checksum was compared."""
        bucket, key = split(uri)
        digest = hashlib.md5(usedforsecurity=False)
        with tempfile.NamedTemporaryFile(prefix="inventory-") as file:
            with translated(uri):
                reply = self.service.ask(lambda client: client.get_object(Bucket=bucket, Key=key, **self.service.payer))
                for piece in reply["Body"].iter_chunks(PIECE):
                    digest.update(piece)
                    file.write(piece)
            file.flush()
            demand_checksum(uri, digest.hexdigest(), checksum)
            yield Path(file.name)


def demand_checksum(uri: str, found: str, wanted: str) -> None:
    """Raise unless a part of a report is what its manifest says: it may be replaced at this very moment."""
    if found != wanted:
        raise SourceChangedError(f"inventory: {uri} does not match its checksum; is it being replaced?", uri=uri)


def csv_rows(path: Path, fields: list[str]) -> Iterator[Row]:
    """Yield the entries of a part in gzipped CSV, whose keys are encoded as in URLs."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        for cells in csv.reader(file):
            row = dict(zip(fields, cells, strict=True))
            yield {"version_id": ""} | row | {"key": unquote_plus(row["key"])}


def parquet_rows(path: Path) -> Iterator[Row]:
    """Yield the entries of a part in Parquet."""
    file = pq.ParquetFile(path)
    columns = [name for name in NAMES.values() if name in file.schema_arrow.names]
    for batch in file.iter_batches(ROWS_AT_ONCE, columns=columns):
        yield from ({"version_id": ""} | row for row in batch.to_pylist())


def is_current(row: Row) -> bool:
    """Whether an entry is of an object as it was last; reports of current versions do not say."""
    return is_true(row.get("is_latest", True)) and not is_true(row.get("is_delete_marker", False))


def is_true(value: object) -> bool:
    """Return a truth value, which CSV holds as text; a missing one is false."""
    return value is True or value == "true"
