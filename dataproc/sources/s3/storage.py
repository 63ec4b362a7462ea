"""Objects of an S3 service, read by ranges that each prove the object's version."""

import io
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import stamina
from botocore.exceptions import IncompleteReadError, ReadTimeoutError, ResponseStreamingError

from dataproc.domain.errors import SourceChangedError, SourceUnavailableError
from dataproc.sources.files.globs import Root, Selection
from dataproc.sources.files.listing import listed
from dataproc.sources.files.storage import FoundFile
from dataproc.sources.s3.connection import split
from dataproc.sources.s3.errors import translated
from dataproc.sources.s3.inventory import Inventory
from dataproc.sources.s3.listing import UNVERSIONED, S3Lister, bare, recent, version_of
from dataproc.sources.s3.replies import demand_field
from dataproc.sources.s3.service import S3Service

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef, HeadObjectOutputTypeDef

AT_ONCE = 16 * 1024 * 1024
"""Objects up to this size are fetched with one request when all of it is read."""
HEADS_AT_ONCE = 16

BROKEN_OFF = (ResponseStreamingError, IncompleteReadError, ReadTimeoutError)


@dataclass(frozen=True, slots=True)
class S3Storage:
    """The selected objects, listed or told by an inventory; `versions`: known by version ids in place of ETags."""

    service: S3Service
    selection: Selection
    versions: bool = False
    listing_age: timedelta = timedelta(0)
    inventory: str | None = None

    def find(self) -> Iterator[FoundFile]:
        """Yield the selected objects by URI; folders that consoles make are no objects."""
        selection = self.selection if self.inventory else self.selection.with_names(self.existing())
        known = self.known(tuple(selection.roots()))
        return (file for file in known if not file.uri.endswith("/") and selection.has(file.uri))

    def existing(self) -> frozenset[str]:
        """Return those paths with characters of globs that are the URI of an object; one request for each path."""
        lister, paths = S3Lister(self.service, self.versions), self.selection.ambiguous
        with ThreadPoolExecutor(HEADS_AT_ONCE, thread_name_prefix="exact") as pool:
            found = pool.map(lambda path: lister.page(path, only=True).files, paths)
            return frozenset(file.uri for files in found for file in files)

    def known(self, roots: tuple[Root, ...]) -> Iterator[FoundFile]:
        """Yield all objects that may be selected."""
        if self.inventory is not None:
            return Inventory(self.service, self.inventory, versions=self.versions).entries(roots)
        lister = S3Lister(self.service, self.versions)
        if not self.listing_age:
            return listed(lister, roots)
        return recent((self.service.identity, self.versions, roots), self.listing_age, lambda: listed(lister, roots))

    def confirmed(self, files: Iterable[FoundFile]) -> Iterator[FoundFile]:
        """Yield the objects as they are now; only an inventory, which is hours old, has to be checked."""
        if self.inventory is None:
            yield from files
            return
        rest = iter(files)
        with ThreadPoolExecutor(HEADS_AT_ONCE, thread_name_prefix="head") as pool:
            while batch := list(islice(rest, 64 * HEADS_AT_ONCE)):
                yield from (now for now in pool.map(self.now, batch) if now is not None)

    def now(self, file: FoundFile) -> FoundFile | None:
        """Return an object as it is now; `None`: it is gone."""
        try:
            head = head_of(self.service, file.uri)
        except SourceChangedError:
            return None
        etag, size = demand_field(head, "ETag", file.uri), demand_field(head, "ContentLength", file.uri)
        version = version_of(head.get("VersionId", "null"), etag) if self.versions else bare(etag)
        return FoundFile(file.uri, version, size)

    @contextmanager
    def open(self, uri: str, version: str, size: int | None = None, *, ahead: bool = False) -> Iterator[pa.NativeFile]:
        """Open an object for reading by ranges; a small one of which all is read is fetched at once."""
        wanted = Wanted(uri, version, by_id=self.versions and not version.startswith(UNVERSIONED))
        found = S3Object(self.service, wanted, size)
        if ahead and found.size <= AT_ONCE:
            yield pa.BufferReader(found.fetch(0, found.size) if found.size else b"")
        else:
            yield pa.PythonFile(found, mode="r")


