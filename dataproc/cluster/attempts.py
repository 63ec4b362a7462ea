"""The attempts of Ray at one task: another one follows when the process of the first has died."""

from dataclasses import replace
from typing import Any

import ray

from dataproc.domain.unit import Unit


def attempted(unit: Unit) -> Unit:
    """Return a unit as this attempt reads it: from the second one on, its foreign bytes are decoded elsewhere.

    The process of the first attempt has died, and a file of the unit may be the reason. Where it is, the process that
    decodes it dies as well, and the file is named; where it is not, the unit is read.
    """
    return unit if attempt_number() == 0 else replace(unit, isolated=True)


def attempt_number() -> int:
    """Return how often Ray has tried this task, or this actor's task, before; 0 outside of a task."""
    worker: Any = ray._private.worker.global_worker  # noqa: SLF001 - Ray's public context does not have the number
    if not ray.is_initialized() or worker.mode != ray.WORKER_MODE:
        return 0
    return int(worker.core_worker.get_current_task_attempt_number())
