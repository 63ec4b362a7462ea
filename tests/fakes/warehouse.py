"""A warehouse in memory."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa

from dataproc.domain.across import NOTHING, Across
from dataproc.domain.chunk import Chunk, LoadedChunk
from dataproc.domain.destination import Destination
from dataproc.domain.errors import (
    CancelledRunError,
    ContractViolationError,
    FencedError,
    MemoryChangedError,
    RowRefusedError,
    WarehouseUnavailableError,
)
from dataproc.domain.job import JobId
from dataproc.domain.memory import NOTHING_KNOWN, Boundary, SourceObject, Window
from dataproc.domain.source_columns import Kind, TargetColumn
from dataproc.domain.tally import Tally, Totals, kept
from dataproc.domain.unit import SourcePlan
from dataproc.ports.warehouse import Effect, LoadId, Published, Reconciliation, UnitAccount
from tests.builders import SOME_TIME
from tests.fakes.pipeline import look_away


@dataclass(frozen=True, slots=True)
class Fence:
    """Up to which epoch a job may be published, and whether it may at all."""

    epoch: int
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class Staging:
    """What an epoch has staged; `load` tells whether another load is the same."""

    epoch: int
    load: tuple[object, ...]
    chunks: dict[tuple[str, int], LoadedChunk] = field(default_factory=dict)

    def chunks_to_keep(self) -> tuple[LoadedChunk, ...]:
        """Return the chunks that need not be read again, without their rows."""
        units: dict[str, dict[int, LoadedChunk]] = {}
        for (unit, seq), chunk in self.chunks.items():
            units.setdefault(unit, {})[seq] = chunk.without_payload()
        return tuple(chunk for unit in units.values() for chunk in kept(unit))


@dataclass(slots=True)
class FakeWarehouse:
    """A warehouse in memory; `refused` are ids that it takes in no row."""

    refused: frozenset[int] = frozenset()
    rows: dict[str, list[int]] = field(default_factory=dict)
    fences: dict[JobId, Fence] = field(default_factory=dict)
    ledger: dict[JobId, Reconciliation] = field(default_factory=dict)
    staging: dict[JobId, Staging] = field(default_factory=dict)
    cleaned: list[tuple[JobId, int]] = field(default_factory=list)
    refreshed: list[str] = field(default_factory=list)
    opened: list[tuple[tuple[str, ...], int]] = field(default_factory=list)
    memories: dict[tuple[str, str], "FakeMemory"] = field(default_factory=dict)
    is_away: bool = False
    is_busy: bool = False
    on_published: Callable[[Published], None] = look_away

    def fence(self, load_id: LoadId) -> Published | None:
        self.check()
        fence = self.fences.get(load_id.job_id, Fence(0))
        if fence.epoch > load_id.epoch or (fence.epoch == load_id.epoch and fence.cancelled):
            raise FencedError
        self.fences[load_id.job_id] = Fence(load_id.epoch)
        return self.published(load_id.job_id)

    def memory(self, name: str, target: str, *, by_key: bool = False) -> "FakeMemory":
        self.check()
        return self.memories.setdefault((name, target), FakeMemory(kept=Boundary(by_key)))

    def open(
        self,
        load_id: LoadId,
        destination: Destination,
        schema: pa.Schema,
        plan: SourcePlan,
        across: Across = NOTHING,
    ) -> "FakeLoad":
        assert not across.is_anything, "this fake looks at one chunk at a time"
        self.demand_fence(load_id)
        self.opened.append((tuple(schema.names), plan.size))
        if destination.load == "direct" or (destination.load == "auto" and not plan.streams):
            self.drop(load_id.job_id, load_id.epoch - 1)
            return FakeLoad(self, load_id, destination.table, "direct", as_is=bool(plan.wire))
        same = (tuple(schema.names), plan.move, *(unit.id for unit in plan.units))
        before = self.staging.get(load_id.job_id)
        chunks = before.chunks if before is not None and before.load == same else {}
        staging = self.staging[load_id.job_id] = Staging(load_id.epoch, same, chunks)
        return FakeLoad(self, load_id, destination.table, "staged", staging.chunks_to_keep())

    def demand_fence(self, load_id: LoadId) -> None:
        """Stop unless this epoch may publish."""
        self.check()
        fence = self.fences.get(load_id.job_id)
        if fence is None or fence.epoch != load_id.epoch:
            raise FencedError
        if fence.cancelled:
            raise CancelledRunError

    def published(self, job_id: JobId) -> Published | None:
        self.check()
        found = self.ledger.get(job_id)
        return None if found is None else Published(found.target, found.account, found.way)

    def forbid(self, job_id: JobId, epoch: int) -> Published | None:
        self.check()
        if self.fences.get(job_id, Fence(0)).epoch <= epoch:
            self.fences[job_id] = Fence(epoch, cancelled=True)
        return self.published(job_id)

    def refresh(self, target: str) -> None:
        if self.is_busy:
            raise WarehouseUnavailableError("somebody holds the table")
        self.refreshed.append(target)

    def clean(self, job_id: JobId, epoch: int) -> None:
        self.check()
        self.cleaned.append((job_id, epoch))
        self.drop(job_id, epoch)

    def drop(self, job_id: JobId, epoch: int) -> None:
        """Drop what a job has staged up to `epoch`."""
        if (staging := self.staging.get(job_id)) is not None and staging.epoch <= epoch:
            del self.staging[job_id]

    def staged(self) -> Sequence[JobId]:
        self.check()
        return list(self.staging)

    def reconciliation(self, job_id: JobId) -> Reconciliation | None:
        self.check()
        return self.ledger.get(job_id)

    def check(self) -> str:
        if self.is_away:
            raise WarehouseUnavailableError
        return "in memory"


@dataclass(slots=True)
class FakeMemory:
    """What the published runs of a job have read."""

    value: str | None = None
    cursor: str | None = None
    objects: set[tuple[str, str]] = field(default_factory=set)
    kept: Boundary = NOTHING_KNOWN

    def watermark(self, cursor: str) -> str | None:
        if self.cursor not in (None, cursor):
            raise ContractViolationError
        return self.value

    def boundary(self) -> Boundary:
        return self.kept

    def unloaded(self, objects: Iterable[SourceObject]) -> Iterator[SourceObject]:
        return (one for one in objects if (one.uri, one.version) not in self.objects)

    def has_objects(self) -> bool:
        return bool(self.objects)

    def target_columns(self) -> Mapping[str, TargetColumn]:
        return {}

    def late_columns(self) -> Mapping[str, Kind]:
        return {}

    def change(self, plan: SourcePlan, tally: Tally) -> None:
        """Move the watermark and add the objects, unless they are not as the run found them."""
        new = {(one.uri, one.version) for one in plan.objects}
        if not self.objects.isdisjoint(new) or (plan.move is not None and plan.move.before != self.value):
            raise MemoryChangedError
        self.objects |= new
        if plan.move is not None:
            self.move(plan.move.window(tally.edges()))

    def move(self, window: Window) -> None:
        """Keep how far a run has read."""
        self.cursor, self.value = window.cursor, window.up_to
        self.kept = replace(self.kept, known=window.boundary, columns=window.columns)


@dataclass(frozen=True, slots=True)
class FakeLoad:
    """A load on its way."""

    warehouse: FakeWarehouse
    load_id: LoadId
    target: str
    way: str
    staged_before: tuple[LoadedChunk, ...] = ()
    as_is: bool = False

    def step(self, chunk: Chunk) -> LoadedChunk:
        """Return a chunk with its ids as the payload; the staged way sets aside what the warehouse refuses."""
        ids = chunk.rows["id"].to_pylist() if chunk.wire is None else json.loads(bytes(chunk.wire))
        taken = [one for one in ids if self.way == "direct" or one not in self.warehouse.refused]
        rejected = chunk.rejected + len(ids) - len(taken)
        payload = json.dumps(taken).encode()
        loaded = LoadedChunk(
            chunk.unit, chunk.seq, chunk.last, chunk.read, len(taken), rejected, chunk.filtered, payload, payload,
            deduplicated=chunk.deduplicated, mark=chunk.mark, high=chunk.high, edge=chunk.edge,
        )  # fmt: skip
        return loaded if self.way == "direct" else self.stage(loaded)

    def stage(self, chunk: LoadedChunk) -> LoadedChunk:
        """Keep a chunk, unless it is there; an epoch that is over finds no place for it."""
        staging = self.warehouse.staging.get(self.load_id.job_id)
        if staging is None or staging.epoch != self.load_id.epoch:
            raise FencedError
        return replace(staging.chunks.setdefault((chunk.unit, chunk.seq), chunk), payload=b"")

    def publish(self, plan: SourcePlan, results: Iterator[LoadedChunk], check: Callable[[Totals], None]) -> Published:
        tally, rows = Tally(), list[int]()
        for chunk in results:
            if tally.add(chunk) and self.way == "direct":
                rows += json.loads(bytes(chunk.payload))
        if not self.warehouse.refused.isdisjoint(rows):
            raise RowRefusedError
        tally.verify(plan)
        check(tally.totals)
        self.warehouse.demand_fence(self.load_id)
        if self.way == "staged":
            staged = self.warehouse.staging.pop(self.load_id.job_id)
            rows = [one for chunk in staged.chunks.values() for one in json.loads(bytes(chunk.payload))]
        return self.record(plan, tally, rows)

    def record(self, plan: SourcePlan, tally: Tally, rows: list[int]) -> Published:
        """Put the rows into the target and the load into the ledger."""
        units = [UnitAccount(unit.id, unit.rows, tally.of(unit)) for unit in sorted(plan.units, key=lambda u: u.id)]
        window = None if plan.move is None else plan.move.window(tally.edges())
        entry = Reconciliation(
            self.target, self.way, SOME_TIME, tally.account, plan.rows, tuple(units), window, Effect(inserted=len(rows))
        )
        published = Published(
            self.target, tally.account, self.way, Effect(inserted=len(rows), stale=True, set_aside=True)
        )
        self.warehouse.memory(self.load_id.name, self.target).change(plan, tally)
        self.warehouse.rows.setdefault(self.target, []).extend(rows)
        self.warehouse.ledger[self.load_id.job_id] = entry
        self.warehouse.on_published(published)
        return published
