"""Objects of an S3 bucket, read by ranges that each prove the object's version."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import stamina
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    InvalidConfigError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    ReadTimeoutError,
    ResponseStreamingError,
)

from dataproc.domain.errors import (
    DataprocError,
    SourceChangedError,
    SourceNotFoundError,
    SourceRefusedError,
    SourceUnavailableError,
)
from dataproc.ports.connector import Discovered
from dataproc.sources.globs import fixed_prefix, is_glob, matches
from dataproc.sources.s3_connection import SCHEME, S3Connection, client_of
from dataproc.sources.storage import FoundFile

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import ObjectTypeDef

AT_ONCE = 16 * 1024 * 1024
"""Objects up to this size are fetched with one request when all of it is read."""

BROKEN_OFF = (ResponseStreamingError, IncompleteReadError, ReadTimeoutError)
NOBODY = (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError, ProfileNotFound, InvalidConfigError)
CHANGED = frozenset({"PreconditionFailed", "NoSuchKey", "InvalidRange", "404", "412", "416"})


@dataclass(frozen=True, slots=True)
class S3Storage:
    """The objects that match `path`."""

    connection: S3Connection
    path: str

    def find(self) -> Sequence[FoundFile]:
        """Return the matching objects, sorted by URI; folders that consoles make are no objects."""
        bucket, path = self.connection.locate(self.path)
        with translated(f"{SCHEME}{bucket}/{path}"):
            found = [found_file(bucket, each) for each in self.listed(bucket, path) if is_match(path, each)]
        if not found:
            msg = f"path: nothing in bucket {bucket!r} matches {path!r}; check the path, `**` crosses folders"
            raise SourceNotFoundError(msg, path=self.path)
        return sorted(found, key=lambda file: file.uri)

    def listed(self, bucket: str, path: str) -> Iterator["ObjectTypeDef"]:
        """Yield the objects whose key begins as `path` does, up to its first wildcard."""
        pages = client_of(self.connection).get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=bucket, Prefix=fixed_prefix(path)):
            yield from page.get("Contents", [])
            if not is_glob(path):
                return  # the key itself sorts first among those that begin with it

    @contextmanager
    def open(self, uri: str, version: str, size: int | None = None, *, ahead: bool = False) -> Iterator[pa.NativeFile]:
        """Open an object for reading by ranges; a small one of which all is read is fetched at once."""
        bucket, _, key = uri.removeprefix(SCHEME).partition("/")
        found = S3Object(self.connection, bucket, key, version, size)
        if ahead and found.size <= AT_ONCE:
            yield pa.BufferReader(found.fetch(0, found.size) if found.size else b"")
        else:
            yield pa.PythonFile(found, mode="r")


@dataclass(frozen=True, slots=True)
class S3Connector:
    """What can be asked of an S3 bucket."""

    connection: S3Connection

    def test(self) -> str:
        """List one object; return how the service calls itself."""
        bucket, prefix = self.connection.locate("")
        with translated(f"{SCHEME}{bucket}/{prefix}"):
            reply = client_of(self.connection).list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
        server = reply["ResponseMetadata"]["HTTPHeaders"].get("server", "S3")
        return f"{server}, bucket {bucket}"

    def discover(self) -> Sequence[Discovered]:
        """Return the folders and objects directly below the connection's prefix."""
        bucket, prefix = self.connection.locate("")
        found: list[Discovered] = []
        with translated(f"{SCHEME}{bucket}/{prefix}"):
            pages = client_of(self.connection).get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=bucket, Prefix=prefix, Delimiter="/"):
                found += [Discovered(each["Prefix"]) for each in page.get("CommonPrefixes", [])]
                found += [Discovered(each["Key"]) for each in page.get("Contents", [])]
        return sorted(found, key=lambda one: one.name)


