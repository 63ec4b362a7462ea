"""The pipeline: read, transform, load, publish. It knows units and chunks, not Ray and not SQL."""

from dataclasses import dataclass
from itertools import chain

from dataproc.domain.chunk import Account
from dataproc.domain.errors import RowRefusedError
from dataproc.domain.fault_points import FaultPoint, reached
from dataproc.domain.spec import Destination
from dataproc.domain.unit import SourcePlan
from dataproc.ports.pipeline import Engine, Source, Transform
from dataproc.ports.warehouse import LoadId, Published, Warehouse
from dataproc.services.limits import Limit
from dataproc.services.monitor import Monitor


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
            return published
        reached(FaultPoint.FENCED)
        monitor.check()
        plan = self.source.plan()
        reached(FaultPoint.PLANNED)
        try:
            return self.load(plan, self.destination, load_id, monitor)
        except RowRefusedError:
            if self.destination.load == "staged" or monitor.progress.load == "staged":
                raise
            # COPY names no row. The staged way finds it, sets it aside, and loads the rest.
            return self.load(plan, self.destination.model_copy(update={"load": "staged"}), load_id, monitor)

    def load(self, plan: SourcePlan, destination: Destination, load_id: LoadId, monitor: Monitor) -> Published:
        """Publish all units of `plan` in one transaction; those that an earlier run has staged are not read again."""
        schema = plan.schema
        for transform in self.transforms:
            schema = transform.schema(schema)
        load = self.warehouse.open(load_id, destination, schema, plan)
        staged = {chunk.unit for chunk in load.staged_before}
        left = [unit for unit in plan.units if unit.id not in staged]
        monitor.planned(plan, load.way, resumed=len(plan.units) - len(left))

        def check(account: Account) -> None:
            for limit in self.limits:
                limit.check(account, monitor.warn)

        with self.engine.run(left, self.source.read, self.transforms, load.step) as results:
            return load.publish(plan, monitor.watched(chain(load.staged_before, results)), check)
