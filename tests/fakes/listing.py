"""A bucket of a million objects, and a memory that has almost all of them."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from dataproc.domain.memory import Boundary, SourceObject
from dataproc.domain.source_columns import Kind, TargetColumn
from dataproc.domain.sources.places import PlaceOptions
from dataproc.ports.memory import BLANK, Memory
from dataproc.sources.files.listing import Page, listed
from dataproc.sources.files.storage import FoundFile, Storage
from dataproc.sources.files.tracking import Choice, choose

ROOT = "s3://lake/in/"
PAGE = 1000


@dataclass
class Million:
    """A bucket of `folders` with `files` each, whose pages are made when they are asked for."""

    folders: int = 100
    files: int = 10_000
    asked: list[str] = field(default_factory=list)
    busy: int = 0
    busiest: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def page(self, prefix: str, *, folded: bool = False, only: bool = False, after: object = None) -> Page:
        with self.lock:
            self.busy += 1
            self.busiest = max(self.busy, self.busiest)
            self.asked.append(prefix)
        try:
            return self.made(prefix, folded and not only, int(str(after or 0)))
        finally:
            with self.lock:
                self.busy -= 1

    def made(self, prefix: str, folded: bool, start: int) -> Page:
        if prefix == ROOT and folded:
            return Page((), tuple(f"{ROOT}{n:03}/" for n in range(self.folders)))
        folder = f"{ROOT}000/" if prefix == ROOT else prefix
        stop = min(start + PAGE, self.files)
        files = tuple(FoundFile(f"{folder}{n:05}.csv", f"{n:032x}", 100) for n in range(start, stop))
        more = stop < self.files or prefix == ROOT
        return Page(files, after=stop if more else None)


@dataclass(frozen=True)
class Place:
    """A place whose files a lister tells."""

    lister: Million

    def find(self) -> Iterator[FoundFile]:
        return listed(self.lister, [(ROOT, False)])

    def confirmed(self, files: Iterable[FoundFile]) -> Iterator[FoundFile]:
        return iter(files)

    open = Storage.open


@dataclass(frozen=True)
class AlmostAll:
    """A memory that has all files but some, asked in batches as the real one is."""

    lacks: str
    on_batch: Callable[[], object] = int

    def watermark(self, cursor: str) -> str | None:
        raise NotImplementedError(cursor)

    def boundary(self) -> Boundary:
        raise NotImplementedError

    def has_objects(self) -> bool:
        return True

    def target_columns(self) -> Mapping[str, TargetColumn]:
        return {}

    def late_columns(self) -> Mapping[str, Kind]:
        return {}

    def unloaded(self, objects: Iterable[SourceObject]) -> Iterator[SourceObject]:
        rest = iter(objects)
        while batch := list(islice(rest, 10_000)):
            self.on_batch()
            yield from (one for one in batch if one.uri.endswith(self.lacks))


def chosen(place: Storage, memory: Memory = BLANK, **options: object) -> Choice:
    return choose(place, PlaceOptions.model_validate({"path": "in/**", **options}), memory, lambda file: file.size > 0)
