"""What jobs have set aside, as the API tells it: shown, taken away as a file, and replayed."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from pydantic import BaseModel
from rich import box
from rich.table import Table

from dataproc.cli.api_client import api_client
from dataproc.cli.exit_codes import ExitCode
from dataproc.cli.jobs_commands import accepted
from dataproc.cli.output import Output, shown
from dataproc.cli.views import view_of


class RejectView(BaseModel):
    """A rule that a row broke."""

    id: int
    unit: str
    position: int
    rule: str
    column: str | None
    reason: str
    row: str | None
    replayed_by: UUID | None


class RejectPageView(BaseModel):
    """Some rejects, and the cursor of the next ones."""

    rejects: list[RejectView]
    next: int | None


class CountView(BaseModel):
    """How often a rule was broken in a column."""

    rule: str
    column: str | None
    rejects: int
    replayed: int


def show_rejects(out: Output, url: str, job_id: UUID, which: Mapping[str, object]) -> None:
    """Show a page of rejects, and how to see the next."""
    with api_client(url) as client:
        document = client.rejects(job_id, which)
    page = view_of(RejectPageView, document)
    more = [f"there are more: --after {page.next}"] if page.next is not None else []
    out.show(document, *([reject_table(page.rejects)] if page.rejects else ["no such rejects"]), *more)


def show_counts(out: Output, url: str, job_id: UUID) -> None:
    """Show how often each rule was broken."""
    with api_client(url) as client:
        document = client.reject_counts(job_id)
    counts = view_of(list[CountView], document)
    out.show(document, *([count_table(counts)] if counts else ["no row was set aside"]))


def write_file(out: Output, url: str, job_id: UUID, which: Mapping[str, object]) -> None:
    """Write all rejects to standard output, as they come."""
    with api_client(url) as client:
        for part in client.reject_file(job_id, which):
            out.answer.file.write(part)


def replay(
    out: Output, url: str, job_id: UUID, text: str, which: Mapping[str, object], *, key: str, wait: bool
) -> ExitCode:
    """Replay rejects by a corrected specification, and wait for the end of the job if asked to."""
    with api_client(url) as client:
        document = client.replay(job_id, text, which, key)
    return accepted(out, url, document, wait=wait)


def reject_table(rejects: Sequence[RejectView]) -> Table:
    """Return rejects, one a line; the row in full is for `--json` and files."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("ID", "UNIT", "POSITION", "RULE", "COLUMN"):
        table.add_column(heading, justify="right" if heading in ("ID", "POSITION") else "left", no_wrap=True)
    table.add_column("REASON", overflow="fold")
    table.add_column("REPLAYED BY", no_wrap=True)
    for each in rejects:
        place = (str(each.id), shown(each.unit), f"{each.position:,}")
        replayed = str(each.replayed_by) if each.replayed_by else "-"
        table.add_row(*place, shown(each.rule), shown(each.column or "-"), shown(each.reason), replayed)
    return table


def count_table(counts: Sequence[CountView]) -> Table:
    """Return how often each rule was broken, one a line."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("RULE", "COLUMN"):
        table.add_column(heading, no_wrap=True)
    for heading in ("REJECTS", "REPLAYED"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in counts:
        table.add_row(shown(each.rule), shown(each.column or "-"), f"{each.rejects:,}", f"{each.replayed:,}")
    return table
