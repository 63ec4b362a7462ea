"""Planning: what a first look at an API tells of how to read it."""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
import pyarrow as pa

from dataproc.domain.errors import BadDataError, ContractViolationError, SourceNotFoundError
from dataproc.domain.memory import CursorMove
from dataproc.domain.source_columns import EVERYTHING_INFERRED, SourceColumns
from dataproc.domain.sources.rest import NoPaging, OffsetPaging, PagePaging, Parents, RestIncremental, RestSource, Total
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.ports.memory import Memory
from dataproc.sources.boundary import notes_on
from dataproc.sources.files.json_rows import kinds_in
from dataproc.sources.inference import TEXT
from dataproc.sources.json_values import OPENING, Raw, text_of, text_of_object
from dataproc.sources.rest.client import RestClient
from dataproc.sources.rest.columns import declared, sampled, usable_names, without_null
from dataproc.sources.rest.cursor import Window, asked, window_of
from dataproc.sources.rest.jsonpaths import first_at
from dataproc.sources.rest.pages import Page, PageReader
from dataproc.sources.rest.paging import Spot
from dataproc.sources.rest.sampling import Sample
from dataproc.sources.rest.urls import shown

WHOLE_RECORDS = "records"
"""What the digests of records are made of: all their members, whatever columns are read."""
SAMPLED_PARENTS = 10
"""Parents whose first pages are read for the types."""

NO_PAGE = Page([], Spot(), None, None, 1024)
"""The page of a resource without parents."""


@dataclass(frozen=True, slots=True)
class Parent:
    """What a path needs of a parent, and what goes into its rows."""

    values: Mapping[str, str | None]
    carried: Mapping[str, Raw]


@dataclass(frozen=True, slots=True)
class Part:
    """What a unit reads: from where to where, for which parents, and what each page must tell.

    `is_list` is whether the first answer is a list.
    """

    start: Spot
    stop: int | None = None
    step: int | None = None
    total: int | None = None
    window: Window | None = None
    parents: tuple[Parent, ...] = field(default=(), repr=False)
    is_list: bool | None = None


