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
from dataproc.sources.s3.service import S3Service

UNVERSIONED = "null-"
"""What versions begin with that have no id of their own: they can be overwritten, so their ETag follows."""

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
        files = tuple(
            FoundFile(f"{SCHEME}{bucket}/{each['Key']}", bare(each["ETag"]), each["Size"])
            for each in reply.get("Contents", [])
        )
        return Page(files, folders_of(bucket, reply), reply.get("NextContinuationToken"))

    def latest(self, bucket: str, options: Mapping[str, Any], after: object) -> Page:
        """Return a page of latest versions; older ones cost requests as well, and are passed over."""
        place = after if isinstance(after, dict) else {}
        reply = self.service.ask(lambda client: client.list_object_versions(**options, **place))
        files = tuple(
            FoundFile(f"{SCHEME}{bucket}/{each['Key']}", version_of(each["VersionId"], each["ETag"]), each["Size"])
            for each in reply.get("Versions", [])
            if each["IsLatest"]
        )
        return Page(files, folders_of(bucket, reply), next_version(reply) if reply["IsTruncated"] else None)


def folders_of(bucket: str, reply: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the folders of a reply, as URIs."""
    return tuple(f"{SCHEME}{bucket}/{each['Prefix']}" for each in reply.get("CommonPrefixes", []))


def next_version(reply: Mapping[str, Any]) -> dict[str, str]:
    """Return where the next page of versions begins."""
    version = reply.get("NextVersionIdMarker")
    return {"KeyMarker": reply["NextKeyMarker"]} | ({"VersionIdMarker": version} if version else {})


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
