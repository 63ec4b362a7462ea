"""The main job, from nothing, on the embedded default: `make demo`.

A local S3 server gets 200,000 orders in 8 Parquet files, some of them wrong; the job goes through the HTTP API, Ray and
the load protocol into the embedded PostgreSQL. Everything it starts it also ends.
"""

import io
import os
import sys
import time
from pathlib import Path
from typing import Any

import boto3
import httpx2
import psycopg
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from dataproc.cli.exit_codes import exit_code_of
from dataproc.cli.interrupts import heed_interrupts
from dataproc.cli.output import shown
from dataproc.cli.stack import Stack, running, url_of
from dataproc.domain.errors import DataprocError
from dataproc.domain.status import RunStatus
from dataproc.embedded.orders import parts
from dataproc.embedded.postgres import default_data_dir, prepared
from dataproc.embedded.s3_server import ACCESS, S3Server
from dataproc.settings import Settings

RIGHT, WRONG, FILES = 200_000, 400, 8
BUCKET = "lake"
SPEC = Path(__file__).parents[2] / "examples" / "orders.yaml"
SUMMARY = "SELECT status, count(*), round(sum(amount), 2) FROM analytics.orders GROUP BY status ORDER BY status"
REJECTS = """
SELECT rule, column_name, count(*), min(reason) FROM dataproc_load.reject WHERE job_id = %s
GROUP BY rule, column_name ORDER BY rule, column_name
"""


def main() -> int:
    """Run the demo; return 0 when every row is where it belongs."""
    heed_interrupts()
    console = Console()
    try:
        return run(console)
    except DataprocError as exc:
        console.print(shown(str(exc)), style="red", soft_wrap=True)
        return exit_code_of(exc)


def run(console: Console) -> int:
    """Start the servers, run the job, and show what it loaded; return 0 when every row is where it belongs."""
    folder = prepared((Settings().data_dir or default_data_dir()) / "demo")
    os.environ.update(ACCESS)
    settings = Settings(data_dir=folder)

    def tell(text: str) -> None:
        console.print(f"[dim]{text} …[/dim]")

    with S3Server(folder) as s3, running(settings, tell, any_port=True) as stack:
        fill(s3, console)
        with httpx2.Client(base_url=stack.api_url, timeout=30, trust_env=False) as api:
            wait_for_runner(stack, console)
            clear(stack)
            job = submit(api, s3, console)
            job = follow(api, job, console)
        return show(stack, job, console)


def fill(s3: S3Server, console: Console) -> None:
    """Put the orders into the bucket."""
    client = boto3.client("s3", endpoint_url=s3.endpoint)
    client.create_bucket(Bucket=BUCKET)
    size = 0
    for number, table in enumerate(parts(RIGHT, WRONG, FILES)):
        body = io.BytesIO()
        pq.write_table(table, body)
        client.put_object(Bucket=BUCKET, Key=f"orders/2026/part-{number}.parquet", Body=body.getvalue())
        size += body.tell()
    console.print(f"s3://{BUCKET}/orders: {RIGHT + WRONG:,} orders, {WRONG} wrong, {FILES} files, {size:,} bytes")


def wait_for_runner(stack: Stack, console: Console) -> None:
    """Wait until a runner is warm, so that the demo shows how long a job takes and not how long Ray does."""
    console.print("[dim]waiting for a warm runner …[/dim]")
    url = f"{stack.settings.ray_dashboard_url}/api/jobs/"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        ids = [job["submission_id"] for job in httpx2.get(url, timeout=10, trust_env=False).json()]
        logs = [httpx2.get(f"{url}{name}/logs", timeout=10, trust_env=False).text for name in ids if name]
        if any("runner ready" in log for log in logs):
            return
        time.sleep(0.5)


def clear(stack: Stack) -> None:
    """Drop what an earlier demo loaded."""
    with psycopg.connect(url_of(stack.settings.warehouse_url)) as conn:
        conn.execute("DROP TABLE IF EXISTS analytics.orders")


def submit(api: httpx2.Client, s3: S3Server, console: Console) -> dict[str, Any]:
    """Register the bucket and submit the job, by the HTTP API."""
    # An earlier demo has registered it too, with the port that its S3 server had.
    lake = {"kind": "s3", "config": {"bucket": BUCKET, "endpoint": s3.endpoint}}
    api.put("/sources/lake", json=lake).raise_for_status()
    headers = {"Content-Type": "application/yaml"}
    response = api.post("/jobs", content=SPEC.read_bytes(), headers=headers).raise_for_status()
    console.print(f"POST /jobs → {response.status_code}, Location: {response.headers['location']}")
    return dict(response.json())


def follow(api: httpx2.Client, job: dict[str, Any], console: Console) -> dict[str, Any]:
    """Show the progress until the job ends; return it."""
    rows = TextColumn("{task.completed:,} of {task.total:,} rows")
    with Progress(TextColumn("{task.description:13}"), BarColumn(), rows, console=console) as progress:
        bar = progress.add_task("PENDING", total=RIGHT + WRONG)
        while True:
            job = api.get(f"/jobs/{job['id']}", params={"wait": 0.1}).raise_for_status().json()
            progress.update(bar, description=job["status"], completed=job["progress"]["ingesting"]["rows"])
            if RunStatus(job["status"]).is_final:
                return job


def show(stack: Stack, job: dict[str, Any], console: Console) -> int:
    """Show what is in the warehouse now; return 0 when every row is where it belongs."""
    if job["error"]:
        console.print(f"[red]{job['status']}: {job['error']['message']}[/red]")
        return 1
    warehouse = url_of(stack.settings.warehouse_url)
    with psycopg.connect(warehouse) as conn:
        loaded, rejected = conn.execute(SUMMARY).fetchall(), conn.execute(REJECTS, (job["id"],)).fetchall()
    console.print(table_of("analytics.orders", ("status", "rows", "amount"), loaded))
    console.print(table_of("Set aside (dataproc_load.reject)", ("rule", "column", "rows", "for example"), rejected))
    seconds = job["duration_seconds"]
    rows = sum(row[1] for row in loaded)
    aside = job["progress"]["rows_rejected"]
    console.print(
        f"[bold]{job['status']}[/bold]: {rows:,} rows loaded, {aside:,} set aside, in {seconds:.2f} s "
        f"({job['rows_per_second']:,.0f} rows/s), {job['progress']['load']} load, published in one transaction."
    )
    console.print(
        "Next: `.venv/bin/dataproc up` starts the same to stay; register a bucket of yours, and submit your job."
    )
    console.print("The README shows how, by curl and by the command line; docs/ has the rest.")
    return 0 if (job["status"], rows, aside) == ("COMPLETED", RIGHT, WRONG) else 1


def table_of(title: str, heads: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Table:
    """Return rows as a table."""
    table = Table(*heads, title=title, title_justify="left")
    for row in rows:
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row))
    return table


if __name__ == "__main__":
    sys.exit(main())
