"""Which files a run reads: all that are found or, with tracking, those that no published run has loaded."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from dataproc.domain.errors import BadDataError, SourceNotFoundError
from dataproc.domain.memory import SourceObject
from dataproc.domain.sources.places import PlaceOptions
from dataproc.ports.memory import Memory
from dataproc.sources.files.storage import FoundFile, Storage


@dataclass(frozen=True, slots=True)
class Choice:
    """The files that a run reads, by URI; where it reads none, `known` tells the columns: it was loaded before."""

    files: tuple[FoundFile, ...]
    known: FoundFile | None = None
    is_tracked: bool = False
    notes: tuple[str, ...] = ()

    @property
    def objects(self) -> tuple[SourceObject, ...]:
        """What is remembered when the run is published."""
        return tuple(map(object_of, self.files)) if self.is_tracked else ()


@dataclass(slots=True)
class Watched:
    """Files on their way: those that hold data pass, and the first of each kind is remembered."""

    files: Iterator[FoundFile]
    holds_data: Callable[[FoundFile], bool]
    first: FoundFile | None = field(default=None, init=False)
    marker: FoundFile | None = field(default=None, init=False)

    def __iter__(self) -> Iterator[FoundFile]:
        """Yield the files that hold data."""
        for file in self.files:
            if self.holds_data(file):
                self.first = self.first or file
                yield file
            else:
                self.marker = self.marker or file


def choose(storage: Storage, options: PlaceOptions, memory: Memory, holds_data: Callable[[FoundFile], bool]) -> Choice:
    """Return what to read; memory stays bounded by `max_files` and a few pages, however many files there are."""
    is_tracked = options.track != "off"
    watched = Watched(storage.find(), holds_data)
    rest = unloaded(storage, watched, memory) if is_tracked else storage.confirmed(watched)
    files = list(islice(rest, options.max_files + 1))
    seen = watched.first or watched.marker
    if seen is None and not (is_tracked and memory.has_objects()):
        raise nothing_found(options)
    notes = (f"more than {options.max_files:,} files are new; the rest waits for the next run",)
    if is_more := len(files) > options.max_files:
        files = within_limit(files, options, is_tracked=is_tracked)
    if not is_tracked and not files and seen is not None:
        files = [seen]  # an empty marker, about which the format has to complain
    return Choice(tuple(sorted(files, key=lambda file: file.uri)), watched.first, is_tracked, notes if is_more else ())


def unloaded(storage: Storage, files: Iterable[FoundFile], memory: Memory) -> Iterator[FoundFile]:
    """Yield the files that `memory` does not have, in a version that is still there."""
    new = memory.unloaded(map(object_of, files))
    # What is not the version that was listed may be one that was loaded before.
    return map(file_of, memory.unloaded(map(object_of, storage.confirmed(map(file_of, new)))))


def within_limit(files: list[FoundFile], options: PlaceOptions, *, is_tracked: bool) -> list[FoundFile]:
    """Return as many files as one run may read; without tracking the rest would be lost, and is refused."""
    if not is_tracked:
        msg = (
            f"path: more than {options.max_files:,} files match; narrow it, raise max_files, or set `track: objects`, "
            "which reads that many in each run"
        )
        raise BadDataError(msg, max_files=options.max_files)
    return files[: options.max_files]


def nothing_found(options: PlaceOptions) -> SourceNotFoundError:
    """Return the error for a source that names nothing."""
    named = ", ".join(map(repr, options.paths[:3])) + (" …" if len(options.paths) > 3 else "")
    without = " that is not excluded" if options.exclude else ""
    msg = f"path: no file matches {named}{without}; check the path, `**` crosses folders"
    return SourceNotFoundError(msg, path=options.path)


def object_of(file: FoundFile) -> SourceObject:
    """Return a file as a memory keeps it."""
    return SourceObject(file.uri, file.version, file.size)


def file_of(known: SourceObject) -> FoundFile:
    """Return a file of a memory."""
    return FoundFile(known.uri, known.version, known.size)
