"""A CSV file is cut where records begin, and nowhere else."""

import csv
import io
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataproc.domain.sources.files import CsvOptions
from dataproc.sources.files.edges import WINDOW, Cutter
from dataproc.sources.files.local import LocalStorage

CSV = CsvOptions(delimiter=",")

cells = st.lists(st.text(alphabet='a",\n', max_size=12), min_size=3, max_size=3)


def cut(
    folder: Path, text: bytes, size: int, options: CsvOptions = CSV, columns: int = 3, *, window: int = WINDOW
) -> list[tuple[int, int]]:
    """Return the spans of a file whose nominal edges are `size` bytes apart."""
    (folder / "a.csv").write_bytes(text)
    storage = LocalStorage(folder, ("a.csv",))
    file = next(iter(storage.find()))
    nominal = [(at, min(at + size, len(text))) for at in range(0, len(text), size)]
    return Cutter(storage, file, options, 0, columns, window).cut(nominal)


def record_starts(text: bytes, options: CsvOptions = CSV) -> set[int]:
    """Return where the records of a text begin, read from its start."""
    lines = text.decode().splitlines(keepends=True)
    offsets = [0, *accumulate(len(line.encode()) for line in lines)]
    reader = csv.reader(iter(lines), quotechar=options.quote, escapechar=options.escape)
    return {0, *(offsets[reader.line_num] for _ in reader)}


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(cells, min_size=1, max_size=60), size=st.integers(20, 200), window=st.integers(16, 200))
def test_a_cut_is_where_a_record_begins_whatever_the_values_hold(
    tmp_path: Path, rows: list[list[str]], size: int, window: int
) -> None:
    sink = io.StringIO()
    csv.writer(sink, lineterminator="\n").writerows(rows)
    text = sink.getvalue().encode()

    spans = cut(tmp_path, text, size, window=window)

    assert spans[0][0] == 0
    assert spans[-1][1] == len(text)
    assert [stop for _, stop in spans][:-1] == [start for start, _ in spans][1:]
    # Text without any quote as long as a window is taken for records if it looks like them.
    if max(map(len, text.split(b'"'))) < window:
        assert {start for start, _ in spans} <= record_starts(text)


@pytest.mark.parametrize("value", ["x,\n1,", 'say ""hi""\n', "\n\n", "a\nb\nc"])
def test_quoted_newlines_do_not_hinder_a_cut(tmp_path: Path, value: str) -> None:
    text = "".join(f'{n},"{value}",z\n' for n in range(20_000)).encode()

    spans = cut(tmp_path, text, len(text) // 4 + 1)

    assert len(spans) == 4
    assert {start for start, _ in spans} <= record_starts(text)


def test_where_nothing_tells_whether_a_quote_is_open_there_is_no_cut(tmp_path: Path) -> None:
    text = b'"",""\n' * 200_000

    assert cut(tmp_path, text, len(text) // 3 + 1, columns=2) == [(0, len(text))]


def test_lines_in_a_long_quoted_text_are_not_taken_for_records(tmp_path: Path) -> None:
    prose = b"one line of text, and more\n" * 40_000
    text = b"1,2,3\n" * 10 + b'4,"' + prose + b'",6\n' + b"7,8,9\n" * 200_000
    end = text.index(b'",6\n') + 4

    spans = cut(tmp_path, text, 700_000)

    assert len(spans) > 1
    assert all(start >= end and (start - end) % 6 == 0 for start, _ in spans[1:])


def test_without_quotes_every_newline_ends_a_record_unless_it_is_escaped(tmp_path: Path) -> None:
    text = b'5" pipe\\\nlong,b,c\n' * 40_000

    spans = cut(tmp_path, text, len(text) // 4 + 1, CsvOptions(quote=None, escape="\\"))

    assert len(spans) == 4
    assert all(text[start:].startswith(b'5" pipe') for start, _ in spans)


def test_a_stray_quote_hinders_no_cut_beyond_its_window(tmp_path: Path) -> None:
    good = b'1,"x\ny",z\n' * 60_000
    text = good + b'1,5" pipe,"z"\n' + good

    spans = cut(tmp_path, text, len(good) - 1000)

    assert len(spans) > 1
    assert all(text[start:].startswith(b"1,") for start, _ in spans)
