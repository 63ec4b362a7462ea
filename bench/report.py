"""What a benchmark tells: a table, whether each mark is met, and a file of figures."""

import json
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil  # type: ignore[import-untyped] # it has no types
from rich.console import Console
from rich.table import Table

from bench.errors import BenchmarkError
from dataproc.domain.errors import DataprocError

RESULTS = Path(__file__).parent / "results"
CONSOLE = Console(highlight=False, width=None if sys.stdout.isatty() else 120)


@dataclass(frozen=True, slots=True)
class Mark:
    """A figure that should not be higher than a limit."""

    name: str
    figure: float
    limit: float
    unit: str = ""

    @property
    def is_met(self) -> bool:
        """Whether the figure is within the limit."""
        return self.figure <= self.limit

    def __str__(self) -> str:
        """Return the mark in words."""
        verdict = "met" if self.is_met else "MISSED"
        return f"{verdict}: {self.name} {self.figure:.2f}{self.unit}, at most {self.limit:g}{self.unit}"


def tell(text: str) -> None:
    """Say what goes on."""
    CONSOLE.print(f"[dim]{text}[/dim]")


def exit_code(benchmark: Callable[[], None]) -> int:
    """Run a benchmark; return 1, having told why, when it cannot tell anything: rows or jobs went missing."""
    try:
        benchmark()
    except (BenchmarkError, DataprocError) as exc:
        CONSOLE.print(f"failed: {exc}", style="bold red", markup=False)
        return 1
    return 0


def table_of(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Return a table whose first column holds names and whose others hold figures."""
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    return table


def machine(**versions: str) -> dict[str, object]:
    """Return what the figures were measured on; `versions` are those of the programs that took part."""
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 1024**3, 1),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "ray": version("ray"),
        **versions,
    }


def publish(name: str, figures: Mapping[str, object], table: Table, marks: Sequence[Mark] = ()) -> None:
    """Show the table and the marks, and write the figures to `bench/results/NAME.json`."""
    CONSOLE.print(table)
    for mark in marks:
        CONSOLE.print(str(mark), style="green" if mark.is_met else "bold red")
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    tell(f"written to {path.relative_to(RESULTS.parents[1])}")
