"""The command line: `dataproc`. Each command imports what it needs, so that the quick ones start at once."""

from datetime import datetime
from typing import Annotated
from uuid import uuid4

import typer

from dataproc.cli.arguments import (
    Api,
    AsJson,
    ColumnOption,
    FileFormat,
    JobArgument,
    Key,
    ReplayFile,
    RuleOption,
    SpecFile,
    Wait,
    settings,
    text_of,
)
from dataproc.cli.exit_codes import epilog
from dataproc.cli.interrupts import heed_interrupts
from dataproc.cli.keys_app import decrypt, keys
from dataproc.cli.output import output
from dataproc.cli.sources_app import sources
from dataproc.domain.status import RunStatus

app = typer.Typer(
    name="dataproc",
    help="Bring data from many sources into a PostgreSQL warehouse: cleaned, checked, and loaded exactly once.",
    epilog=epilog(),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
jobs = typer.Typer(help="List, show, cancel, retry and replay jobs.", no_args_is_help=True)
app.add_typer(jobs, name="jobs")
app.add_typer(sources, name="sources")
app.add_typer(keys, name="keys")
app.command()(decrypt)


@app.command()
def up(*, as_json: AsJson = False) -> None:
    """Start everything on this machine, and end it with Ctrl-C."""
    with output(as_json=as_json) as out:
        if as_json:
            from dataproc.cli.launch import up_for_programs

            up_for_programs(settings(), out)
        else:
            from rich.console import Console

            from dataproc.cli.up import up as start

            start(settings(), Console())


@app.command()
def submit(
    file: SpecFile,
    *,
    wait: Wait = False,
    key: Key = None,
    api: Api = None,
    as_json: AsJson = False,
) -> None:
    """Submit a job."""
    from dataproc.cli import jobs_commands

    with output(as_json=as_json) as out:
        url, idempotency_key = api or settings().api_url, key or str(uuid4())
        raise typer.Exit(jobs_commands.submit(out, url, text_of(file), key=idempotency_key, wait=wait))


@jobs.command("list")
def list_jobs(
    *,
    status: Annotated[RunStatus | None, typer.Option(case_sensitive=False, help="Only jobs in this status.")] = None,
    name: Annotated[str | None, typer.Option(help="Only jobs of this name.")] = None,
    since: Annotated[datetime | None, typer.Option(help="Only jobs created at this time or later.")] = None,
    until: Annotated[datetime | None, typer.Option(help="Only jobs created before this time.")] = None,
    after: Annotated[str | None, typer.Option(metavar="CURSOR", help="Go on where a page ended.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many at most.")] = 50,
    api: Api = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    from dataproc.cli import jobs_commands

    which = {"status": status, "name": name, "after": after, "limit": limit}
    which |= {"created_from": with_zone(since), "created_until": with_zone(until)}
    with output(as_json=as_json) as out:
        jobs_commands.show_list(out, api or settings().api_url, which)


@jobs.command("get")
def get_job(job_id: JobArgument, *, api: Api = None, as_json: AsJson = False) -> None:
    """Show a job as it stands now."""
    from dataproc.cli import jobs_commands

    with output(as_json=as_json) as out:
        jobs_commands.show_job(out, api or settings().api_url, job_id)


@jobs.command("logs")
def show_logs(
    job_id: JobArgument,
    *,
    limit: Annotated[
        int, typer.Option(min=1, max=10_000, help="How many lines of each attempt, the last ones.")
    ] = 1000,
    api: Api = None,
    as_json: AsJson = False,
) -> None:
    """Show what each attempt at a job has logged, the first attempt first."""
    from dataproc.cli import jobs_commands

    with output(as_json=as_json) as out:
        jobs_commands.show_logs(out, api or settings().api_url, job_id, limit=limit)


@jobs.command("reconciliation")
def show_reconciliation(job_id: JobArgument, *, api: Api = None, as_json: AsJson = False) -> None:
    """Show where every row of a published load went, unit by unit."""
    from dataproc.cli import jobs_commands

    with output(as_json=as_json) as out:
        jobs_commands.show_reconciliation(out, api or settings().api_url, job_id)


@jobs.command("rejects")
def show_rejects(
    job_id: JobArgument,
    *,
    rule: RuleOption = None,
    column: ColumnOption = None,
    file_format: Annotated[
        FileFormat | None, typer.Option("--format", help="Write all of them as a file to standard output.")
    ] = None,
    after: Annotated[int, typer.Option(min=0, metavar="ID", help="Go on where a page ended.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many at most.")] = 50,
    api: Api = None,
    as_json: AsJson = False,
) -> None:
    """Show what a completed job has set aside, with the reasons."""
    from dataproc.cli import rejects_commands

    which, url = {"rule": rule, "column": column}, api or settings().api_url
    with output(as_json=as_json) as out:
        if file_format is not None:
            rejects_commands.write_file(out, url, job_id, which | {"format": file_format.value})
        else:
            rejects_commands.show_rejects(out, url, job_id, which | {"after": after, "limit": limit})


@jobs.command("reject-counts")
def show_reject_counts(job_id: JobArgument, *, api: Api = None, as_json: AsJson = False) -> None:
    """Show how often each rule was broken, and how many of these rows were replayed."""
    from dataproc.cli import rejects_commands

    with output(as_json=as_json) as out:
        rejects_commands.show_counts(out, api or settings().api_url, job_id)


@jobs.command("replay")
def replay_rejects(
    job_id: JobArgument,
    file: ReplayFile,
    *,
    rule: RuleOption = None,
    column: ColumnOption = None,
    wait: Wait = False,
    key: Key = None,
    api: Api = None,
    as_json: AsJson = False,
) -> None:
    """Load what a job has set aside by a corrected specification, each row once."""
    from dataproc.cli import rejects_commands

    which, key = {"rule": rule, "column": column}, key or str(uuid4())
    with output(as_json=as_json) as out:
        url, text = api or settings().api_url, text_of(file)
        raise typer.Exit(rejects_commands.replay(out, url, job_id, text, which, key=key, wait=wait))


@jobs.command("cancel")
def cancel_job(job_id: JobArgument, *, api: Api = None, as_json: AsJson = False) -> None:
    """Cancel a job: nothing of it is published, unless its publish was faster."""
    from dataproc.cli import jobs_commands

    with output(as_json=as_json) as out:
        jobs_commands.cancel(out, api or settings().api_url, job_id)


@jobs.command("retry")
def retry_job(job_id: JobArgument, *, api: Api = None, as_json: AsJson = False) -> None:
    """Let a job that failed or was cancelled run again."""
    from dataproc.cli import jobs_commands

    with output(as_json=as_json) as out:
        jobs_commands.retry(out, api or settings().api_url, job_id)


@app.command()
def validate(file: SpecFile, *, as_json: AsJson = False) -> None:
    """Check a specification, without any server: every mistake with its line and column."""
    from dataproc.domain.document import read_spec

    with output(as_json=as_json) as out:
        spec = read_spec(text_of(file))
        document = {"valid": True, "spec": spec.model_dump(mode="json")}
        out.show(document, f"{spec.name}: right, as far as can be told without its source and target (see `plan`)")


@app.command()
def plan(file: SpecFile, *, as_json: AsJson = False) -> None:
    """Show what a job would do, without doing it: its units, its rows, and its target."""
    from dataproc.cli.plan import show_plan
    from dataproc.domain.document import read_spec

    with output(as_json=as_json) as out:
        show_plan(out, read_spec(text_of(file)), settings())


@app.command()
def migrate(*, as_json: AsJson = False) -> None:
    """Bring both databases to the newest schema; again does no harm."""
    from dataproc.bootstrap import migrate_all
    from dataproc.cli.local import with_embedded

    with output(as_json=as_json) as out:
        versions = migrate_all(with_embedded(settings()))
        document = {"metadata": versions.metadata, "warehouse": versions.warehouse}
        told = f"metadata is at revision {versions.metadata}, the warehouse at version {versions.warehouse}"
        out.show(document, told)


@app.command()
def doctor(*, as_json: AsJson = False) -> None:
    """Say what is wrong with this set-up, and what to do."""
    from dataproc.cli.doctor import examine

    with output(as_json=as_json) as out:
        raise typer.Exit(examine(out, settings()))


def with_zone(moment: datetime | None) -> str | None:
    """Return a time with its zone: the reader's own, if none was given."""
    return None if moment is None else moment.astimezone().isoformat()


def main() -> None:
    """Run the command that the arguments name."""
    heed_interrupts()
    app()


if __name__ == "__main__":
    main()
