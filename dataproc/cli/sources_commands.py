"""The commands about registered sources."""

from rich import box
from rich.table import Table

from dataproc.cli.api_client import api_client
from dataproc.cli.exit_codes import ExitCode
from dataproc.cli.output import Output, shown
from dataproc.cli.views import DiscoveredView, SourceView, TestedView, view_of
from dataproc.domain.document import read_document
from dataproc.domain.errors import InvalidSpecError, Problem


def show_list(out: Output, url: str) -> None:
    """Show the registered sources."""
    with api_client(url) as client:
        document = client.sources()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("NAME", "KIND", "CONFIG"):
        table.add_column(heading, overflow="fold")
    found = view_of(list[SourceView], document)
    for source in found:
        told = ", ".join(f"{key}: {value}" for key, value in source.config.items())
        table.add_row(shown(source.name), shown(source.kind), shown(told))
    out.show(document, table if found else "no registered sources")


def put(out: Output, url: str, text: str) -> None:
    """Register the source that a document tells of, or change it."""
    source = read_document(text)
    name = source.pop("name", None) if isinstance(source, dict) else None
    if not isinstance(source, dict) or not isinstance(name, str):
        problem = Problem("/name", "write a mapping with name, kind and config")
        raise InvalidSpecError(f"/name: {problem.message}", (problem,))
    with api_client(url) as client:
        document = client.put_source(name, source)
    out.show(document, shown(f"{name} is registered"), f"dataproc sources test {name} tells whether it works")


def test(out: Output, url: str, name: str) -> ExitCode:
    """Log in to a source, and show what came of it."""
    with api_client(url) as client:
        document = client.test_source(name)
    tested = view_of(TestedView, document)
    told = f"works: {tested.told}" if tested.works else f"does not work: {tested.detail} ({tested.code})"
    out.show(document, shown(f"{name} {told}"))
    return ExitCode.FINE if tested.works else ExitCode.FAILED


def discover(out: Output, url: str, name: str) -> None:
    """Show what there is to read in a source."""
    with api_client(url) as client:
        document = client.discover(name)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("NAME", overflow="fold")
    table.add_column("ROWS", justify="right", no_wrap=True)
    table.add_column("COLUMNS", overflow="fold")
    found = view_of(list[DiscoveredView], document)
    for each in found:
        rows = "-" if each.rows is None else f"{each.rows:,}"
        table.add_row(shown(each.name), rows, shown(", ".join(f"{c.name} {c.type}" for c in each.columns)))
    out.show(document, table if found else "there is nothing to read")


def remove(out: Output, url: str, name: str) -> None:
    """Forget a source."""
    with api_client(url) as client:
        client.remove_source(name)
    out.show({"removed": name}, shown(f"{name} is forgotten"))