class S3Object(io.RawIOBase):
    """An object as a file for Arrow: each read is one request for a range of one version."""

    def __init__(self, connection: S3Connection, bucket: str, key: str, version: str, size: int | None) -> None:
        super().__init__()
        self.connection, self.bucket, self.key, self.version = connection, bucket, key, version
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
        with translated(self.uri, planned=True):
            head = client_of(self.connection).head_object(Bucket=self.bucket, Key=self.key)
        self.demand(head["ETag"])
        return head["ContentLength"]

    def fetch(self, start: int, stop: int) -> bytes:
        """Return the bytes from `start` up to `stop`; a transfer that breaks off is tried again."""
        for attempt in stamina.retry_context(on=BROKEN_OFF, attempts=3, wait_initial=0.1, timeout=120):
            with attempt, translated(self.uri, planned=True, but=BROKEN_OFF if attempt.num < 3 else ()):
                return self.fetch_once(start, stop)
        raise SourceUnavailableError(f"{self.uri} breaks off", uri=self.uri)

    def fetch_once(self, start: int, stop: int) -> bytes:
        """Return a range of the object, if it still is of this version."""
        reply = client_of(self.connection).get_object(
            Bucket=self.bucket, Key=self.key, Range=f"bytes={start}-{stop - 1}", IfMatch=f'"{self.version}"'
        )
        # Some services ignore If-Match, so the reply is asked as well.
        self.demand(reply["ETag"])
        data = reply["Body"].read()
        if len(data) != stop - start:
            raise SourceChangedError(f"{self.uri} is shorter than when the run was planned", uri=self.uri)
        return data

    def demand(self, etag: str) -> None:
        """Raise `SourceChangedError` unless `etag` is that of the version planned."""
        if bare(etag) != self.version:
            raise SourceChangedError(f"{self.uri} changed after the run was planned", uri=self.uri)

    @property
    def uri(self) -> str:
        """The object's URI."""
        return f"{SCHEME}{self.bucket}/{self.key}"


def is_match(path: str, found: "ObjectTypeDef") -> bool:
    """Whether an object's key matches, and it is no folder."""
    key = found["Key"]
    return matches(path, key) and not key.endswith("/")


def found_file(bucket: str, found: "ObjectTypeDef") -> FoundFile:
    """Return an object as it was listed."""
    return FoundFile(f"{SCHEME}{bucket}/{found['Key']}", bare(found["ETag"]), found["Size"])


def bare(etag: str) -> str:
    """Return an ETag without its quotes, which some services leave out."""
    return etag.removeprefix("W/").strip('"')


@contextmanager
def translated(uri: str, *, planned: bool = False, but: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Raise our errors in place of those of the S3 client; `planned`: the object was there a moment ago."""
    try:
        yield
    except but:
        raise
    except ClientError as exc:
        raise refused(exc, uri, planned=planned) from exc
    except NOBODY as exc:
        msg = f"{uri}: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the workers a role"
        raise SourceRefusedError(msg, uri=uri) from exc
    except ParamValidationError as exc:
        raise SourceNotFoundError(f"path: {uri} is no valid bucket and key", uri=uri) from exc
    except (HTTPClientError, BotoCoreError) as exc:
        raise SourceUnavailableError(f"{uri}: the S3 service does not answer: {type(exc).__name__}", uri=uri) from exc


def refused(exc: ClientError, uri: str, *, planned: bool) -> DataprocError:
    """Return our error for a reply of the service that is not a success."""
    code = exc.response.get("Error", {}).get("Code", "")
    status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code == "NoSuchBucket":
        return SourceNotFoundError(
            f"path: the bucket of {uri} does not exist; check its name and the endpoint", uri=uri
        )
    if planned and (code in CHANGED or status in (404, 412, 416)):
        return SourceChangedError(f"{uri} changed or was removed after the run was planned", uri=uri)
    if status == 404:
        return SourceNotFoundError(f"path: {uri} does not exist", uri=uri)
    if status >= 500 or status in (408, 429) or code in ("SlowDown", "RequestTimeout"):
        return SourceUnavailableError(f"{uri}: the S3 service answers {status} {code}", uri=uri)
    hint = "check credentials and permissions" if status in (401, 403) else "check region, endpoint and credentials"
    return SourceRefusedError(f"{uri}: the S3 service refused with {status} {code}; {hint}", uri=uri)
