"""What a user asks for: the specification of a job, the same for the API, YAML files and JSON Schema."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from typing_extensions import TypeIs

from dataproc.domain.destination import Destination
from dataproc.domain.duration import Duration
from dataproc.domain.fields import MaxRejects, Moment, Name, Spec
from dataproc.domain.retry import RetryPolicy
from dataproc.domain.sources.kinds import Source
from dataproc.domain.transforms.clean import CleanTransform
from dataproc.domain.transforms.dedupe import DedupeTransform
from dataproc.domain.transforms.derive import DeriveTransform
from dataproc.domain.transforms.enrich import EnrichTransform, LookupSource
from dataproc.domain.transforms.filter import FilterTransform
from dataproc.domain.transforms.mask import MaskTransform
from dataproc.domain.transforms.python import PythonTransform
from dataproc.domain.transforms.sql import SqlTransform
from dataproc.domain.transforms.validate import ValidateTransform

AnyTransform = (
    CleanTransform
    | ValidateTransform
    | DedupeTransform
    | EnrichTransform
    | MaskTransform
    | FilterTransform
    | DeriveTransform
    | SqlTransform
    | PythonTransform
)
Transform = Annotated[AnyTransform, Field(discriminator="kind")]


class JobSpec(Spec):
    """A job: bring the rows of a source through transforms into a table of the warehouse."""

    name: Name
    source: Source
    transforms: tuple[Transform, ...] = Field(default=(), max_length=50)
    destination: Destination
    retry: RetryPolicy = RetryPolicy()
    timeout: Duration = Field(
        default=timedelta(minutes=5),
        gt=timedelta(0),
        le=timedelta(days=1),
        description="The longest that a run may take.",
    )
    priority: int = Field(default=0, ge=-100, le=100, description="Higher goes first.")
    scheduled_for: Moment | None = Field(
        default=None, description="Not before this time, which has its zone; none: at once."
    )
    execution: Literal["shared", "dedicated"] = Field(
        default="shared",
        description="`shared`: by a warm runner; `dedicated`: as a Ray Job of its own, which takes seconds to start.",
    )
    no_rows: Literal["allow", "warn", "fail"] = Field(
        default="warn",
        description="What to do when no row reaches the target, and some did the last time. `warn` does not speak of "
        "sources that give only what is new. `allow` also lets `replace` leave an empty table.",
    )
    max_rejects: MaxRejects | None = Field(
        default=None,
        description="How many rows may be set aside by reader, steps, contract and warehouse together: a count, or a "
        "share of the rows that were read, such as `1%`; above it nothing is published. None: the run fails when all "
        "rows, or more than half of at least 100, were set aside. `100%` allows any number.",
    )

    @property
    def connection(self) -> str | None:
        """The name of the registered source that the job reads; `None`: it needs none."""
        return getattr(self.source, "connection", None)

    @property
    def connections(self) -> tuple[str, ...]:
        """The names of all registered sources that the job reads, also for its lookups."""
        return tuple(dict.fromkeys(self.connections_at.values()))

    @property
    def connections_at(self) -> Mapping[str, str]:
        """These names by where they stand, as JSON pointers."""
        found = {"/source/connection": self.connection}
        for at, each in enumerate(self.transforms):
            if isinstance(each, EnrichTransform) and isinstance(each.place, LookupSource):
                found[f"/transforms/{at}/from/source/connection"] = each.place.connection
        return {pointer: name for pointer, name in found.items() if name is not None}

    @model_validator(mode="after")
    def keeps_what_it_does_not_read(self) -> Self:
        """Refuse to take for missing what a source only leaves out because it has given it before."""
        if self.destination.drops_what_is_missing and self.reads_what_is_new:
            msg = (
                f"destination: mode {self.destination.mode} drops what the source does not give, and this one gives "
                "only what is new; use mode merge or append, or read all of it"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def asks_over_the_run_last(self) -> Self:
        """Refuse a step after one that waits for all rows of the run."""
        settled = [each for each in self.transforms if not (is_unsettled(each) and each.obstacle is None)]
        over_run = [getattr(each, "over", "batch") == "run" for each in settled]
        if over_run != sorted(over_run):
            msg = "transforms: a step with `over: run` is done when all rows are staged; put it after the other steps"
            raise ValueError(msg)
        return self

    @property
    def reads_what_is_new(self) -> bool:
        """Whether the job leaves out what its earlier runs have read."""
        incremental, track = getattr(self.source, "incremental", None), getattr(self.source, "track", "off")
        return incremental is not None or track != "off" or self.source.kind == "rejects"

    @property
    def source_name(self) -> str:
        """What limits of a source count by: its connection, else its kind."""
        return self.connection or self.source.kind


def is_unsettled(transform: AnyTransform) -> TypeIs[EnrichTransform]:
    """Whether it is found out when the job is planned how this step is done."""
    return isinstance(transform, EnrichTransform) and transform.over == "auto"
