"""What a running pipeline tells, and how it is told to stop; shared by one thread and one event loop."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from dataproc.domain.chunk import LoadedChunk
from dataproc.domain.errors import DataprocError
from dataproc.domain.job import Progress
from dataproc.domain.status import RunStatus
from dataproc.domain.tally import Tally
from dataproc.domain.unit import SourcePlan


@dataclass(slots=True)
class Monitor:
    """Stage and progress of one run. Each attribute is replaced as a whole, so no lock is needed."""

    status: RunStatus = RunStatus.INGESTING
    progress: Progress = field(default_factory=Progress)
    reason: DataprocError | None = None
    obstacle: Callable[[], str | None] | None = None
    waiting_for: str | None = None

    @property
    def now(self) -> Progress:
        """The progress, with the obstacle of the run."""
        return self.progress.model_copy(update={"waiting_for": self.waiting_for})

    def stop(self, reason: DataprocError) -> None:
        """Tell the pipeline to end with `reason` at its next step; the first reason stays."""
        self.reason = self.reason or reason

    def check(self) -> None:
        """Raise the reason to stop, if there is one."""
        if self.reason is not None:
            raise self.reason

    def warn(self, text: str) -> None:
        """Note something that somebody should look at, though it does not stop the run."""
        self.progress = self.progress.model_copy(update={"warnings": (*self.progress.warnings, text)})

    def planned(self, plan: SourcePlan, way: str, *, resumed: int = 0) -> None:
        """Note what there is to do; the workers are about to read and transform it."""
        self.check()
        self.status = RunStatus.TRANSFORMING
        self.progress = Progress(
            units_planned=len(plan.units),
            units_resumed=resumed,
            rows_announced=plan.rows,
            bytes_planned=plan.size,
            load=way,
            choices=plan.choices,
        )

    def watched(self, results: Iterator[LoadedChunk]) -> Iterator[LoadedChunk]:
        """Yield `results`, noting the progress; stop between two of them when told to."""
        tally = Tally()
        for chunk in results:
            self.check()
            self.status = RunStatus.LOADING
            tally.add(chunk.without_payload())
            self.note(tally)
            yield chunk
        self.check()

    def note(self, tally: Tally) -> None:
        """Replace the progress by what `tally` counts."""
        account = tally.account
        self.progress = self.progress.model_copy(
            update={
                "units_done": tally.units_done,
                "rows_read": account.read,
                "rows_loaded": account.loaded,
                "rows_rejected": account.rejected,
                "rows_filtered": account.filtered,
                "rows_deduplicated": account.deduplicated,
            }
        )
