"""What a job would do, found out without doing it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta

import pyarrow as pa

from dataproc.domain.destination import Destination
from dataproc.domain.errors import (
    FatalError,
    InvalidSpecError,
    Problem,
    SetupError,
    SourceUnavailableError,
)
from dataproc.domain.spec import JobSpec
from dataproc.domain.unit import SourcePlan
from dataproc.ports.memory import Memory
from dataproc.ports.pipeline import Shaping, Source, Transform
from dataproc.ports.warehouse import TargetPreview, TargetPreviewer
from dataproc.services.blame import blamed
from dataproc.services.schemas import schema_after
from dataproc.services.settling import settled

PLANS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class JobPlan:
    """What a job would read, which rows come out of its transforms, and what becomes of the target.

    `choices` are sentences on how the source is read and transforms are done where that was open.
    """

    source: SourcePlan
    schema: pa.Schema
    destination: Destination
    target: TargetPreview
    choices: tuple[str, ...] = ()

    @property
    def is_allowed(self) -> bool:
        """Whether our role may do all that the load needs; the source was read to make the plan."""
        return all(permission.granted for permission in self.target.permissions)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What would fail the job as it stands, or what somebody should look at."""
        strange = [name for name in self.destination.terms.columns if name not in self.schema.names]
        unknown = [f"the contract names column {name}, and no row has it" for name in strange]
        return (*self.source.notes, *unknown, *warnings_of(self.target, self.destination))


@dataclass(frozen=True, slots=True)
class Planner:
    """Plans a job as its run would, and stops before anything is changed."""

    source: Source
    transforms: tuple[Transform, ...]
    destination: Destination
    warehouse: TargetPreviewer
    memory: Memory

    def plan(self) -> JobPlan:
        """Return the plan, or raise what would fail the job."""
        with blamed("/source"):
            source = self.source.plan(self.memory)
        with source.hold:
            ways = settled(self.transforms)
            transforms, choices = [way.transform for way in ways], tuple(way.told for way in ways if way.told)
            queries = [each.over_run for each in transforms if isinstance(each, Shaping)]
            schema, _ = schema_after(transforms, source.schema)
            told = source.decoded() if transforms else source
            with blamed("/destination"):
                preview = self.warehouse.preview(self.destination, schema, told, queries)
            return JobPlan(source, schema, self.destination, preview, (*source.choices, *choices))


@dataclass(frozen=True, slots=True)
class PlanService:
    """Plans jobs for callers who wait; `open_planner` knows the pieces of a job."""

    open_planner: Callable[[JobSpec], Awaitable[Planner]]
    timeout: timedelta
    # Of its own: a source that never answers must not hold a thread that others need.
    threads: Executor = field(default_factory=lambda: ThreadPoolExecutor(PLANS_AT_ONCE, "plan"), repr=False)

    async def plan(self, spec: JobSpec) -> JobPlan:
        """Return the plan of a job, or raise `InvalidSpecError` with what would fail it, and where it is written."""
        try:
            with blamed(""):
                planner = await self.open_planner(spec)
            planned = asyncio.get_running_loop().run_in_executor(self.threads, planner.plan)
            return await asyncio.wait_for(planned, self.timeout.total_seconds())
        except TimeoutError as exc:
            raise SourceUnavailableError(
                f"the plan was not made within {self.timeout.total_seconds():g} s (DATAPROC_PLAN_TIMEOUT); "
                "does the source answer here? `dataproc plan` has no such limit"
            ) from exc
        except FatalError as exc:
            if isinstance(exc, SetupError):
                raise
            wrong = Problem(str(exc.context.get("pointer", "")), str(exc))
            raise InvalidSpecError("The job would fail as it stands.", (wrong,)) from exc


def warnings_of(target: TargetPreview, destination: Destination) -> Iterator[str]:
    """Yield what is to be said of a target."""
    for permission in target.permissions:
        if not permission.granted:
            yield f"our role may not {permission.what}: {permission.advice}"
    for name in target.left_out:
        kind = destination.terms.of(name)
        fate = "its values are left out" if kind == "discard_value" else "rows that have a value there are set aside"
        yield f"{target.table} does not take column {name}: {fate}"
    if not target.accepted:
        yield f"{target.table} needs an unsafe change: write `accept: {target.fingerprint}` into the destination"
