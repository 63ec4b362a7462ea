"""Units: the deterministic pieces a source is cut into."""

from dataclasses import dataclass, field

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Unit:
    """A piece of a source that is read, retried and counted as one.

    `span` is half-open: row groups of a Parquet file, bytes of a text file, or `None` for all of it.
    The same source in the same version always gives the same units with the same ids. `schema` is what
    the source needs to read every unit alike (the types its files hold); only the source looks at it.
    """

    id: str
    uri: str
    version: str
    size: int
    span: tuple[int, int] | None = None
    rows: int | None = None
    schema: pa.Schema | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """All units of a source in order, and the Arrow schema of the rows they give.

    `announced` is what the source says of all its rows together, where it says nothing of single units.
    """

    units: tuple[Unit, ...]
    schema: pa.Schema
    announced: int | None = None

    @property
    def size(self) -> int:
        """Bytes to read."""
        return sum(unit.size for unit in self.units)

    @property
    def rows(self) -> int | None:
        """Rows announced by the source, for all units together or for every one of them; `None`: it does not say."""
        if self.announced is not None:
            return self.announced
        counts = [unit.rows for unit in self.units]
        return None if None in counts else sum(count for count in counts if count is not None)
