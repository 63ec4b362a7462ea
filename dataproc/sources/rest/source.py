"""The source of REST APIs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pyarrow as pa

from dataproc.domain.chunk import Chunk, Piece, number
from dataproc.domain.errors import SourceChangedError, SourceNotFoundError
from dataproc.domain.source_columns import EVERYTHING_INFERRED, SourceColumns
from dataproc.domain.sources.rest import RestSource
from dataproc.domain.unit import SourcePlan, Unit
from dataproc.ports.memory import BLANK, Memory
from dataproc.ports.secrets import Secrets
from dataproc.ports.throttle import Throttle
from dataproc.sources.boundary import Known
from dataproc.sources.rest.auth import utc_now
from dataproc.sources.rest.client import RestClient, open_client, open_gate
from dataproc.sources.rest.connection import RestConnection
from dataproc.sources.rest.cursor import asked
from dataproc.sources.rest.pages import Page, PageReader
from dataproc.sources.rest.paging import Spot
from dataproc.sources.rest.plan import Parent, Part, Planner
from dataproc.sources.rest.records import Gathered, Shape
from dataproc.sources.rest.urls import origin_of

MANY = 5_000
"""Records of small pages that are given as one piece."""
HEAVY = 8 * 1024 * 1024
"""Bytes of answers after which their records are given."""
SOME, PAGES = 2_000, 4
"""The same for a stream, of which no more is read again after a failure; and its pages."""
SHOWN = timedelta(seconds=1)
"""The shortest wait for a rate limit that is shown in a job."""
ALONE = Parent({}, {})


@dataclass(frozen=True, slots=True)
class ApiSource:
    """Records of an API; `columns` tells which values stay as they are written."""

    spec: RestSource
    connection: RestConnection
    secrets: Secrets
    throttle: Throttle
    columns: SourceColumns = EVERYTHING_INFERRED
    now: Callable[[], datetime] = utc_now

    def plan(self, memory: Memory = BLANK) -> SourcePlan:
        """Look at the first page, and cut what there is into units."""
        columns = self.columns.with_target(memory.target_columns(), memory.late_columns())
        with open_client(self.connection, self.secrets, self.throttle) as client:
            return Planner(self.spec, client, memory, self.now, columns).plan()

    def read(self, unit: Unit) -> Iterator[Chunk]:
        """Yield the chunks of a unit."""
        part, types = unit.detail, unit.schema
        assert isinstance(part, Part)  # noqa: S101 - a narrowing for mypy: our plan made it
        assert types is not None  # noqa: S101 - the same
        begun = unit.begun
        start = Spot.of(begun.mark) if begun else part.start
        with open_client(self.connection, self.secrets, self.throttle) as client:
            reading = Reading(self.spec, client, part, unit.rows, self.shape(types, part, start))
            yield from number(unit.id, types, reading.pieces(start), first=begun.seq if begun else 0)

    def waits_for(self) -> str | None:
        """Return the rate limit that delays the next request, and its end; `None`: by less than a second."""
        with open_gate(self.connection, self.secrets, self.throttle) as gate:
            wait = gate.ahead()
        if wait < SHOWN:
            return None
        return (
            f"the rate limit of {origin_of(self.connection.base_url).host} until {self.now() + wait:%Y-%m-%dT%H:%M:%SZ}"
        )

    def shape(self, types: pa.Schema, part: Part, start: Spot) -> Shape:
        """Return how records become rows."""
        spec, window = self.spec, part.window
        if window is not None:
            window = replace(window, until=start.until)
        unknown = spec.unknown or ("ignore" if spec.columns else "fail")
        return Shape(types, bool(spec.columns), unknown == "fail", window, spec.path)


@dataclass(slots=True)
class Reading:
    """The reading of one unit; `rows` is what it has, if that is known."""

    spec: RestSource
    client: RestClient
    part: Part
    rows: int | None
    shape: Shape

    def pieces(self, start: Spot) -> Iterator[Piece]:
        """Yield the pieces from a spot on; small pages are gathered."""
        known = Known.of(None if self.shape.window is None else self.shape.window.known)
        gathered, there = Gathered(self.shape, known), start
        for parent, page, following in self.pages(start):
            gathered.add(page.records, parent.carried, page.here.at, page.size)
            there = following
            if self.is_enough(gathered):
                yield gathered.piece(there)
                gathered = Gathered(self.shape, known)
        self.demand_all(there)
        if gathered.count:
            yield gathered.piece(there)

    def is_enough(self, gathered: Gathered) -> bool:
        """Whether what was gathered is given."""
        if gathered.count >= MANY or gathered.size >= HEAVY:
            return True
        is_stream = not self.part.parents and self.part.start.next is None
        return is_stream and (gathered.count >= SOME or gathered.pages >= PAGES)

    def pages(self, start: Spot) -> Iterator[tuple[Parent, Page, Spot]]:
        """Yield each page with its parent, and where reading goes on after it."""
        parents = self.part.parents or (() if self.spec.parents else (ALONE,))
        spot = start
        for at in range(start.parent, len(parents)):
            for page in self.pages_of(parents[at], spot):
                beyond = Spot(at + 1, None, 0, page.here.at + len(page.records), start.until)
                spot = page.there or beyond
                yield parents[at], page, spot
            spot = Spot(at + 1, None, 0, spot.at, start.until)

    def pages_of(self, parent: Parent, start: Spot) -> Iterator[Page]:
        """Yield the pages of one parent, or of the resource where there are none."""
        since, part = self.shape.window.since if self.shape.window else None, self.part
        extra = asked(self.spec.incremental, since) if self.spec.incremental else ()
        at_once = 1 if part.step is None else self.spec.at_once
        values = parent.values
        reader = PageReader(
            self.client,
            self.spec,
            values,
            extra,
            stop=part.stop,
            step=part.step,
            total=part.total,
            at_once=at_once,
            is_list=part.is_list,
        )
        try:
            yield from reader.pages(start)
        except SourceNotFoundError as exc:
            if self.spec.parents is None:
                raise
            if self.spec.parents.missing == "fail":
                msg = f"{self.spec.path}: a parent that was planned is not there; see `missing` if that is usual"
                raise SourceChangedError(msg) from exc

    def demand_all(self, there: Spot) -> None:
        """Refuse fewer or more records than the API announced."""
        if self.rows is not None and there.at != self.rows:
            msg = f"{self.spec.path}: {self.rows} records were announced when the run was planned, {there.at} came"
            raise SourceChangedError(msg)
