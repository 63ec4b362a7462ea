"""Listings of very many objects, and the choice of those that are read."""

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

import pytest

from dataproc.domain.errors import BadDataError, SourceNotFoundError
from dataproc.domain.memory import Boundary, SourceObject
from dataproc.domain.source_columns import Kind, TargetColumn
from dataproc.sources.files.listing import WIDTH, listed
from dataproc.sources.files.storage import FoundFile, Storage
from dataproc.sources.files.tracking import Choice
from dataproc.sources.s3.listing import LONGEST_KEPT, recent
from tests.fakes.listing import ROOT, AlmostAll, Million, Place, chosen


def test_a_listing_ends_when_a_run_has_enough() -> None:
    lister = Million()

    choice = chosen(Place(lister), AlmostAll(""), track="objects", max_files=5)

    assert [file.uri for file in choice.files] == [f"{ROOT}000/{n:05}.csv" for n in range(5)]
    assert len(lister.asked) < 300
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("listing")]


def test_folders_are_listed_at_the_same_time_and_files_come_in_order() -> None:
    lister = Million(folders=40, files=1500)

    found = [file.uri for file in listed(lister, [(ROOT, False)])]

    assert found == sorted(found)
    assert len(set(found)) == len(found) == 60_000
    assert lister.busiest <= WIDTH


def test_more_files_than_a_run_reads_are_refused_without_tracking() -> None:
    with pytest.raises(BadDataError, match=r"more than 10,000 files match.*track: objects"):
        chosen(Place(Million()))


def test_markers_are_passed_over_unless_there_is_nothing_else() -> None:
    marker, data = FoundFile("s3://lake/_SUCCESS", "1", 0), FoundFile("s3://lake/a.csv", "1", 1)

    assert chosen(Some((marker, data))).files == (data,)
    assert chosen(Some((marker,))).files == (marker,)
    assert chosen(Some((marker,)), track="objects") == Choice((), None, is_tracked=True)
    with pytest.raises(SourceNotFoundError, match="'in/\\*\\*'"):
        chosen(Some(()))


@dataclass(frozen=True)
class Some:
    """A place with a few files, some of which may have changed since they were found."""

    files: tuple[FoundFile, ...]
    now: tuple[FoundFile, ...] | None = None

    def find(self) -> Iterator[FoundFile]:
        return iter(self.files)

    def confirmed(self, files: Iterable[FoundFile]) -> Iterator[FoundFile]:
        found = {file.uri: file for file in (self.files if self.now is None else self.now)}
        return (found[file.uri] for file in files if file.uri in found)

    open = Storage.open


def test_a_version_that_turns_out_to_be_loaded_already_is_not_read_again() -> None:
    told, now = FoundFile("s3://lake/a.csv", "old", 1), FoundFile("s3://lake/a.csv", "new", 1)

    choice = chosen(Some((told,), (now,)), Knows("new"), track="objects")

    assert (choice.files, choice.known) == ((), told)


@dataclass(frozen=True)
class Knows:
    """A memory that has one version of any file."""

    version: str

    def watermark(self, cursor: str) -> str | None:
        raise NotImplementedError(cursor)

    def boundary(self) -> Boundary:
        return Boundary()

    def has_objects(self) -> bool:
        return True

    def target_columns(self) -> Mapping[str, TargetColumn]:
        return {}

    def late_columns(self) -> Mapping[str, Kind]:
        return {}

    def unloaded(self, objects: Iterable[SourceObject]) -> Iterator[SourceObject]:
        return (one for one in objects if one.version != self.version)


def test_a_recent_listing_is_taken_until_it_is_too_old() -> None:
    key, files = (uuid4(),), [FoundFile("s3://lake/a.csv", "1", 1)]
    now = [100.0]

    def ask() -> list[FoundFile]:
        return list(recent(key, timedelta(seconds=60), lambda: iter(tuple(files)), lambda: now[0]))

    first = ask()
    files.append(FoundFile("s3://lake/b.csv", "1", 1))
    now[0] = 160.0

    assert ask() == first
    now[0] = 160.1
    assert ask() == files


def test_a_listing_that_was_not_taken_to_its_end_or_is_too_long_is_not_kept() -> None:
    key, hour = (uuid4(),), timedelta(hours=1)
    files = [FoundFile(f"s3://lake/{n}.csv", "1", 1) for n in range(LONGEST_KEPT + 1)]
    made: list[int] = []

    def anew() -> Iterator[FoundFile]:
        made.append(1)
        return iter(files)

    next(recent(key, hour, anew))
    for _ in range(2):
        assert len(list(recent(key, hour, anew))) == len(files)

    assert len(made) == 3
