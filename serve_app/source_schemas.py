"""What the API answers about registered sources."""

from collections.abc import Mapping

from pydantic import BaseModel, Field

from dataproc.ports.connector import Discovered
from dataproc.ports.store import Connection
from dataproc.services.sources import Tested


class SourceView(BaseModel):
    """A registered source."""

    name: str
    kind: str
    config: Mapping[str, object]

    @classmethod
    def of(cls, connection: Connection) -> "SourceView":
        """Return what is told of `connection`."""
        return cls(name=connection.name, kind=connection.kind, config=connection.config)


class TestedView(BaseModel):
    """Whether a source can be reached."""

    works: bool
    told: str | None = Field(description="What the source says of itself, such as its version.")
    code: str | None = Field(description="The name of the error, where it does not work.")
    detail: str | None = Field(description="What went wrong, and what to do.")
    seconds: float = Field(description="How long it took.")

    @classmethod
    def of(cls, tested: Tested) -> "TestedView":
        """Return what is told of `tested`."""
        error = tested.error
        code, detail = (None, None) if error is None else (error.code, str(error))
        return cls(works=error is None, told=tested.told, code=code, detail=detail, seconds=round(tested.seconds, 3))


class ColumnView(BaseModel):
    """A column of a source, with the source's own name of its type."""

    name: str
    type: str


class DiscoveredView(BaseModel):
    """Something that a job can read."""

    name: str
    columns: list[ColumnView] = Field(description="Its columns, where the source tells them.")
    rows: int | None = Field(description="About how many rows it has, where the source tells it.")

    @classmethod
    def of(cls, found: Discovered) -> "DiscoveredView":
        """Return what is told of `found`."""
        columns = [ColumnView(name=name, type=kind) for name, kind in found.columns]
        return cls(name=found.name, columns=columns, rows=found.rows)
