"""What a user asks for: the specification of a job, the same for the API, YAML files and JSON Schema."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from dataproc.domain.destination import Destination
from dataproc.domain.duration import Duration
from dataproc.domain.fields import Moment, Name, Spec
from dataproc.domain.retry import RetryPolicy
from dataproc.domain.sources.database import DatabaseSource
from dataproc.domain.sources.external import DltSource, PluginSource
from dataproc.domain.sources.files import FilesSource, S3Source
from dataproc.domain.sources.rest import RestSource
from dataproc.domain.transforms.clean import CleanTransform
from dataproc.domain.transforms.dedupe import DedupeTransform
from dataproc.domain.transforms.validate import ValidateTransform

AnySource = S3Source | FilesSource | DatabaseSource | RestSource | DltSource | PluginSource
Source = Annotated[AnySource, Field(discriminator="kind")]

AnyTransform = CleanTransform | ValidateTransform | DedupeTransform
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
        description="What to do when the source gives no row, and gave some the last time. `warn` does not speak of "
        "sources that give only what is new.",
    )

    @property
    def connection(self) -> str | None:
        """The name of the registered source that the job reads; `None`: it needs none."""
        return getattr(self.source, "connection", None)

    @property
    def reads_what_is_new(self) -> bool:
        """Whether the job leaves out what its earlier runs have read."""
        incremental, track = getattr(self.source, "incremental", None), getattr(self.source, "track", "off")
        return incremental is not None or track != "off"

    @property
    def source_name(self) -> str:
        """What limits of a source count by: its connection, else its kind."""
        return self.connection or self.source.kind
