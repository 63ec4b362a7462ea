"""`dataproc up`: everything on this machine, until Ctrl-C."""

import signal
import threading

from rich.console import Console
from rich.table import Table

from dataproc.cli.stack import Stack, running, url_of
from dataproc.settings import Settings


def up(settings: Settings, console: Console) -> None:
    """Start what the settings leave open, say where things are, and wait for Ctrl-C or SIGTERM."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with running(settings, lambda text: console.print(f"[dim]{text} …[/dim]")) as stack:
        console.print(places(stack))
        console.print("Ctrl-C ends what was started here.")
        stopped.wait()
        console.print("[dim]ending …[/dim]")


def places(stack: Stack) -> Table:
    """Return where things are."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    settings = stack.settings
    for name, place in (
        ("API", stack.api_url),
        ("API docs", f"{stack.api_url}/docs"),
        ("Ray dashboard", settings.ray_dashboard_url),
        ("Metadata", without_password(url_of(settings.metadata_url))),
        ("Warehouse", without_password(url_of(settings.warehouse_url))),
        ("Logs", str(stack.logs)),
    ):
        table.add_row(f"[bold]{name}[/bold]", place)
    return table


def without_password(url: str) -> str:
    """Return a database's URL without its password."""
    head, at, tail = url.rpartition("@")
    scheme, separator, user = head.partition("://")
    return f"{scheme}{separator}{user.partition(':')[0]}{at}{tail}"
