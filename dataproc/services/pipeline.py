"""The pipeline: read, transform, load, publish. It knows units and chunks, not Ray and not SQL."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import pyarrow as pa

from dataproc.domain.across import NOTHING, Across
from dataproc.domain.chunk import LoadedChunk
from dataproc.domain.destination import Destination
from dataproc.domain.errors import DoubledKeysError, LateColumnError, RowRefusedError
from dataproc.domain.fault_points import FaultPoint, reached
from dataproc.domain.source_columns import Kind
from dataproc.domain.tally import Totals
from dataproc.domain.unit import Begun, SourcePlan, Unit
from dataproc.ports.memory import Memory, WithLateColumns
from dataproc.ports.pipeline import Engine, Limited, Settled, Shaping, Source, Transform
from dataproc.ports.warehouse import LoadId, Published, Warehouse
from dataproc.services.discards import DiscardCount
from dataproc.services.limits import Limit
from dataproc.services.monitor import Monitor
from dataproc.services.schemas import schema_after
from dataproc.services.settling import settled

MAX_PLANS = 5
"""Plans of one run; each but the first is made because columns appeared after the samples."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Moves every row from a source to a table of the warehouse, exactly once."""

    source: Source
    transforms: tuple[Transform, ...]
    destination: Destination
    limits: tuple[Limit, ...]
    engine: Engine
    warehouse: Warehouse

    def run(self, load_id: LoadId, monitor: Monitor) -> Published:
        """Load under the claim's epoch; return what stands in the ledger, also if an earlier epoch wrote it."""
        monitor.check()
        if (published := self.warehouse.fence(load_id)) is not None:
            for note in rejected_note(Totals(published.account)):
                monitor.warn(note)
            return published
        reached(FaultPoint.FENCED)
        if isinstance(self.source, Limited):
            monitor.obstacle = self.source.waits_for
        memory: Memory = self.warehouse.memory(load_id.name, self.destination.table, by_key=self.destination.is_by_key)
        late: dict[str, Kind] = {}
        refused = LateColumnError()
        for replans in range(MAX_PLANS):
            monitor.check()
            plan = self.source.plan(WithLateColumns(memory, late) if late else memory)
            if not late.keys() <= set(plan.schema.names):
                break
            try:
                return self.load_plan(with_note(plan, late), replace(load_id, replans=replans), monitor)
            except LateColumnError as exc:
                refused = exc
                late |= late_columns_of(exc)
        else:
            msg = f"{refused} (the run was planned {MAX_PLANS} times, each time with the columns that it had met)"
            raise LateColumnError(msg, **refused.context) from refused
        raise refused

    def load_plan(self, plan: SourcePlan, load_id: LoadId, monitor: Monitor) -> Published:
        """Load what is planned.

        Raises:
            LateColumnError: a column appeared after the samples; a plan that knows of it may take it.
        """
        with plan.hold:
            reached(FaultPoint.PLANNED)
            for choice in plan.choices:
                logger.info("source settled", extra={"run_id": str(load_id.run_id), "choice": choice})
            ways = settled(self.transforms) if plan.units else tuple(Settled(each, "") for each in self.transforms)
            told = tell(ways, load_id)
            pipeline = replace(self, transforms=tuple(way.transform for way in ways))
            return pipeline.load_either_way(replace(plan, notes=(*plan.notes, *told)), load_id, monitor)

    def load_either_way(self, plan: SourcePlan, load_id: LoadId, monitor: Monitor) -> Published:
        """Load as the destination says; what the direct way refuses is loaded the staged way."""
        try:
            return self.load(plan, self.destination, load_id, monitor)
        except RowRefusedError as refused:
            if self.destination.load == "staged" or monitor.progress.load == "staged":
                raise
            # COPY names no row. The staged way finds it, sets it aside, and loads the rest.
            staged = self.destination.model_copy(update={"load": "staged"})
            return self.load(
                plan, staged, load_id, monitor, notes=(str(refused),) if isinstance(refused, DoubledKeysError) else ()
            )

    def load(
        self,
        plan: SourcePlan,
        destination: Destination,
        load_id: LoadId,
        monitor: Monitor,
        *,
        notes: Sequence[str] = (),
    ) -> Published:
        """Publish all units of `plan` in one transaction; those that an earlier run has staged are not read again."""
        # Without units there may be no columns either, and no row for any transform.
        schema, across = after(self.transforms, plan.schema) if plan.units else (pa.schema([]), NOTHING)
        plan = plan.decoded() if self.transforms else plan
        load = self.warehouse.open(load_id, destination, schema, plan, across)
        left = [replace(unit, as_is=load.as_is) for unit in unread(plan.units, load.staged_before)]
        monitor.planned(plan, load.way, resumed=len(plan.units) - len(left))
        for note in (*plan.notes, *notes):
            monitor.warn(note)

        discards, totals = DiscardCount(), Totals()

        def check(found: Totals) -> None:
            nonlocal totals
            totals = found
            discards.tell(monitor.warn)
            for limit in self.limits:
                limit.check(found, monitor.warn)

        with self.engine.run(left, self.source.read, self.transforms, load.step) as results:
            published = load.publish(plan, monitor.watched(discards.watched(chain(load.staged_before, results))), check)
        for note in (*rejected_note(totals), *published.effect.notes):
            monitor.warn(note)
        return published


def late_columns_of(error: LateColumnError) -> Mapping[str, Kind]:
    """Return the columns that the reader has met in the records around the first late one, with their kinds."""
    found = error.context.get("late")
    return found if isinstance(found, dict) else {}


def with_note(plan: SourcePlan, late: Mapping[str, Kind]) -> SourcePlan:
    """Return a plan with a warning that it is not the first one of its run."""
    if not late:
        return plan
    note = f"columns appeared after the samples of the source, so the run was planned again: {', '.join(late)}"
    return replace(plan, notes=(*plan.notes, note))


def rejected_note(totals: Totals) -> tuple[str, ...]:
    """Return a warning that rows were set aside, if any were."""
    return (f"{totals.summary}; `dataproc jobs rejects` lists them",) if totals.account.rejected else ()


def after(transforms: Sequence[Transform], schema: pa.Schema) -> tuple[pa.Schema, Across]:
    """Return the schema of rows after all transforms, and what these do across all rows of a run."""
    queries = tuple(transform.over_run for transform in transforms if isinstance(transform, Shaping))
    schema, rules = schema_after(transforms, schema)
    return schema, Across(rules, queries)


def tell(ways: Iterable[Settled], load_id: LoadId) -> Sequence[str]:
    """Log how transforms are done where that was open; return what of it somebody should look at."""
    told = [way for way in ways if way.told]
    for way in told:
        logger.info("transform settled", extra={"run_id": str(load_id.run_id), "told": way.told})
    return [way.told for way in told if isinstance(way.transform, Shaping)]


def unread(units: Iterable[Unit], staged: Iterable[LoadedChunk]) -> Iterator[Unit]:
    """Yield the units of which not all is staged; a stream goes on after its last chunk."""
    latest: dict[str, LoadedChunk] = {}
    for chunk in staged:
        if chunk.unit not in latest or latest[chunk.unit].seq < chunk.seq:
            latest[chunk.unit] = chunk
    for unit in units:
        last = latest.get(unit.id)
        if last is None:
            yield unit
        elif not last.last:
            yield replace(unit, begun=Begun(last.seq + 1, last.mark))
