"""`dataproc up --json`: the same for programs, which read where things are from one document."""

import signal
import threading

from dataproc.cli.output import Output
from dataproc.cli.stack import running
from dataproc.cli.up import without_password
from dataproc.settings import Settings


def up_for_programs(settings: Settings, out: Output) -> None:
    """Start what the settings leave open, show where things are, and wait for Ctrl-C or SIGTERM."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with running(settings, out.say) as stack:
        found = stack.settings
        databases = {"metadata": found.metadata_url, "warehouse": found.warehouse_url}
        out.show(
            {
                "api": stack.api_url,
                "ray_dashboard": found.ray_dashboard_url,
                **{name: without_password(url.get_secret_value()) for name, url in databases.items() if url},
                "logs": stack.logs,
            }
        )
        out.answer.file.flush()
        stopped.wait()
