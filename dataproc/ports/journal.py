"""What a run logs, gathered until it is written."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from dataproc.domain.job import RunId
from dataproc.ports.queue import LogLine


class Journal(Protocol):
    """Gathers the lines that runs log in this process, each run's own."""

    def of(self, run_id: RunId) -> AbstractContextManager[None]:
        """Gather what is logged in the block, and in the threads and tasks that begin in it."""

    def take(self, run_id: RunId) -> Sequence[LogLine]:
        """Return what was gathered since the last time."""

    def put_back(self, run_id: RunId, lines: Sequence[LogLine]) -> None:
        """Gather lines again that could not be written."""
