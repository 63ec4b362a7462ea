"""The `enrich` step over a whole run: the lookup stays in the warehouse, and is joined where the rows are staged."""

from dataclasses import dataclass

import pyarrow as pa

from dataproc.domain.chunk import Chunk
from dataproc.domain.transforms.enrich import Default, EnrichTransform, LookupTable, Plain
from dataproc.transforms.columns import demand, demand_new


@dataclass(frozen=True, slots=True)
class EnrichOverRun:
    """Hands a join on to the load."""

    spec: EnrichTransform

    @property
    def over_run(self) -> str:
        """The query that joins the staged rows with the lookup."""
        same = " AND ".join(f"s.{quoted(ours)} = l.{quoted(theirs)}" for ours, theirs in self.spec.on.items())
        added = ", ".join(f"{self.value(new)} AS {quoted(new)}" for new in self.spec.columns)
        return f"SELECT s.*, {added} FROM staged AS s LEFT JOIN {self.table} AS l ON {same}"

    @property
    def table(self) -> str:
        """The quoted name of the lookup."""
        if not isinstance(self.spec.place, LookupTable):
            raise TypeError(self.spec.place)
        return ".".join(map(quoted, self.spec.place.table.split(".")))

    def value(self, new: str) -> str:
        """Return what stands in a new column."""
        found = f"l.{quoted(self.spec.columns[new])}"
        if not isinstance(self.spec.missing, Default) or new not in self.spec.missing.default:
            return found
        key = quoted(next(iter(self.spec.on.values())))
        return f"CASE WHEN l.{key} IS NULL THEN {literal(self.spec.missing.default[new])} ELSE {found} END"

    def schema(self, before: pa.Schema) -> pa.Schema:
        """Return `before`: this is what the join reads; name a column that it lacks, or has already."""
        demand(before, self.spec.on, "enrich.on")
        demand_new(before, self.spec.columns, "enrich.columns")
        return before

    def apply(self, chunk: Chunk) -> Chunk:
        """Return the chunk as it is."""
        return chunk


def quoted(name: str) -> str:
    """Return a name as it stands in a query."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: Plain | None) -> str:
    """Return a value as it stands in a query."""
    match value:
        case None:
            return "NULL"
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
        case str():
            return "'" + value.replace("'", "''") + "'"
