"""Records beyond a watermark."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, assert_never

import msgspec

from dataproc.domain.memory import CursorKind, CursorMove, order_of
from dataproc.domain.sources.rest import RestIncremental
from dataproc.sources.boundary import Known, digest
from dataproc.sources.json_values import (
    NUMBER_STARTS,
    TEXT_STARTS,
    BadLineError,
    Raw,
    member_decoder,
    object_of,
    text_of,
)
from dataproc.sources.rest.urls import Pairs


@dataclass(frozen=True, slots=True)
class Window:
    """Which records are taken: those after `since`, up to and with `until`.

    Of those at `since` itself all are taken where the target is filled by key. Otherwise those are taken that are not
    `known`, and none where nothing is known.
    """

    cursor: str
    kind: CursorKind
    since: str | None
    until: str | None
    known: bytes | None = field(default=None, repr=False)
    by_key: bool = False

    def sift(self, records: Sequence[Raw], known: Known) -> "Sifted":
        """Return the places of the records to take; `known` holds the records at `since` that are left out."""
        cursor_of = member_decoder(self.cursor)
        since, until = (None if end is None else order_of(end, self.kind) for end in (self.since, self.until))
        taken, bad, filtered = list[int](), dict[int, BadLineError](), 0
        high: str | None = None
        highest: Any = None
        edge: list[int] = []
        for at, record in enumerate(records):
            try:
                value = self.value_of(record, cursor_of)
            except BadLineError as exc:
                bad[at] = exc
                continue
            order: Any = order_of(value, self.kind)
            is_late = until is not None and order > until
            if is_late or (since is not None and (order < since or (order == since and self.is_known(record, known)))):
                filtered += 1
                continue
            taken.append(at)
            if high is None or order > highest:
                high, highest, edge = value, order, []
            if order == highest:
                edge.append(at)
        return Sifted(taken, bad, filtered, high, edge)

    def value_of(self, record: Raw, cursor_of: Callable[[Raw], Raw]) -> str:
        """Return the cursor of a record, as watermarks are kept."""
        try:
            value = cursor_of(record)
        except (msgspec.DecodeError, RecursionError):
            value = object_of(record, "record").get(self.cursor, b"null")
        if value[0] != TEXT_STARTS and value[0] not in NUMBER_STARTS:
            raise BadLineError("cursor", f"the cursor {self.cursor!r} has no value", self.cursor)
        try:
            return normal(text_of(value), self.kind)
        except (ValueError, ArithmeticError) as exc:
            raise BadLineError("cursor", f"the cursor {self.cursor!r} is not a {self.kind}", self.cursor) from exc

    def is_known(self, record: Raw, known: Known) -> bool:
        """Whether a record at `since` is left out."""
        return not self.by_key and (self.known is None or known.takes(digest_of(record)))

    def is_after(self, value: str, other: str) -> bool:
        """Whether a value comes after another."""
        return order_of(value, self.kind) > order_of(other, self.kind)  # type: ignore[operator]  # both are of one kind


@dataclass(frozen=True, slots=True)
class Sifted:
    """Places of the records that are taken, and of those that cannot be read; the number of others; the highest cursor.

    `edge` are the places of the records that have it.
    """

    taken: Sequence[int]
    bad: Mapping[int, BadLineError]
    filtered: int
    high: str | None
    edge: Sequence[int] = ()


def digest_of(record: Raw) -> bytes:
    """Return the digest of a record, whatever the order of its members."""
    members = sorted(object_of(record, "record").items())
    return digest(b"\n".join(json.dumps(name).encode() + b": " + value for name, value in members))


def normal(text: str, kind: CursorKind) -> str:
    """Return a value as watermarks are kept: timestamps in UTC, which is taken where no zone is given."""
    match kind:
        case "timestamp":
            moment = datetime.fromisoformat(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
        case "number":
            if not Decimal(text).is_finite():
                raise ValueError(text)
            return text
        case "text":
            return text
        case _:
            assert_never(kind)


def window_of(incremental: RestIncremental, move: CursorMove, until: datetime | None) -> Window:
    """Return the window of a run whose watermark moves as `move`."""
    start = None if incremental.start is None else normal(str(incremental.start), incremental.kind)
    ends = until.isoformat() if until is not None else None
    if move.before is None:
        return Window(incremental.cursor, incremental.kind, start, ends)
    return Window(incremental.cursor, incremental.kind, move.before, ends, move.known, move.found.by_key)


def asked(incremental: RestIncremental, since: str | None) -> Pairs:
    """Return the parameter that asks for records from a value on."""
    if incremental.parameter is None or since is None:
        return ()
    return ((incremental.parameter, written(incremental, since)),)


def written(incremental: RestIncremental, since: str) -> str:
    """Return a value as the API wants it; rounded down, because what comes twice is filtered."""
    if incremental.kind != "timestamp":
        return since
    moment = datetime.fromisoformat(since).astimezone(UTC)
    match incremental.format:
        case "iso":
            return moment.isoformat().replace("+00:00", "Z")
        case "date":
            return moment.date().isoformat()
        case "unix":
            return str(int(moment.timestamp() // 1))
        case "unix_ms":
            return str(int(moment.timestamp() * 1000 // 1))
        case _:
            assert_never(incremental.format)
