"""The `enrich` step as long as it is open who makes the join: the workers, or the warehouse over the whole run."""

from dataclasses import dataclass

from dataproc.domain.errors import LookupTooLargeError
from dataproc.domain.transforms.enrich import LookupRows, LookupSource, LookupTable
from dataproc.ports.pipeline import Settled
from dataproc.transforms.enrich import Enrich
from dataproc.transforms.enrich_run import EnrichOverRun


@dataclass(frozen=True, slots=True)
class UnsettledEnrich(Enrich):
    """Adds columns of a lookup: by workers if it is small, else in the warehouse if it can be."""

    @property
    def obstacle(self) -> str | None:
        """Why the warehouse cannot make the join."""
        return self.spec.obstacle

    @property
    def told(self) -> str:
        """What the lookup is called."""
        match self.spec.place:
            case LookupTable(table=table):
                return f"enrich: the lookup {table}"
            case LookupSource(source=source):
                return f"enrich: the lookup ({source.kind})"
            case LookupRows():
                return "enrich: the lookup in the job"

    def settle(self, obstacle: str | None, *, after_run: bool) -> Settled:
        """Return who makes the join: what is small enough goes to the workers."""
        if after_run:
            return self.by_warehouse("is joined in the warehouse, for a step before it is done there")
        if obstacle is not None:
            return self.by_workers_only(obstacle)
        size, most = self.lookup.size(), f"{self.spec.max_bytes:,} bytes (`max_bytes`)"
        if size is not None and size > self.spec.max_bytes:
            return self.by_warehouse(f"has about {size:,} bytes, more than {most}, and is joined in the warehouse")
        try:
            return self.by_workers()
        except LookupTooLargeError:
            # The estimate of a table that nobody has analysed is a guess.
            return self.by_warehouse(f"has more than {most}, and is joined in the warehouse")

    def by_warehouse(self, told: str) -> Settled:
        """Leave the join to the warehouse."""
        return Settled(EnrichOverRun(self.spec), f"{self.told} {told}")

    def by_workers(self) -> Settled:
        """Leave the join to the workers, with what was read."""
        size = self.lookup.fetch()
        return Settled(Enrich(self.spec, self.lookup), f"{self.told} has {size:,} bytes, and goes to the workers")

    def by_workers_only(self, obstacle: str) -> Settled:
        """Leave the join to the workers, or say why nobody can make it."""
        try:
            return self.by_workers()
        except LookupTooLargeError as exc:
            msg = (
                f"enrich.from: the lookup has more than {self.spec.max_bytes} bytes, and cannot be joined in the "
                f"warehouse: {obstacle}; raise `max_bytes`, name fewer columns, or change that"
            )
            raise LookupTooLargeError(msg, max_bytes=self.spec.max_bytes) from exc
