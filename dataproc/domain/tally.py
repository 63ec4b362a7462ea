"""The tally of a load: proof that every unit came whole, once, and that no row went missing on the way."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import takewhile

from dataproc.domain.chunk import Account, Broken, LoadedChunk, most_frequent_first
from dataproc.domain.errors import CountMismatchError, SourceChangedError, WarehouseUnavailableError
from dataproc.domain.memory import Edge
from dataproc.domain.unit import SourcePlan, Unit

NAMED = 5
"""The most rules that a message names."""


@dataclass(frozen=True, slots=True)
class Totals:
    """The account of a load, and the rules that its rejects broke, the most frequent first."""

    account: Account = field(default_factory=Account)
    broken: Broken = ()

    @property
    def summary(self) -> str:
        """How many rows were set aside, and why."""
        rejected, read = self.account.rejected, self.account.read
        named = [f"{name} ({count:,} rows)" for name, count in self.broken[:NAMED]]
        named += ["…"] if len(self.broken) > NAMED else []
        reasons = f": {', '.join(named)}" if named else ""
        return f"{rejected:,} of {read:,} rows were set aside{reasons}"


@dataclass(slots=True)
class Tally:
    """Counts the chunks of a load as they arrive, in any order, possibly twice."""

    chunks: dict[str, dict[int, LoadedChunk]] = field(default_factory=dict)
    account: Account = field(default_factory=Account)
    units_done: int = 0
    moved: dict[str, Account] = field(default_factory=dict)
    present: int = 0
    broken: Counter[str] = field(default_factory=Counter)

    @property
    def totals(self) -> Totals:
        """The account, and the rules that its rejects broke, the most frequent first."""
        return Totals(self.account, most_frequent_first(self.broken.items()))

    @property
    def sent(self) -> int:
        """How many rows travel to the target: those that are to be loaded, less those that are present there."""
        return self.account.loaded - self.present

    def add(self, chunk: LoadedChunk) -> bool:
        """Return whether this chunk is new; the same chunk with other contents is refused."""
        seen = self.chunks.setdefault(chunk.unit, {})
        if (twin := seen.get(chunk.seq)) is not None:
            self._same_or_refused(twin, chunk)
            return False
        if not chunk.is_balanced:
            raise CountMismatchError(
                f"unit {chunk.unit}, chunk {chunk.seq}: {chunk.read} rows were read, but {chunk.loaded} loaded, "
                f"{chunk.rejected} set aside, {chunk.deduplicated} found doubled and {chunk.filtered} filtered out"
            )
        seen[chunk.seq] = chunk.without_payload()
        self.account += chunk
        self.present += chunk.present
        self.units_done += is_whole(seen)
        for name, count in chunk.broken:
            self.broken[name] += count
        return True

    def verify(self, plan: SourcePlan) -> None:
        """Refuse unless each unit of `plan`, and no other, came whole and with the rows it announced."""
        strangers = self.chunks.keys() - {unit.id for unit in plan.units}
        if strangers:
            raise CountMismatchError(f"rows came from units that were not planned: {sorted(strangers)[:3]}")
        for unit in plan.units:
            self._verify_unit(unit)
        if plan.announced is not None and plan.announced != self.account.read:
            raise CountMismatchError(f"the source announced {plan.announced} rows, but {self.account.read} were read")

    def of(self, unit: Unit) -> Account:
        """Return the account of a unit."""
        account = self.moved.get(unit.id, Account())
        for chunk in self.chunks.get(unit.id, {}).values():
            account += chunk
        return account

    def take_out(self, unit: str, rows: Account, broken: str = "") -> None:
        """Count rows of a unit that were loaded as what became of them after all: rejected, filtered or doubled.

        `broken` names the rule that rejected rows broke.
        """
        if rows.rejected:
            self.broken[broken] += rows.rejected
        change = replace(rows, loaded=-(rows.rejected + rows.filtered + rows.deduplicated))
        self.moved[unit] = self.moved.get(unit, Account()) + change
        self.account += change

    def edges(self) -> tuple[Edge, ...]:
        """Return the greatest cursor value of each chunk, with the digests of the rows that have it."""
        found = (chunk for unit in self.chunks.values() for chunk in unit.values())
        return tuple(Edge(chunk.high, chunk.edge) for chunk in found if chunk.high is not None)

    def _verify_unit(self, unit: Unit) -> None:
        seen = self.chunks.get(unit.id, {})
        if not is_whole(seen):
            raise CountMismatchError(f"unit {unit.id} is not complete: its chunks {sorted(seen)} have gaps or no end")
        read = sum(chunk.read for chunk in seen.values())
        if unit.rows is not None and unit.rows != read:
            raise CountMismatchError(f"unit {unit.id} announced {unit.rows} rows, but {read} were read")

    @staticmethod
    def _same_or_refused(twin: LoadedChunk, chunk: LoadedChunk) -> None:
        if twin.present != chunk.present:
            raise WarehouseUnavailableError(
                f"unit {chunk.unit}, chunk {chunk.seq} was compared with its target twice, with different results"
            )
        if twin != chunk.without_payload():
            raise twins_differ(chunk)


def twins_differ(chunk: LoadedChunk) -> CountMismatchError | SourceChangedError:
    """Return the error for a chunk that came twice with different rows.

    A stream may change between two readings; what was staged of it stands, and the next attempt reads on after that.
    """
    told = f"unit {chunk.unit}, chunk {chunk.seq} was read twice with different rows"
    if chunk.mark:
        return SourceChangedError(told)
    return CountMismatchError(f"{told}; does the source change while it is read, or does a transform throw dice?")


def kept(seen: Mapping[int, LoadedChunk]) -> tuple[LoadedChunk, ...]:
    """Return the staged chunks of a unit that need not be read again: all of a whole one, of a stream the first."""
    if is_whole(seen):
        return tuple(seen.values())
    chunks = [seen[seq] for seq in takewhile(seen.__contains__, range(len(seen)))]
    while chunks and not chunks[-1].mark:
        chunks.pop()
    return tuple(chunks)


def is_whole(seen: Mapping[int, LoadedChunk]) -> bool:
    """Whether chunks 0, 1, … up to one marked last are there."""
    last = [seq for seq, chunk in seen.items() if chunk.last]
    return len(last) == 1 and len(seen) == last[0] + 1 and max(seen) == last[0]
