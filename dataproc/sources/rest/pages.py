"""The pages of a resource, read one after the other."""

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from dataproc.domain.errors import BadDataError, SourceChangedError
from dataproc.domain.sources.rest import LinkPaging, NextUrlPaging, OffsetPaging, PagePaging, Resource
from dataproc.sources.json_values import Raw
from dataproc.sources.rest.answer import Answer
from dataproc.sources.rest.client import RestClient
from dataproc.sources.rest.connection import ApiKeyAuth
from dataproc.sources.rest.extraction import records_of, request_label
from dataproc.sources.rest.jsonpaths import LIST_START
from dataproc.sources.rest.paging import Next, Spot, after, ask_for, total_in
from dataproc.sources.rest.urls import Pairs, led_to, shown, with_query


@dataclass(frozen=True, slots=True)
class Page:
    """The records of a page, where it stands, and where the next one does; `None`: it is the last.

    `is_list` is whether the whole answer is a list; `None`: it is null, or has no body.
    """

    records: list[Raw] = field(repr=False)
    here: Spot
    there: Spot | None
    total: int | None
    size: int
    is_list: bool | None = None


Fetched = tuple[Answer, Raw]
"""An answer, and the value that its body holds."""
NO_CONTENT = (204, 205)
"""Statuses of answers that have no body (RFC 9110)."""
NO_VALUE: Raw = b"null"


@dataclass(slots=True)
class Ahead:
    """Pages that are on their way, in order, each with what leads to it."""

    reader: "PageReader"
    pool: ThreadPoolExecutor
    coming: deque[tuple[Next, Future[Fetched]]]

    def taken(self) -> Fetched:
        """Return the next page when it has come; ask for those after it as well, where it is known what they are."""
        reader = self.reader
        while reader.step is not None and reader.stop is not None and len(self.coming) < reader.at_once:
            following = int(self.coming[-1][0] or 0) + reader.step
            if following >= reader.stop:
                break
            self.ask(following)
        return self.coming.popleft()[1].result()

    def demand(self, following: Next) -> None:
        """Ask for a page, unless it is on its way already; the API may have led elsewhere than was thought."""
        if not self.coming or self.coming[0][0] != following:
            self.cancel()
            self.ask(following)

    def ask(self, following: Next) -> None:
        """Ask for a page."""
        self.coming.append((following, self.pool.submit(self.reader.fetched, following)))

    def cancel(self) -> None:
        """Ask for nothing more."""
        for _, future in self.coming:
            future.cancel()
        self.coming.clear()


