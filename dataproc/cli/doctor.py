"""`dataproc doctor`: all checks, one after the other."""

from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from dataproc.cli import database_checks, machine_checks, ray_checks
from dataproc.cli.exit_codes import ExitCode
from dataproc.cli.finding import Check, Finding
from dataproc.cli.local import with_embedded
from dataproc.cli.output import Output, shown
from dataproc.settings import Settings

CHECKS: tuple[Check, ...] = (
    machine_checks.python_version,
    machine_checks.disks,
    machine_checks.shared_memory,
    machine_checks.api_port,
    database_checks.embedded,
    ray_checks.ray,
)
DATABASE_CHECKS: tuple[Check, ...] = (database_checks.metadata, database_checks.warehouse)
COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def examine(out: Output, settings: Settings) -> ExitCode:
    """Check everything, show what was found, and return whether something is wrong."""
    found = list(findings(settings))
    healthy = all(finding.status != "fail" for finding in found)
    checks = [{"check": f.check, "status": f.status, "detail": f.detail, "advice": f.advice} for f in found]
    out.show({"ok": healthy, "checks": checks}, table_of(found))
    return ExitCode.FINE if healthy else ExitCode.FAILED


def findings(settings: Settings) -> Iterator[Finding]:
    """Yield what every check finds."""
    for check in CHECKS:
        yield from check(settings)
    complete = with_embedded(settings)
    for check in DATABASE_CHECKS:
        yield from check(complete)


def table_of(found: list[Finding]) -> Table:
    """Return findings, one a line, with the advice below those that need it."""
    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for finding in found:
        table.add_row(Text(finding.status, style=COLOURS[finding.status]), finding.check, shown(finding.detail))
        if finding.advice:
            table.add_row("", "", shown(f"→ {finding.advice}"))
    return table
