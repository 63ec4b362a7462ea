"""S3's listings: objects or their latest versions, page by page; and recent listings, where a job allows old ones."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from threading import Lock
from typing import Any

from dataproc.ports.clock import Clock
from dataproc.sources.files.listing import Page
from dataproc.sources.files.storage import FoundFile
from dataproc.sources.s3.connection import SCHEME, split
from dataproc.sources.s3.errors import translated
from dataproc.sources.s3.replies import demand_field, demand_listing, next_token
from dataproc.sources.s3.service import S3Service

UNVERSIONED = "null-"
"""What versions begin with that have no id of their own: they can be overwritten, so their ETag follows."""

LISTED = "an entry of a listing"
"""The name of an object, version or folder of a page in errors."""
KEPT_LISTINGS = 16
LONGEST_KEPT = 50_000
"""Files of a listing that may be kept; a longer one is made anew each time, so that memory stays bounded."""


@dataclass(frozen=True, slots=True)
class S3Lister:
    """The objects of a service by pages; `versions`: with the ids of their latest versions."""

    service: S3Service
    versions: bool = False
    page_size: int = 1000

    def page(self, prefix: str, *, folded: bool = False, only: bool = False, after: object = None) -> Page:
        """Return the next page below a prefix."""
        bucket, key = split(prefix)
        options: dict[str, Any] = {"Bucket": bucket, "Prefix": key, "MaxKeys": self.page_size, **self.service.payer}
        options |= {"Delimiter": "/"} if folded else {}
        options |= {"MaxKeys": 1} if only else {}  # the key itself sorts first among those that begin with it
        with translated(prefix):
            page = self.latest(bucket, options, after) if self.versions else self.objects(bucket, options, after)
        return page if not only else Page(tuple(file for file in page.files if file.uri == prefix))

    def objects(self, bucket: str, options: Mapping[str, Any], after: object) -> Page:
        """Return a page of objects as they are now; a request for a thousand."""
        place = {} if after is None else {"ContinuationToken": after}
        reply = self.service.ask(lambda client: client.list_objects_v2(**options, **place))  # type: ignore[arg-type]  # they are made by ourselves
        demand_listing(reply, f"{SCHEME}{bucket}/")
        files = tuple(listed_file(bucket, each) for each in reply.get("Contents", []))
        return Page(files, folders_of(bucket, reply), next_token(reply, "NextContinuationToken", f"{SCHEME}{bucket}/"))

    def latest(self, bucket: str, options: Mapping[str, Any], after: object) -> Page:
        """Return a page of latest versions; older ones cost requests as well, and are passed over."""
        place = after if isinstance(after, dict) else {}
        reply = self.service.ask(lambda client: client.list_object_versions(**options, **place))
        demand_listing(reply, f"{SCHEME}{bucket}/")
        files = tuple(
            listed_file(bucket, each, by_id=True)
            for each in reply.get("Versions", [])
            if demand_field(each, "IsLatest", f"{SCHEME}{bucket}/", LISTED)
        )
        return Page(files, folders_of(bucket, reply), next_version(bucket, reply))


def listed_file(bucket: str, entry: Mapping[str, Any], *, by_id: bool = False) -> FoundFile:
    """Return the object of an entry of a listing; `by_id`: known by the id of its version."""
    uri = f"{SCHEME}{bucket}/{demand_field(entry, 'Key', f'{SCHEME}{bucket}/', LISTED)}"
    etag, size = demand_field(entry, "ETag", uri, LISTED), demand_field(entry, "Size", uri, LISTED)
    version = version_of(demand_field(entry, "VersionId", uri, LISTED), etag) if by_id else bare(etag)
    return FoundFile(uri, version, size)


def folders_of(bucket: str, reply: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the folders of a reply, as URIs."""
    start = f"{SCHEME}{bucket}/"
    return tuple(f"{start}{demand_field(each, 'Prefix', start, LISTED)}" for each in reply.get("CommonPrefixes", []))


def next_version(bucket: str, reply: Mapping[str, Any]) -> dict[str, str] | None:
    """Return where the next page of versions begins; `None`: this is the last one."""
    key, version = next_token(reply, "NextKeyMarker", f"{SCHEME}{bucket}/"), reply.get("NextVersionIdMarker")
    if key is None:
        return None
    return {"KeyMarker": key} | ({"VersionIdMarker": version} if version else {})


def version_of(version_id: str, etag: str) -> str:
    """Return what tells a version from all others of its object."""
    return f"{UNVERSIONED}{bare(etag)}" if version_id == "null" else version_id


def bare(etag: str) -> str:
    """Return an ETag without its quotes, which some services leave out."""
    return etag.removeprefix("W/").strip('"')


@dataclass(frozen=True, slots=True)
class Kept:
    """A listing, and when it was begun."""

    at: float
    files: tuple[FoundFile, ...]


KEPT: dict[tuple[object, ...], Kept] = {}
KEPT_LOCK = Lock()


def recent(
    key: tuple[object, ...], oldest: timedelta, anew: Callable[[], Iterator[FoundFile]], clock: Clock = time.monotonic
) -> Iterator[FoundFile]:
    """Yield the listing of `key` that this process made a short while ago, or make and keep it."""
    now = clock()
    with KEPT_LOCK:
        kept = KEPT.get(key)
    if kept is not None and now - kept.at <= oldest.total_seconds():
        yield from kept.files
        return
    files: list[FoundFile] = []
    for file in anew():
        if len(files) <= LONGEST_KEPT:
            files.append(file)
        yield file
    keep(key, Kept(now, tuple(files)))


def keep(key: tuple[object, ...], kept: Kept) -> None:
    """Keep a listing that is not too long, in place of the oldest."""
    with KEPT_LOCK:
        KEPT.pop(key, None)
        if len(kept.files) <= LONGEST_KEPT:
            KEPT[key] = kept
        if len(KEPT) > KEPT_LISTINGS:
            del KEPT[next(iter(KEPT))]