@dataclass(frozen=True, slots=True)
class Wanted:
    """An object in the version that was planned, told by its version id or its ETag."""

    uri: str
    version: str
    by_id: bool

    @property
    def condition(self) -> dict[str, Any]:
        """What a request says, so that no other version is sent."""
        return {"VersionId": self.version} if self.by_id else {"IfMatch": f'"{self.etag}"'}

    @property
    def etag(self) -> str:
        """The ETag."""
        return self.version.removeprefix(UNVERSIONED)

    def demand(self, reply: "GetObjectOutputTypeDef | HeadObjectOutputTypeDef") -> None:
        """Raise `SourceChangedError` unless a reply is of this version: some services ignore conditions."""
        sent = demand_field(reply, "VersionId" if self.by_id else "ETag", self.uri)
        if (sent if self.by_id else bare(sent)) != (self.version if self.by_id else self.etag):
            raise SourceChangedError(f"{self.uri} changed after the run was planned", uri=self.uri)


def head_of(service: S3Service, uri: str, version: str | None = None) -> "HeadObjectOutputTypeDef":
    """Return what the service tells of an object, or of a version of it; if it is gone, raise `SourceChangedError`."""
    bucket, key = split(uri)
    place: dict[str, Any] = {} if version is None else {"VersionId": version}
    with translated(uri, planned=True):
        return service.ask(lambda client: client.head_object(Bucket=bucket, Key=key, **place, **service.payer))


class S3Object(io.RawIOBase):
    """An object as a file for Arrow: each read is one request for a range of one version."""

    def __init__(self, service: S3Service, wanted: Wanted, size: int | None) -> None:
        super().__init__()
        self.service, self.wanted = service, wanted
        self.offset = 0
        self.size = self.ask_size() if size is None else size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.offset

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.offset, io.SEEK_END: self.size}[whence]
        self.offset = start + offset
        return self.offset

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes, with one request."""
        left = max(self.size - self.offset, 0)
        wanted = left if size is None or size < 0 else min(size, left)
        if wanted == 0:
            return b""
        data = self.fetch(self.offset, self.offset + wanted)
        self.offset += len(data)
        return data

    def ask_size(self) -> int:
        """Return the object's size, from its head."""
        head = head_of(self.service, self.wanted.uri, self.wanted.version if self.wanted.by_id else None)
        self.wanted.demand(head)
        return int(demand_field(head, "ContentLength", self.wanted.uri))

    def fetch(self, start: int, stop: int) -> bytes:
        """Return the bytes from `start` up to `stop`; a transfer that breaks off is tried again."""
        uri = self.wanted.uri
        for attempt in stamina.retry_context(on=BROKEN_OFF, attempts=3, wait_initial=0.1, timeout=120):
            with attempt, translated(uri, planned=True, but=BROKEN_OFF if attempt.num < 3 else ()):
                return self.fetch_once(start, stop)
        raise SourceUnavailableError(f"{uri} breaks off", uri=uri)

    def fetch_once(self, start: int, stop: int) -> bytes:
        """Return a range of the object, if it still is of this version."""
        bucket, key = split(self.wanted.uri)
        place = {"Range": f"bytes={start}-{stop - 1}", **self.wanted.condition, **self.service.payer}
        reply = self.service.ask(lambda client: client.get_object(Bucket=bucket, Key=key, **place))
        # A body that is not read keeps its connection until it is closed.
        with closing(reply["Body"]) as body:
            self.wanted.demand(reply)
            data = body.read()
        if len(data) != stop - start:
            raise SourceChangedError(f"{self.wanted.uri} is shorter than when the run was planned", uri=self.wanted.uri)
        return data