@dataclass(slots=True)
class PageReader:
    """Reads pages of a resource, for the values of one parent; `total` is what all of them must tell.

    `stop` is the number or offset before which it ends; `None`: where the API ends. Where pages lie a `step` apart, as
    many are asked for `at_once`. `is_list` is whether the answers that were read before are lists.
    """

    client: RestClient
    resource: Resource
    values: Mapping[str, str | None] = field(default_factory=dict, repr=False)
    extra: Pairs = ()
    stop: int | None = None
    step: int | None = None
    total: int | None = None
    at_once: int = 1
    is_list: bool | None = None
    seen: set[Next] = field(default_factory=set, init=False)
    latest: bytes = field(default=b"", init=False)

    def pages(self, start: Spot) -> Iterator[Page]:
        """Yield the pages from a spot on; while one is worked on, the next ones are on their way."""
        self.seen.add(start.next)
        spot = start
        with ThreadPoolExecutor(self.at_once, "rest-page") as pool:
            ahead = Ahead(self, pool, deque([(start.next, pool.submit(self.fetched, start.next))]))
            try:
                while (page := self.page_of(spot, ahead.taken())).there is not None:
                    spot = page.there
                    ahead.demand(spot.next)
                    yield page
            except GeneratorExit:
                self.client.leave()
                raise
            finally:
                ahead.cancel()
        yield page

    def page(self, spot: Spot) -> Page:
        """Return one page."""
        return self.page_of(spot, self.fetched(spot.next))

    def fetched(self, following: Next) -> Fetched:
        """Return what the API gives for a page."""
        base = self.client.connection.base_url
        ask = ask_for(self.resource, base, self.values, self.extra, following, stop=self.stop)
        answer = self.client.send(ask)
        if answer.status in NO_CONTENT:
            return answer, NO_VALUE
        return answer, answer.json_text(self.client.connection.content_types)

    def page_of(self, spot: Spot, fetched: Fetched) -> Page:
        """Return what was fetched as the page at a spot."""
        if spot.page >= self.resource.max_pages:
            msg = f"{self.resource.path} has more than {self.resource.max_pages} pages; raise `max_pages` if right"
            raise BadDataError(msg)
        answer, body = fetched
        has_content = answer.status not in NO_CONTENT
        records = self.within(spot, records_of(self.resource, answer, body, spot)) if has_content else []
        self.refuse_another_kind(spot, answer, body)
        self.refuse_a_repeated(answer, records)
        following = self.usable(after(self.resource, spot, answer, body, len(records)), answer, records)
        there = replace(spot, next=following, page=spot.page + 1, at=spot.at + len(records))
        total, size = self.total_of(answer, body), len(answer.body)
        return Page(records, spot, None if following is None else there, total, size, self.is_list)

    def refuse_another_kind(self, spot: Spot, answer: Answer, body: Raw) -> None:
        """Refuse an object where the answers before were lists of records: it reports an error, and is not a record."""
        if self.resource.records != "$" or body == NO_VALUE:
            return
        is_list = body[0] == LIST_START
        if self.is_list and not is_list:
            label = request_label(self.resource, answer, spot)
            raise BadDataError(f"records: {label} answered one object, but a list before; see `fail_when`")
        self.is_list = is_list

    def within(self, spot: Spot, records: list[Raw]) -> list[Raw]:
        """Return those records that stand before the end, where the API gave more than it was asked for."""
        if self.stop is None or not isinstance(self.resource.paging, OffsetPaging):
            return records
        return records[: self.stop - int(spot.next or 0)]

    def usable(self, following: Next, answer: Answer, records: list[Raw]) -> Next:
        """Return what leads to the next page, if that is within what is read; refuse to go round in circles."""
        if following is None or (self.stop is not None and int(following) >= self.stop):
            return None
        if isinstance(self.resource.paging, LinkPaging | NextUrlPaging):
            following = self.safe(answer.url, str(following))
        if following in self.seen:
            # Some APIs repeat their cursor when there is nothing more.
            if not records:
                return None
            raise BadDataError(f"{shown(answer.url)} leads to a page that was read before; the paging goes round")
        self.seen.add(following)
        return following

    def safe(self, url: str, following: str) -> str:
        """Return the URL of the next page, on the connection's hosts, and without a key that the API repeats in it."""
        connection = self.client.connection
        hosts = frozenset(connection.hosts)
        found = led_to(url, following, hosts, self.client.origin)
        key = connection.auth
        secret = frozenset({key.name}) if isinstance(key, ApiKeyAuth) and key.place == "query" else frozenset[str]()
        return with_query(found, (), without=secret)

    def refuse_a_repeated(self, answer: Answer, records: list[Raw]) -> None:
        """Refuse the same page twice in a row: the API does not know the parameter."""
        if not records or not isinstance(self.resource.paging, PagePaging | OffsetPaging):
            return
        digest = hashlib.sha256(answer.body).digest()
        if digest == self.latest:
            name = self.resource.paging.parameter
            raise BadDataError(f"{shown(answer.url)} answers two pages alike; does the API know `{name}`?")
        self.latest = digest

    def total_of(self, answer: Answer, body: Raw) -> int | None:
        """Return the total that a page tells, if it is as it was planned."""
        total = self.resource.paging.total
        told = None if total is None else total_in(total, answer, body)
        if self.total is not None and told is not None and told != self.total:
            msg = f"{shown(answer.url)} told of {self.total} when the run was planned, now of {told}"
            raise SourceChangedError(msg)
        return told
