"""The listing of very many objects takes bounded memory."""

import psutil  # type: ignore[import-untyped]  # it has no types

from dataproc.domain.memory import SourceObject
from tests.fakes.listing import ROOT, AlmostAll, Million, Place, chosen


def resident() -> int:
    """Return the bytes of memory that this process takes."""
    return int(psutil.Process().memory_info().rss)


def test_a_million_files_are_listed_in_order_and_in_bounded_memory() -> None:
    lister = Million()
    before = resident()
    peaks: list[int] = []

    choice = chosen(Place(lister), AlmostAll("/09999.csv", lambda: peaks.append(resident())), track="objects")

    assert [file.uri for file in choice.files] == [f"{ROOT}{n:03}/09999.csv" for n in range(100)]
    assert choice.objects == tuple(SourceObject(file.uri, file.version, file.size) for file in choice.files)
    assert len(lister.asked) == 1 + 1 + 1 + 100 * 11  # the root twice and its folders; each folder's pages, and a look
    assert len(peaks) == 101
    assert max(peaks) - before < 64 * 1024 * 1024  # all of them at once take more than 200 MiB
