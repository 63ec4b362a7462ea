"""Load a table from one database to another with ingestr; print the seconds of the whole command as JSON.

Runs in an environment of its own. Both addresses reach it as its input, and ingestr in its environment.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    """Load once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source_table")
    parser.add_argument("target_table")
    options = parser.parse_args()
    source, target = sys.stdin.readline().strip().split(" ")
    command = [
        str(Path(sys.executable).with_name("ingestr")), "ingest", "--source-table", options.source_table,
        "--dest-table", options.target_table, "--incremental-strategy", "append", "--yes", "--progress", "log",
    ]  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="ingestr-") as state:
        told = {"SOURCE_URI": source, "DESTINATION_URI": target, "PIPELINES_DIR": state, "DISABLE_TELEMETRY": "true"}
        started = time.perf_counter()
        done = subprocess.run(command, env={**os.environ, **told}, text=True, capture_output=True, check=False)
        seconds = time.perf_counter() - started
    if done.returncode != 0:
        sys.exit(done.stdout[-1000:] + done.stderr[-1000:])
    sys.stdout.write(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main()
