"""The commands that talk to the API."""

from collections.abc import Mapping
from uuid import UUID

from dataproc.cli.api_client import ApiUnavailableError, Document, api_client
from dataproc.cli.exit_codes import ExitCode
from dataproc.cli.output import Output, shown
from dataproc.cli.proofs import account_table, log_lines
from dataproc.cli.show import job_details, job_list
from dataproc.cli.views import JobView, job_of, logs_of, page_of, reconciliation_of
from dataproc.cli.watch import PATIENCE, looking, wait_for
from dataproc.domain.status import RunStatus


def submit(out: Output, url: str, text: str, *, key: str, wait: bool) -> ExitCode:
    """Submit a specification, and wait for the end of the job if asked to."""
    with api_client(url) as client:
        document = client.submit(text, key)
    return accepted(out, url, document, wait=wait)


def accepted(out: Output, url: str, document: Document, *, wait: bool) -> ExitCode:
    """Show a job that was just accepted, or wait for its end."""
    if wait:
        return wait_and_show(out, url, job_of(document))
    job = job_of(document)
    advice = f"dataproc jobs get {job.id} shows how it goes"
    out.show(document, shown(f"{job.id} {job.status}"), advice)
    return ExitCode.FINE


def wait_and_show(out: Output, url: str, job: JobView) -> ExitCode:
    """Show a job until it ends, and how it ended."""
    try:
        with api_client(url, PATIENCE) as client, looking(out) as look:
            document = wait_for(client, job.id, look)
    except KeyboardInterrupt:
        say_that_it_goes_on(out, job)
        return ExitCode.INTERRUPTED
    except ApiUnavailableError:
        say_that_it_goes_on(out, job)
        raise
    ended = job_of(document)
    out.show(document, job_details(ended))
    return ExitCode.FINE if ended.status is RunStatus.COMPLETED else ExitCode.FAILED


def say_that_it_goes_on(out: Output, job: JobView) -> None:
    """Say that a job does not end because nobody waits for it."""
    out.say(f"the job goes on; dataproc jobs get {job.id} shows it, dataproc jobs cancel {job.id} ends it")


def show_list(out: Output, url: str, which: Mapping[str, object]) -> None:
    """Show a page of jobs, and how to see the next."""
    with api_client(url) as client:
        document = client.jobs(which)
    page = page_of(document)
    more = [f"there are more: --after {page.next}"] if page.next else []
    out.show(document, *([job_list(page.jobs)] if page.jobs else ["no such jobs"]), *more)


def show_job(out: Output, url: str, job_id: UUID) -> None:
    """Show a job."""
    with api_client(url) as client:
        show_details(out, client.job(job_id))


def show_logs(out: Output, url: str, job_id: UUID, *, limit: int) -> None:
    """Show what the attempts at a job have logged."""
    with api_client(url) as client:
        document = client.logs(job_id, limit=limit)
    out.show(document, *log_lines(logs_of(document)))


def show_reconciliation(out: Output, url: str, job_id: UUID) -> None:
    """Show where the rows of a published load went."""
    with api_client(url) as client:
        document = client.reconciliation(job_id)
    out.show(document, account_table(reconciliation_of(document)))


def cancel(out: Output, url: str, job_id: UUID) -> None:
    """Cancel a job, and show it."""
    with api_client(url) as client:
        show_details(out, client.cancel(job_id))


def retry(out: Output, url: str, job_id: UUID) -> None:
    """Let a job run again, and show it."""
    with api_client(url) as client:
        show_details(out, client.retry(job_id))


def show_details(out: Output, document: Document) -> None:
    """Show a job in full."""
    out.show(document, job_details(job_of(document)))
