"""Pages: how to ask for one, and what leads to the next."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, assert_never

import msgspec

from dataproc.domain.errors import BadDataError
from dataproc.domain.sources.rest import (
    CursorPaging,
    LinkPaging,
    NextUrlPaging,
    NoPaging,
    OffsetPaging,
    PagePaging,
    Resource,
    Total,
)
from dataproc.sources.json_values import NUMBER_STARTS, TEXT_STARTS, WHOLE, Raw, text_of
from dataproc.sources.rest.answer import Answer
from dataproc.sources.rest.asks import Ask
from dataproc.sources.rest.jsonpaths import first_at
from dataproc.sources.rest.links import next_link
from dataproc.sources.rest.urls import Pairs, filled, shown, with_query

Next = str | int | None
"""What leads to a page: its number, offset, cursor or URL; `None`: it is the first."""

JSON_BODY = ("Content-Type", "application/json")
LARGEST = 2**53
MAX_DIGITS = 4_000
"""Digits of a cursor that is sent as a number; Python does not read much longer ones."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a reader stands: at which parent, what leads to the next page, and how many pages and records it had.

    `until` is up to where records are taken, which the first attempt fixes for those that go on after it.
    """

    parent: int = 0
    next: Next = None
    page: int = 0
    at: int = 0
    until: str | None = None

    @property
    def mark(self) -> str:
        """This as text."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, mark: str) -> "Spot":
        """Return the spot of a mark."""
        return cls(**json.loads(mark))


def ask_for(
    resource: Resource,
    base: str,
    values: Mapping[str, object],
    extra: Pairs,
    following: Next,
    *,
    stop: int | None = None,
) -> Ask:
    """Return the request for a page; of offsets, nothing from `stop` on is asked for."""
    paging = resource.paging
    headers = tuple(resource.headers.items())
    if isinstance(paging, LinkPaging | NextUrlPaging) and following is not None:
        url = str(following)
        return request(resource, url, headers, resource.body)
    query = [(name, plain(value)) for name, value in resource.query.items()] + list(extra)
    body: dict[str, Any] | None = resource.body
    steps = steering(paging, following, stop)
    if getattr(paging, "place", "query") == "body":
        body = json.loads(json.dumps(body or {}))
        for name, value in steps:
            put(body, name, value)
    else:
        query += [(name, plain(value)) for name, value in steps]
    url = base + filled(resource.path, values)
    return request(resource, with_query(url, tuple(dict(query).items())), headers, body)


def request(resource: Resource, url: str, headers: Pairs, body: Mapping[str, Any] | None) -> Ask:
    """Return a request of a resource."""
    repeatable = resource.method == "GET" or resource.idempotent
    if body is None:
        return Ask(resource.method, url, headers, None if resource.method == "GET" else b"", repeatable)
    data = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    return Ask(resource.method, url, (*headers, JSON_BODY), data, repeatable)


def steering(paging: object, following: Next, stop: int | None) -> list[tuple[str, str | int]]:
    """Return the parameters that ask for a page."""
    match paging:
        case PagePaging() | OffsetPaging():
            place = int(first_place(paging) if following is None else following)
            limit = stop - place if stop is not None and isinstance(paging, OffsetPaging) else paging.size
            size = [(paging.size_parameter, min(paging.size, limit))] if paging.size_parameter else []
            return [(paging.parameter, place), *size]
        case CursorPaging() if following is not None:
            return [(paging.parameter, following)]
        case _:
            return []


def first_place(paging: PagePaging | OffsetPaging) -> int:
    """Return the number or offset of the first page."""
    return paging.first if isinstance(paging, PagePaging) else 0


def put(body: dict[str, Any] | None, name: str, value: str | int) -> None:
    """Put a value into a body, at a name whose dots lead into its objects."""
    *folders, last = name.split(".")
    place: Any = body
    for folder in folders:
        place = place.setdefault(folder, {})
    place[last] = value


def plain(value: object) -> str:
    """Return a parameter as text."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def after(resource: Resource, spot: Spot, answer: Answer, body: Raw, count: int) -> Next:
    """Return what leads to the page after the one that was read; `None`: nothing does."""
    match paging := resource.paging:
        case NoPaging():
            return None
        case PagePaging():
            return int(paging.first if spot.next is None else spot.next) + 1 if count else None
        case OffsetPaging():
            return int(spot.next or 0) + count if count else None
        case CursorPaging():
            found = (answer.header(paging.header) or None) if paging.header else cursor_at(paging.next or "$", body)
            return unless_end(found, paging.ends)
        case LinkPaging():
            return next_link(answer.headers.get("link", ()), answer.url)
        case NextUrlPaging():
            return unless_end(cursor_at(paging.next, body), paging.ends)
        case _:
            assert_never(paging)


def unless_end(following: Next, ends: Sequence[str | int]) -> Next:
    """Return the cursor or URL of the next page; `None` for a value of `ends`, where `0` and `"0"` are one value."""
    return None if str(following) in map(str, ends) else following


def cursor_at(path: str, body: Raw) -> Next:
    """Return the cursor at a path; nothing, false and an empty text are none."""
    value = first_at(path, body)
    if value is None or value in (b"false", b'""'):
        return None
    if WHOLE.fullmatch(value) and len(value) <= MAX_DIGITS:
        return int(value)
    try:
        if value[0] == TEXT_STARTS or value[0] in NUMBER_STARTS:
            return text_of(value)
    except msgspec.DecodeError as exc:
        raise BadDataError("paging: the cursor in the answer has half of a surrogate pair") from exc
    raise BadDataError("paging: the cursor in the answer is not a text or a number; check `next`")


def total_in(total: Total, answer: Answer, body: Raw) -> int | None:
    """Return the total that an answer tells; `None`: it tells none."""
    value = None if total.header else first_at(total.path or "$", body)
    told = answer.header(total.header) if total.header else value
    if told is None:
        return None
    try:
        number = int(told if isinstance(told, str) else text_of(told))
    except ValueError:
        number = -1
    if not 0 <= number < LARGEST:
        raise BadDataError(f"paging/total: {shown(answer.url)} tells what is no count; check path or header")
    return number
