"""The logs of runs, each run's own: what a run logs in any thread or task is gathered, to be kept with the run."""

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

from typing_extensions import override

from dataproc.domain.job import RunId
from dataproc.ports.queue import LogLine
from dataproc.telemetry.logs import LOGGERS, logfmt_lines

MOST_LINES = 1000
"""Lines that wait to be written; of a run that logs more in one heartbeat, the last ones are kept."""


class RunJournal(logging.Handler):
    """Gathers the lines that runs log in this process."""

    def __init__(self) -> None:
        """Begin with no run."""
        super().__init__()
        self.setFormatter(logfmt_lines())
        self._run: ContextVar[RunId | None] = ContextVar("run", default=None)
        self._lines: dict[RunId, deque[LogLine]] = {}

    def listen(self) -> None:
        """Hear what our modules log in this process."""
        for name in LOGGERS:
            logging.getLogger(name).addHandler(self)

    @contextmanager
    def of(self, run_id: RunId) -> Iterator[None]:
        """Gather what is logged in the block, and in the threads and tasks that begin in it."""
        self._lines[run_id] = deque(maxlen=MOST_LINES)
        token = self._run.set(run_id)
        try:
            yield
        finally:
            self._run.reset(token)
            del self._lines[run_id]

    def take(self, run_id: RunId) -> Sequence[LogLine]:
        """Return what was gathered since the last time."""
        lines = self._lines[run_id]
        return [lines.popleft() for _ in range(len(lines))]

    def put_back(self, run_id: RunId, lines: Sequence[LogLine]) -> None:
        """Gather lines again that could not be written."""
        self._lines[run_id].extendleft(reversed(lines))

    @override
    def emit(self, record: logging.LogRecord) -> None:
        # A thread that was left behind may log after its run has ended.
        lines = self._lines.get(run_id) if (run_id := self._run.get()) is not None else None
        if lines is not None:
            when = datetime.fromtimestamp(record.created, UTC)
            lines.append(LogLine(when, record.levelname, self.format(record)))
