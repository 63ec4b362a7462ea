"""What a user asks for: the specification of a job, the same for the API, YAML files and JSON Schema."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, FiniteFloat

from dataproc.domain.duration import Duration
from dataproc.domain.fields import ColumnName, Moment, Name, Spec
from dataproc.domain.retry import RetryPolicy
from dataproc.domain.rules import ColumnRule, ColumnType
from dataproc.domain.sources.database import DatabaseSource
from dataproc.domain.sources.external import DltSource, PluginSource
from dataproc.domain.sources.files import FilesSource, S3Source
from dataproc.domain.sources.rest import RestSource

AnySource = S3Source | FilesSource | DatabaseSource | RestSource | DltSource | PluginSource
Source = Annotated[AnySource, Field(discriminator="kind")]


class CleanTransform(Spec):
    """Puts values in order; in this sequence: rename, drop, trim, nulls, drop_nulls, cast."""

    kind: Literal["clean"]
    rename: dict[ColumnName, ColumnName] = Field(default={}, description="Old name to new name.")
    drop: tuple[ColumnName, ...] = Field(default=(), description="Columns to leave out.")
    trim: bool | tuple[ColumnName, ...] = Field(
        default=False, description="Strip white space: of all text columns, or of these."
    )
    nulls: dict[ColumnName, str | int | FiniteFloat | bool] = Field(
        default={}, description="What to put in place of null, by column."
    )
    drop_nulls: tuple[ColumnName, ...] = Field(
        default=(), description="Leave out the rows in which one of these is null; they count as filtered."
    )
    cast: dict[ColumnName, ColumnType] = Field(
        default={}, description="Column to type; a value that does not fit is set aside."
    )


class ValidateTransform(Spec):
    """Sets aside the rows that break a rule, with every rule they break."""

    kind: Literal["validate"]
    columns: dict[ColumnName, ColumnRule] = Field(min_length=1)
    on_error: Literal["quarantine", "drop", "fail"] = Field(
        default="quarantine",
        description="Keep bad rows in the reject table, only count them, or fail the run at the first.",
    )
    max_rejects: Annotated[int, Field(ge=0)] | Annotated[str, Field(pattern=r"^\d{1,3}(\.\d+)?%$")] | None = Field(
        default=None, description="A count or a share such as `1%`: above it nothing is published. None: no limit."
    )


Transform = Annotated[CleanTransform | ValidateTransform, Field(discriminator="kind")]


class Destination(Spec):
    """A table of the warehouse."""

    table: str = Field(
        pattern=r'^[^."\x00]{1,63}\.[^."\x00]{1,63}$',
        description="schema.table; made if it is missing.",
        examples=["analytics.orders"],
    )
    mode: Literal["append"] = Field(default="append", description="Add the rows to what is there.")
    load: Literal["auto", "direct", "staged"] = Field(
        default="auto",
        description="`direct`: one COPY in the publish transaction; `staged`: unit by unit; `auto` chooses by size.",
    )

    @property
    def schema_name(self) -> str:
        """The schema's name, without quotes."""
        return self.table.partition(".")[0]

    @property
    def table_name(self) -> str:
        """The table's name within its schema, without quotes."""
        return self.table.partition(".")[2]


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
