"""The `enrich` step, as users write it."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, FiniteFloat, Tag, model_validator

from dataproc.domain.choices import PLAIN, chosen_by
from dataproc.domain.duration import Duration
from dataproc.domain.fields import ColumnName, NewColumn, Spec, TableName, column_fits
from dataproc.domain.sources.kinds import Source

Plain = str | int | FiniteFloat | bool
MIB = 1024**2


class LookupTable(Spec):
    """A table or view of the warehouse."""

    table: TableName = Field(description="schema.table; names are taken exactly.", examples=["analytics.countries"])

    @model_validator(mode="after")
    def is_of_the_user(self) -> "LookupTable":
        """Refuse the tables that belong to the program: they hold rows of other jobs."""
        if self.table.partition(".")[0] == "dataproc_load":
            msg = "tables of dataproc_load are no lookups; name one of your own"
            raise ValueError(msg)
        return self


class LookupSource(Spec):
    """All rows of a source, as a job would read them."""

    source: Source

    @model_validator(mode="after")
    def is_read_whole(self) -> "LookupSource":
        """Refuse what only a job's own source can do."""
        for name, plain in {"incremental": None, "track": "off", "archive": None}.items():
            if getattr(self.source, name, plain) != plain:
                msg = f"{name}: a lookup is read whole, and nothing is remembered of it; leave this out"
                raise ValueError(msg)
        if self.source.kind not in ("files", "s3", "database", "rest", "dlt", "plugin"):
            msg = f"kind: {self.source.kind} is no lookup; name files, a table or an API"
            raise ValueError(msg)
        return self

    @property
    def connection(self) -> str | None:
        """The name of the registered source that is read; `None`: it needs none."""
        return getattr(self.source, "connection", None)


class LookupRows(Spec):
    """Rows that stand in the job."""

    rows: Annotated[tuple[dict[ColumnName, Plain | None], ...], Field(min_length=1, max_length=10_000)]


LookupPlace = LookupTable | LookupSource | LookupRows
From = Annotated[
    Annotated[LookupTable, Tag("table")] | Annotated[LookupSource, Tag("source")] | Annotated[LookupRows, Tag("rows")],
    chosen_by("table", "source", "rows"),
]


class Default(Spec):
    """What the new columns hold where there is no match."""

    default: dict[NewColumn, Plain | None] = Field(min_length=1)


class EnrichTransform(Spec):
    """Adds columns of a lookup, a small table that is read once for a run, to the rows with the same keys."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    kind: Literal["enrich"]
    place: From = Field(
        alias="from",
        description="`{table: schema.name}` of the warehouse, `{source: {kind: …}}` as in a job, or `{rows: [{…}]}`.",
    )
    on: dict[ColumnName, ColumnName] = Field(
        min_length=1,
        max_length=16,
        description="Column of the rows to column of the lookup; the lookup has each key once. Null matches nothing.",
    )
    columns: dict[NewColumn, ColumnName] = Field(min_length=1, description="New column to column of the lookup.")
    missing: Annotated[
        Annotated[Literal["null", "reject"], Tag(PLAIN)] | Annotated[Default, Tag("default")], chosen_by("default")
    ] = Field(
        default="null",
        description="Where there is no match: null, set the row aside, or `{default: {column: value}}`.",
    )
    over: Literal["auto", "batch", "run"] = Field(
        default="auto",
        description="`batch`: workers hold the lookup; `run`: a table of any size is joined in the warehouse, where "
        "the rows are staged; such a step comes last; `auto`: `batch` up to `max_bytes`, else `run` where it can be.",
    )
    max_bytes: int = Field(
        default=64 * MIB,
        ge=1,
        le=1024 * MIB,
        description="The lookup's greatest size where workers hold it; each of them does.",
    )
    keep_for: Duration = Field(
        default=timedelta(minutes=10),
        ge=timedelta(0),
        le=timedelta(days=1),
        description="How long what was read serves other runs as well; `0s`: each run reads it anew.",
    )

    @property
    def obstacle(self) -> str | None:
        """Why the warehouse cannot make the join; `None`: it can, when all other steps are done."""
        if not isinstance(self.place, LookupTable):
            return "only a table of the warehouse is joined there"
        return "a join over the run sets no rows aside (`missing: reject`)" if self.missing == "reject" else None

    @model_validator(mode="after")
    def names_columns(self) -> "EnrichTransform":
        """Refuse names that no column of a table in the warehouse can have."""
        for field, names in {"on": self.on.values(), "columns": self.columns.values()}.items():
            for name in names if isinstance(self.place, LookupTable) else ():
                try:
                    column_fits(name)
                except ValueError as exc:
                    msg = f"{field}: {exc}"
                    raise ValueError(msg) from exc
        return self

    @model_validator(mode="after")
    def can_be_joined(self) -> "EnrichTransform":
        """Refuse a join over the run that the warehouse cannot make."""
        if self.over == "run" and not isinstance(self.place, LookupTable):
            msg = "over: only a table of the warehouse is joined there; name one in `from`, or leave `over` out"
            raise ValueError(msg)
        if self.over == "run" and self.missing == "reject":
            msg = "missing: a join over the run sets no rows aside; leave `over` out, or use null or a default"
            raise ValueError(msg)
        return self
