"""What is kept of a job's runs, for people: their logs, and the account of every row."""

from collections.abc import Iterator

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from dataproc.cli.output import shown
from dataproc.cli.show import when
from dataproc.cli.views import AccountView, LineView, ReconciliationView, RunLogView

COUNTS = ("announced", "read", "staged", "rejected", "deduplicated", "filtered")


def log_lines(logs: list[RunLogView]) -> Iterator[RenderableType]:
    """Yield the lines of each attempt, below a heading."""
    if not logs:
        yield "the job has not run yet"
    for log in logs:
        yield Text(f"attempt {log.attempt} (run {log.run})", style="bold")
        yield from (line_of(line) for line in log.lines)


def line_of(line: LineView) -> Text:
    """Return a line of a log: time, level, message."""
    return shown(f"{when(line.time)} {line.level} {line.message}")


def account_table(found: ReconciliationView) -> Table:
    """Return where the rows of each unit went, and the total."""
    title = f"{found.target}, published {when(found.published_at)} ({found.load}){window_of(found)}"
    table = Table(title=shown(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, show_footer=True)
    table.caption, table.caption_justify = effect_of(found), "left"
    table.add_column("UNIT", "total", overflow="fold")
    for heading, total in zip(COUNTS, figures(found.rows), strict=True):
        table.add_column(heading.upper(), total, justify="right", no_wrap=True)
    for unit in found.units:
        table.add_row(shown(unit.unit), *figures(unit.rows))
    return table


def window_of(found: ReconciliationView) -> str:
    """Return which rows an incremental source has given."""
    if (window := found.window) is None:
        return ""
    return f", {window.cursor} after {window.after or 'the beginning'} up to {window.up_to or 'nothing'}"


def effect_of(found: ReconciliationView) -> Text | None:
    """Return what the load has done to its target, and how."""
    if (effect := found.effect) is None:
        return None
    counts = [("inserted", effect.inserted), ("updated", effect.updated), ("deleted", effect.deleted)]
    told = [f"{count:,} {name}" for name, count in (*counts, ("unchanged", effect.unchanged)) if count is not None]
    return shown("\n".join([", ".join(told), *effect.notes]))


def figures(rows: AccountView) -> list[str]:
    """Return the counts as people read them; a source that announced nothing has none there."""
    counts: list[int | None] = [getattr(rows, name) for name in COUNTS]
    return ["-" if count is None else f"{count:,}" for count in counts]
