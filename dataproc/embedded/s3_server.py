"""A local S3 server: moto's, in a process of its own, over HTTP; for trying things, never for keeping data."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import httpx2

from dataproc.domain.errors import SetupError
from dataproc.embedded.ports import listening_port
from dataproc.embedded.ray_head import end_with_parent

START_SECONDS = 30.0
STOP_SECONDS = 10.0
ACCESS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_REGION": "us-east-1"}
"""What clients of this server sign with; it checks none of it."""


@dataclass(slots=True)
class S3Server:
    """An S3 service at `endpoint`, empty at the start and gone at the end; it chooses its port if it is given none."""

    folder: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """Where clients connect."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "S3Server":
        """Start the server and wait until it answers."""
        if find_spec("moto") is None:
            raise SetupError("the local S3 server needs the package moto: pip install 'dataproc[demo]'")
        with (self.folder / "s3.log").open("wb") as output:
            self.process = subprocess.Popen(  # noqa: S603 - our own words, no shell
                [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
                env=os.environ | ACCESS,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=end_with_parent,  # noqa: PLW1509 - called in the child of a process without other threads
            )
        try:
            self.wait(self.process)
        except BaseException:
            self.stop(self.process)
            raise
        return self

    def wait(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until the server listens, and answers."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            if (port := listening_port(process.pid)) is not None:
                self.port = port
                if self.answers():
                    return
            time.sleep(0.1)
        raise SetupError(f"the local S3 server did not start; {self.folder / 's3.log'} says why")

    def answers(self) -> bool:
        """Whether the server answers."""
        try:
            httpx2.get(self.endpoint, timeout=2, trust_env=False)
        except httpx2.HTTPError:
            return False
        return True

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """End the server, kindly at first."""
        process.terminate()
        try:
            process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __exit__(self, *_: object) -> None:
        """End the server."""
        if self.process is not None:
            self.stop(self.process)
