"""Listings of very many objects: several folders at once, in the order of names, with bounded memory.

A prefix of one page is listed with one request. A longer one is cut at its folders, which are listed at the same time,
some pages ahead of whoever takes the files. Files come in the order of their names, whatever answers first.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from dataproc.sources.files.globs import Root
from dataproc.sources.files.storage import FoundFile

WIDTH = 16
"""Requests at once."""
FOLDERS_AHEAD = 16
PAGES_AHEAD = 4
"""Pages of a folder that are listed before its turn."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some files in order, the folders among them if they were asked for, and where the next page begins."""

    files: tuple[FoundFile, ...]
    folders: tuple[str, ...] = ()
    after: object = None


class Lister(Protocol):
    """Lists objects by pages; prefixes and folders are URIs."""

    def page(self, prefix: str, *, folded: bool = False, only: bool = False, after: object = None) -> Page:
        """Return the next page below a prefix; `folded`: with folders in place of what is in them.

        `only`: nothing but the object whose name is the prefix.
        """


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at a prefix shows: its first files, and that it has folders or goes on `after` them."""

    files: tuple[FoundFile, ...]
    is_deep: bool = False
    after: object = None


def listed(lister: Lister, roots: Iterable[Root]) -> Iterator[FoundFile]:
    """Yield the files below all roots, in order."""
    pool = ThreadPoolExecutor(WIDTH, thread_name_prefix="listing")
    try:
        yield from Walk(lister, pool).ahead(roots)
    finally:
        pool.shutdown(cancel_futures=True)


@dataclass(frozen=True, slots=True)
class Walk:
    """A way through the folders below some roots."""

    lister: Lister
    pool: ThreadPoolExecutor

    def ahead(self, items: Iterable[Root | FoundFile]) -> Iterator[FoundFile]:
        """Yield files, and those below prefixes, which are looked at before it is their turn."""
        held: deque[FoundFile | tuple[str, Future[Look]]] = deque()
        for item in items:
            held.append(item if isinstance(item, FoundFile) else (item[0], self.pool.submit(self.look, *item)))
            if len(held) > FOLDERS_AHEAD:
                yield from self.shown(held.popleft())
        while held:
            yield from self.shown(held.popleft())

    def look(self, prefix: str, only: bool) -> Look:  # noqa: FBT001 - the two parts of a root
        """Return the first pages of a prefix, unless its folders are better listed one by one."""
        page = self.lister.page(prefix, only=only)
        if only or page.after is None:
            return Look(page.files)
        if self.lister.page(prefix, folded=True).folders:
            return Look((), is_deep=True)
        files = list(page.files)
        for _ in range(PAGES_AHEAD - 1):
            if page.after is None:
                break
            page = self.lister.page(prefix, after=page.after)
            files += page.files
        return Look(tuple(files), after=page.after)

    def shown(self, item: FoundFile | tuple[str, Future[Look]]) -> Iterator[FoundFile]:
        """Yield a file, or those of a prefix that was looked at."""
        if isinstance(item, FoundFile):
            yield item
            return
        prefix, looked = item
        look = looked.result()
        yield from look.files
        if look.is_deep:
            yield from self.ahead(self.level(prefix))
        elif look.after is not None:
            for page in pages(self.lister, prefix, look.after):
                yield from page.files

    def level(self, prefix: str) -> Iterator[Root | FoundFile]:
        """Yield the files and folders directly below a prefix, in order."""
        for page in pages(self.lister, prefix, folded=True):
            found: dict[str, Root | FoundFile] = {file.uri: file for file in page.files}
            found |= {folder: (folder, False) for folder in page.folders}
            yield from (found[name] for name in sorted(found))


def pages(lister: Lister, prefix: str, after: object = None, *, folded: bool = False) -> Iterator[Page]:
    """Yield the pages below a prefix, one after the other."""
    page = lister.page(prefix, folded=folded, after=after)
    yield page
    while page.after is not None:
        page = lister.page(prefix, folded=folded, after=page.after)
        yield page
