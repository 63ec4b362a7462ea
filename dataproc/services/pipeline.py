"""The pipeline: read, transform, load, publish. It knows units and chunks, not Ray and not SQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from dataproc.domain.chunk import Account
from dataproc.domain.errors import RowRefusedError, TooManyRejectsError
from dataproc.domain.spec import Destination, ValidateTransform
from dataproc.domain.spec import Transform as TransformSpec
from dataproc.domain.unit import SourcePlan
from dataproc.ports import Engine, LoadId, Published, Source, Transform, Warehouse
from dataproc.services.monitor import Monitor


@dataclass(frozen=True, slots=True)
class RejectLimit:
    """How many rows may be set aside: a count, a share of the rows read, or (`None`) any number."""

    most: int | str | None

    def check(self, account: Account) -> None:
        """Refuse an account with more rejects than allowed."""
        if account.rejected > self.allowed(account.read):
            raise TooManyRejectsError(
                f"{account.rejected} of {account.read} rows broke the rules and {self.most} are allowed: "
                "nothing was published"
            )

    def allowed(self, read: int) -> float | Fraction:
        """Return how many rejects are allowed among `read` rows."""
        if self.most is None:
            return float("inf")
        if isinstance(self.most, str):
            # Exact, for 0.29% of 10,000 rows are 29 rows and not a little less.
            return read * Fraction(self.most.removesuffix("%")) / 100
        return self.most


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Moves every row from a source to a table of the warehouse, exactly once."""

    source: Source
    transforms: tuple[Transform, ...]
    destination: Destination
    limits: tuple[RejectLimit, ...]
    engine: Engine
    warehouse: Warehouse

    def run(self, load_id: LoadId, monitor: Monitor) -> Published:
        """Publish the load, or return what an earlier attempt of the same job published."""
        if (done := self.warehouse.fence(load_id)) is not None:
            return done
        monitor.check()
        plan = self.source.plan()
        try:
            return self.load(plan, self.destination, load_id, monitor)
        except RowRefusedError:
            if self.destination.load == "staged" or monitor.progress.load == "staged":
                raise
            # COPY names no row. The staged way finds it, sets it aside, and loads the rest.
            return self.load(plan, self.destination.model_copy(update={"load": "staged"}), load_id, monitor)

    def load(self, plan: SourcePlan, destination: Destination, load_id: LoadId, monitor: Monitor) -> Published:
        """Publish all units of `plan` in one transaction."""
        schema = plan.schema
        for transform in self.transforms:
            schema = transform.schema(schema)
        load = self.warehouse.open(load_id, destination, schema, plan.size)
        monitor.planned(plan, load.way)
        with self.engine.run(plan.units, self.source.read, self.transforms, load.step) as results:
            return load.publish(plan, monitor.watched(results), self.check)

    def check(self, account: Account) -> None:
        """Refuse totals that break a limit of the job."""
        for limit in self.limits:
            limit.check(account)


def limits_of(transforms: Sequence[TransformSpec]) -> tuple[RejectLimit, ...]:
    """Return the limits that the transforms of a job set."""
    return tuple(RejectLimit(t.max_rejects) for t in transforms if isinstance(t, ValidateTransform))
