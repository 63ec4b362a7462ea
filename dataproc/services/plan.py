"""What a job would do, found out without doing it."""

from dataclasses import dataclass

import pyarrow as pa

from dataproc.domain.destination import Destination
from dataproc.domain.unit import SourcePlan
from dataproc.ports.memory import Memory
from dataproc.ports.pipeline import Source, Transform
from dataproc.ports.warehouse import TargetPreview, TargetPreviewer


@dataclass(frozen=True, slots=True)
class JobPlan:
    """What a job would read, which rows come out of its transforms, and what becomes of the target."""

    source: SourcePlan
    schema: pa.Schema
    target: TargetPreview


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
        source = self.source.plan(self.memory)
        with source.hold:
            schema = source.schema
            for transform in self.transforms:
                schema = transform.schema(schema)
            return JobPlan(source, schema, self.warehouse.preview(self.destination, schema, source))
