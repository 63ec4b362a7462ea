"""A file of any size is read in the same memory."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.file_kinds import PACK

READER = """
import re, sys
from pathlib import Path
from tests.places import Folder

source = Folder(Path(sys.argv[1])).source(sys.argv[2])
rows = sum(chunk.rows.num_rows for unit in source.plan().units for chunk in source.read(unit))
# `ru_maxrss` would tell of the process that started this one as well.
print(rows, int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024)
"""
ROOT = Path(__file__).parents[2]
RECORDS = "".join(f'{n},2026-01-{n % 28 + 1:02},"a ""note"" of\ntwo lines, {n}",{n / 100}\n' for n in range(10_000))


def rows_and_peak(folder: Path, name: str) -> tuple[int, int]:
    """Return the rows of a file, and the peak in MiB of the memory of a process that reads them."""
    words = [sys.executable, "-c", READER, str(folder), name]
    told = subprocess.run(words, check=True, capture_output=True, text=True, cwd=ROOT).stdout.split()
    return int(told[0]), int(told[1])


@pytest.mark.parametrize("kind", ["csv", "csv.zst"])
def test_four_times_the_file_takes_no_more_memory(tmp_path: Path, kind: str) -> None:
    pack = PACK[kind.removeprefix("csv").removeprefix(".")]
    for name, copies in (("small", 40), ("large", 160)):
        data = pack(b"id,day,note,price\n" + RECORDS.encode() * copies)
        (tmp_path / f"{name}.{kind}").write_bytes(data)

    small, large = (rows_and_peak(tmp_path, f"{name}.{kind}") for name in ("small", "large"))

    assert (small[0], large[0]) == (400_000, 1_600_000)
    assert large[1] < small[1] + 150
    assert large[1] < 1024
