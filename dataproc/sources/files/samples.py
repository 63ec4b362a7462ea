"""Samples of the files of a run: the start of each, so that types hold for all of them."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from dataproc.sources.files.damage import Tolerance
from dataproc.sources.files.lines import SAMPLE
from dataproc.sources.files.storage import FoundFile
from dataproc.sources.inference import Sample

LEAST = 64 * 1024
"""Bytes that are looked at of each file, however many there are."""
THREADS = 8


def samples_of(
    sampled: Callable[[FoundFile, int], Sample], files: Sequence[FoundFile], tolerance: Tolerance
) -> Iterator[Sample]:
    """Yield the samples of files that are not empty, in their order: a large one of the first, small ones of others.

    A damaged file is passed over where the job tolerates that.
    """
    filled = [file for file in files if file.size]
    size = max(LEAST, SAMPLE // max(len(filled), 1))
    sizes = [SAMPLE, *(size for _ in filled[1:])]

    def attempt(file: FoundFile, size: int) -> Sample:
        return tolerance.attempt(lambda: sampled(file, size), lambda damage: Sample({}, 0, damage=damage))

    if len(filled) < 2:
        yield from map(attempt, filled, sizes)
        return
    with ThreadPoolExecutor(THREADS, "sample") as pool:
        yield from pool.map(attempt, filled, sizes)
