"""`dataproc sources`: registered sources, which jobs name as their `connection`."""

from pathlib import Path
from typing import Annotated

import typer

from dataproc.cli.arguments import Api, AsJson, settings, text_of
from dataproc.cli.output import output

sources = typer.Typer(help="Register, test and look into sources.", no_args_is_help=True)

SourceName = Annotated[str, typer.Argument(metavar="NAME", help="The name of a registered source.")]
SourceFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="A source in YAML or JSON: name, kind, config; - reads standard input.")
]


@sources.command("list")
def list_sources(*, api: Api = None, as_json: AsJson = False) -> None:
    """List the registered sources."""
    from dataproc.cli import sources_commands

    with output(as_json=as_json) as out:
        sources_commands.show_list(out, api or settings().api_url)


@sources.command("put")
def put_source(file: SourceFile, *, api: Api = None, as_json: AsJson = False) -> None:
    """Register a source, or change the one of its name."""
    from dataproc.cli import sources_commands

    with output(as_json=as_json) as out:
        sources_commands.put(out, api or settings().api_url, text_of(file))


@sources.command("test")
def log_in_to_source(name: SourceName, *, api: Api = None, as_json: AsJson = False) -> None:
    """Log in to a source, from where the API runs."""
    from dataproc.cli import sources_commands

    with output(as_json=as_json) as out:
        raise typer.Exit(sources_commands.test(out, api or settings().api_url, name))


@sources.command("discover")
def discover_source(name: SourceName, *, api: Api = None, as_json: AsJson = False) -> None:
    """List what there is to read in a source: folders, or tables with their columns and rows."""
    from dataproc.cli import sources_commands

    with output(as_json=as_json) as out:
        sources_commands.discover(out, api or settings().api_url, name)


@sources.command("remove")
def remove_source(name: SourceName, *, api: Api = None, as_json: AsJson = False) -> None:
    """Forget a source, unless jobs that have not ended use it."""
    from dataproc.cli import sources_commands

    with output(as_json=as_json) as out:
        sources_commands.remove(out, api or settings().api_url, name)
