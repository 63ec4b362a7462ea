"""Samples of the files of a run: the start of each, so that types hold for all of them."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from dataproc.sources.files.damage import Tolerance
from dataproc.sources.files.lines import SAMPLE
from dataproc.sources.files.storage import FoundFile
from dataproc.sources.inference import Sample

LEAST = 64 * 1024
"""Bytes that are looked at of each file, however many there are."""
MAX_THREADS = 8
PROBES = 3
"""Files after the first one whose samples show the share of time that passes in waiting for the storage."""


def samples_of(
    sampled: Callable[[FoundFile, int], Sample], files: Sequence[FoundFile], tolerance: Tolerance
) -> Iterator[Sample]:
    """Yield the samples of files that are not empty, in their order: a large one of the first, small ones of others.

    A damaged file is passed over where the job tolerates that.
    """
    filled = [file for file in files if file.size]
    size = max(LEAST, SAMPLE // max(len(filled), 1))
    first, rest = filled[:1], filled[1:]

    def attempt(file: FoundFile, size: int = size) -> Sample:
        return tolerance.attempt(lambda: sampled(file, size), lambda damage: Sample({}, 0, damage=damage))

    yield from (attempt(file, SAMPLE) for file in first)
    begun, worked = time.perf_counter(), time.thread_time()
    probes = [attempt(file) for file in rest[:PROBES]]
    threads = threads_for(time.perf_counter() - begun, time.thread_time() - worked)
    yield from probes
    if threads == 1 or len(rest) <= PROBES:
        yield from map(attempt, rest[PROBES:])
        return
    with ThreadPoolExecutor(threads, "sample") as pool:
        yield from pool.map(attempt, rest[PROBES:])


def threads_for(seconds: float, worked: float) -> int:
    """Return the number of threads of which one works while the others wait for the storage.

    More threads compete for the interpreter's lock: eight took twice the processor time of one where the server
    answered within a millisecond.
    """
    return max(1, min(int(seconds / max(worked, 1e-6)), MAX_THREADS))
