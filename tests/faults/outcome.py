"""What was done and what was found, as a table for people and as Markdown for the documentation."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.table import Table

Row = tuple[str, str]
HARMLESS = frozenset({"jobs"})


@dataclass(slots=True)
class Outcome:
    """How often each victim was killed, and how much was found of what must not be."""

    loads: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found that must not be."""
        return not any(count for name, count in self.found.items() if name not in HARMLESS)

    @property
    def rows(self) -> list[Row]:
        """The lines of a table."""
        loads = [(f"of them: {name}", n) for name, n in sorted(self.loads.items())]
        kills = [("kills", self.kills.total()), *((f"of them: {name}", n) for name, n in sorted(self.kills.items()))]
        jobs = [(name, n) for name, n in self.found.items() if name in HARMLESS]
        found = [(name, n) for name, n in self.found.items() if name not in HARMLESS]
        return [(name, f"{count:,}") for name, count in (*jobs, *loads, *kills, *found)]


def table_of(rows: Sequence[Row], *heads: str) -> Table:
    """Return rows as a table for people."""
    table = Table(heads[0])
    for head in heads[1:]:
        table.add_column(head, justify="right")
    for row in rows:
        table.add_row(*row)
    return table


def markdown_of(rows: Sequence[Row], *heads: str) -> str:
    """Return rows as a table of Markdown."""
    rule = ["---", *("---:" for _ in heads[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, rule, *rows))