@dataclass(slots=True)
class Planner:
    """Plans the reading of a source with a client of its API."""

    spec: RestSource
    client: RestClient
    memory: Memory
    now: Callable[[], datetime]
    columns: SourceColumns = EVERYTHING_INFERRED

    def plan(self) -> SourcePlan:
        """Return the plan."""
        incremental = self.spec.incremental
        move = self.move(incremental) if incremental else None
        window = window_of(incremental, move, self.until()) if incremental and move else None
        if self.spec.parents is not None:
            return self.of_parents(self.spec.parents, window, move)
        sample = self.sample(window)
        page = sample.first or NO_PAGE
        types = self.types(self.fallback(sample, window).records)
        cut = self.cut(page, window)
        units = tuple(self.unit(name, part, page, types, rows) for name, part, rows in cut)
        streams = cut[0][1].start.next is None and not isinstance(self.spec.paging, NoPaging)
        return SourcePlan(units, types, move=move, streams=streams, notes=notes_on(move))

    def move(self, incremental: RestIncremental) -> CursorMove:
        """Return from where the resource is read."""
        before, found = self.memory.watermark(incremental.cursor), self.memory.boundary()
        columns = None if found.by_key else WHOLE_RECORDS
        return CursorMove(incremental.cursor, incremental.kind, before, None, columns, found)

    def until(self) -> datetime | None:
        """Return up to when records are taken: several units are not read at one moment, so theirs ends with now."""
        incremental = self.spec.incremental
        if incremental is None or incremental.kind != "timestamp":
            return None
        several = self.spec.parents is not None or getattr(self.spec.paging, "total", None) is not None
        return self.now() - incremental.lag if incremental.lag or several else None

    def reader(self, values: Mapping[str, str | None], window: Window | None) -> PageReader:
        """Return a reader of the resource for one parent's values."""
        extra = asked(self.spec.incremental, window.since) if self.spec.incremental and window else ()
        return PageReader(self.client, self.spec, values, extra)

    def sample(self, window: Window | None) -> Sample:
        """Return the first pages as the units will read them; only the first one where all types are declared."""
        found = self.new_sample()
        found.read(self.reader({}, window))
        return found

    def new_sample(self) -> Sample:
        """Return a sample without pages, of as many as show the types."""
        return Sample(filled_pages=0) if self.spec.columns else Sample()

    def fallback(self, sample: Sample, window: Window | None) -> Sample:
        """Return the sample; where nothing is new, one of old records, which show the types as well."""
        if sample.records or self.spec.columns or window is None or window.since is None:
            return sample
        return self.sample(None)

    def types(self, sample: Sequence[Raw]) -> pa.Schema:
        """Return the types of the columns."""
        if self.spec.columns:
            return declared(self.spec.columns)
        kinds = usable_names(sampled(sample), self.spec)
        return self.columns.schema(kinds, is_json=True)

    def cut(self, page: Page, window: Window | None) -> list[tuple[str, Part, int | None]]:
        """Return the parts that are read, each with a name and the records that it has, if that is known."""
        total = self.spec.paging.total
        exact = page.total if total is not None and total.exact else None
        if total is not None and page.total is None:
            raise BadDataError(f"paging/total: {self.spec.path} tells no total; check path or header")
        # Where a cursor leads on, the first page may be empty; the number of records is compared at the end.
        is_last = not page.records and page.there is None
        if exact and total is not None and total.counts == "records" and is_last:
            msg = f"{self.spec.path} tells a total of {exact}, but its first page has no records; check `records`"
            raise BadDataError(msg)
        if total is None or page.total is None or not self.is_cut(page, window):
            rows = exact if total and total.counts == "records" else None
            return [("all", self.stream(page, window), rows)]
        return list(self.ranges(page, total, page.total, window))

    def is_cut(self, page: Page, window: Window | None) -> bool:
        """Whether pages are read in parallel; a watermark over several units must be one of time."""
        is_timely = window is None or window.kind == "timestamp"
        return isinstance(self.spec.paging, PagePaging | OffsetPaging) and is_timely and bool(page.records)

    def stream(self, page: Page, window: Window | None) -> Part:
        """Return the part that is read page by page, from the first to the last."""
        total = self.spec.paging.total
        until = window.until if window else None
        exact = page.total if total and total.exact else None
        return Part(Spot(until=until), total=exact, window=window, is_list=page.is_list)

    def ranges(
        self, page: Page, total: Total, told: int, window: Window | None
    ) -> Iterator[tuple[str, Part, int | None]]:
        """Yield runs of pages."""
        size = self.page_size(page, told, total)
        pages = max(told if total.counts == "pages" else math.ceil(told / size), 1)
        exact = told if total.exact else None
        paging = self.spec.paging
        step, base = (size, 0) if isinstance(paging, OffsetPaging) else (1, getattr(paging, "first", 0))
        for first in range(0, pages, self.spec.unit_pages):
            last = min(first + self.spec.unit_pages, pages)
            # Without an exact total there may be more at the end than was told.
            stop = None if last == pages and exact is None else base + last * step
            rows = min(last * size, told) - min(first * size, told)
            start = Spot(next=base + first * step, until=window.until if window else None)
            known = exact is not None and total.counts == "records"
            part = Part(start, stop, step, exact, window, is_list=page.is_list)
            yield f"{first}-{last}", part, rows if known else None

    def page_size(self, page: Page, told: int, total: Total) -> int:
        """Return how many records a page has: as many as the first, where there are more than that."""
        seen = len(page.records)
        is_all = total.counts == "records" and seen >= told
        return max(seen, getattr(self.spec.paging, "size", 1)) if is_all else seen

    def unit(self, name: str, part: Part, page: Page, types: pa.Schema, rows: int | None) -> Unit:
        """Return a unit; its id tells what is asked, and from which watermark on."""
        url = shown(self.client.connection.base_url + self.spec.path)
        weight = page.size / max(len(page.records), 1)
        return Unit(
            f"{self.spec.path}/{name}@{self.version(part)}", f"{url}#{name}", self.version(part),
            int(weight * (rows or 0)) or page.size, rows=rows, schema=types, detail=part,
        )  # fmt: skip

    def version(self, part: Part) -> str:
        """Return a digest of what is asked. A stream carries in its marks up to when it reads."""
        told: list[object] = [self.spec.model_dump(mode="json"), self.client.connection.base_url, part.total]
        if part.window is not None:
            several = part.parents or part.start.next is not None
            told += [part.window.since, part.window.until if several else None]
        told += [[parent.values, text_of_object(parent.carried).decode()] for parent in part.parents]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]

    def of_parents(self, parents: Parents, window: Window | None, move: CursorMove | None) -> SourcePlan:
        """Return the plan of a resource that is read for each parent."""
        found = list(self.parents(parents))
        sample = self.sample_of(found, window)
        page = sample.first or NO_PAGE
        types = self.with_carried(self.types(sample.records), found, parents)
        runs = [tuple(found[at : at + parents.unit]) for at in range(0, len(found), parents.unit)] or [()]
        start = Spot(until=window.until if window else None)
        parts = [(f"{n}", Part(start, window=window, parents=run, is_list=page.is_list)) for n, run in enumerate(runs)]
        units = tuple(self.unit(name, part, page, types, None) for name, part in parts)
        return SourcePlan(units, types, move=move, streams=True, notes=notes_on(move))

    def parents(self, parents: Parents) -> Iterator[Parent]:
        """Yield the parents, in the API's order; one that comes twice counts once."""
        seen = set[str]()
        for page in PageReader(self.client, parents).pages(Spot()):
            for record in page.records:
                values = {name: path_text(first_at(path, record)) for name, path in parents.bind.items()}
                key = json.dumps(values)
                if key not in seen:
                    seen.add(key)
                    carried = {name: first_at(path, record) or b"null" for name, path in parents.carry.items()}
                    yield Parent(values, carried)

    def sample_of(self, parents: Sequence[Parent], window: Window | None) -> Sample:
        """Return the first pages of the first parents; where nothing is new, of old records."""
        found = self.new_sample()
        for narrowed in dict.fromkeys((window, None)):
            for parent in parents[:SAMPLED_PARENTS]:
                self.add_to(found, parent, narrowed)
                if found.is_enough:
                    break
            if found.records or self.spec.columns:
                break
        return found

    def add_to(self, sample: Sample, parent: Parent, window: Window | None) -> None:
        """Add the first pages of a parent to a sample; one without a resource may have none."""
        try:
            sample.read(self.reader(parent.values, window))
        except SourceNotFoundError:
            if self.spec.parents is None or self.spec.parents.missing == "fail":
                raise

    def with_carried(self, types: pa.Schema, parents: Sequence[Parent], spec: Parents) -> pa.Schema:
        """Return the types with those of what parents carry."""
        if self.spec.columns:
            if missing := sorted(spec.carry.keys() - self.spec.columns.keys()):
                raise ContractViolationError(f"parents/carry: {missing[0]!r} is not among `columns`; add it")
            return types
        carried = without_null(kinds_in(parent.carried for parent in parents))
        kept = [one for one in types if one.name not in spec.carry]
        return pa.schema(
            [*kept, *(self.columns.field(name, carried.get(name, TEXT), is_json=True) for name in spec.carry)]
        )


def path_text(value: Raw | None) -> str | None:
    """Return a value of a parent as it stands in a path; `None`: it cannot stand there."""
    if value is None or value[0] in OPENING:
        return None
    with suppress(msgspec.DecodeError):  # half of a surrogate pair
        return text_of(value)
    return None
