"""Values that a contract left out of rows that were loaded: counted, and told in a warning."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from dataproc.domain.chunk import LoadedChunk


@dataclass(slots=True)
class DiscardCount:
    """Counts the discarded values of each column, of every chunk once."""

    counts: Counter[str] = field(default_factory=Counter)
    seen: set[tuple[str, int]] = field(default_factory=set)

    def watched(self, results: Iterator[LoadedChunk]) -> Iterator[LoadedChunk]:
        """Yield `results`, counting."""
        for chunk in results:
            if chunk.discarded and (chunk.unit, chunk.seq) not in self.seen:
                self.seen.add((chunk.unit, chunk.seq))
                for column, count in chunk.discarded:
                    self.counts[column] += count
            yield chunk

    def tell(self, warn: Callable[[str], None]) -> None:
        """Warn of each column that lost values."""
        for column, count in sorted(self.counts.items()):
            warn(f"column {column}: {count:,} values did not fit the target, and the contract left them out")
