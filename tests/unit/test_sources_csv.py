"""CSV: what a file means, and what is set aside."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataproc.domain.errors import ContractViolationError
from dataproc.domain.sources.files import CsvOptions, FilesSource
from dataproc.sources.factory import source_for
from dataproc.sources.quoting import header_of, repaired, spans_lines
from tests.builders import surroundings

CSV = CsvOptions()


def read(folder: Path, text: str | bytes, **options: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the rows and the rejects of a CSV file."""
    (folder / "a.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    source = source_for(FilesSource(kind="files", path="a.csv", **options), surroundings(files_root=folder))
    chunks = [chunk for unit in source.plan().units for chunk in source.read(unit)]
    assert all(chunk.read == chunk.rows.num_rows + chunk.rejected for chunk in chunks)
    rows = [row for chunk in chunks for row in chunk.rows.to_pylist()]
    return rows, [row for chunk in chunks for row in chunk.rejects.to_pylist()]


def test_a_quoted_newline_is_part_of_the_value(tmp_path: Path) -> None:
    rows, rejects = read(tmp_path, 'a,b\n1,"x\ny"\n2,z\n')

    assert [row["b"] for row in rows] == ["x\ny", "z"]
    assert rejects == []


def test_a_quote_that_is_never_closed_costs_only_its_own_line(tmp_path: Path) -> None:
    rows, rejects = read(tmp_path, 'a,b\n1,x\n2,"y\n3,z\n4,w\n')

    assert [row["a"] for row in rows] == [1, 3, 4]
    assert [(r["position"], r["rule"], r["row"]) for r in rejects] == [(1, "parse", '2,"y')]
    assert "line 3: a quote is not closed" in rejects[0]["reason"]


def test_a_ragged_row_is_set_aside_with_its_text(tmp_path: Path) -> None:
    rows, rejects = read(tmp_path, "a,b\n1,x\n2\n3,y,z\n4,w\n")

    assert [(row["a"], row["__position"]) for row in rows] == [(1, 0), (4, 3)]
    assert [(r["position"], r["row"]) for r in rejects] == [(1, "2"), (2, "3,y,z")]


def test_text_that_is_not_utf8_is_set_aside(tmp_path: Path) -> None:
    rows, rejects = read(tmp_path, b"a,b\n1,x\n2,\xff\n3,y\n")

    assert [row["a"] for row in rows] == [1, 3]
    assert [(r["position"], r["rule"], r["column"]) for r in rejects] == [(1, "parse", "b")]


def test_nulls_are_unquoted_only(tmp_path: Path) -> None:
    rows, _ = read(tmp_path, 'a,b\n1,NULL\n2,"NULL"\n3,\n4,""\n')

    assert [row["b"] for row in rows] == [None, "NULL", None, ""]


def test_delimiter_quote_header_and_nulls_can_be_chosen(tmp_path: Path) -> None:
    rows, _ = read(tmp_path, "1;'a;b'\n2;-\n", csv=CsvOptions(delimiter=";", quote="'", header=False, nulls=("-",)))

    assert [(row["c0"], row["c1"]) for row in rows] == [(1, "a;b"), (2, None)]


def test_a_byte_order_mark_and_windows_line_ends_are_no_data(tmp_path: Path) -> None:
    rows, rejects = read(tmp_path, b"\xef\xbb\xbfa,b\r\n1,x\r\n2,y\r\n")

    assert [(row["a"], row["b"]) for row in rows] == [(1, "x"), (2, "y")]
    assert rejects == []


def test_a_file_with_only_a_header_has_columns_and_no_row(tmp_path: Path) -> None:
    assert read(tmp_path, "a,b\n") == ([], [])


@pytest.mark.parametrize("header", ["a,a", "a,", "a,__position"])
def test_names_that_cannot_be_columns_are_refused(tmp_path: Path, header: str) -> None:
    with pytest.raises(ContractViolationError, match="rename it in the file"):
        read(tmp_path, f"{header}\n1,2\n")


def test_a_large_file_whose_sample_has_quoted_newlines_stays_whole(tmp_path: Path) -> None:
    text = "a,b\n" + "".join(f'{n},"x\ny"\n' for n in range(20_000))

    rows, _ = read(tmp_path, text, unit_size=64 * 1024)

    assert [row["__position"] for row in rows] == list(range(20_000))


def test_types_come_from_a_file_that_has_rows(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("n\n")
    (tmp_path / "b.csv").write_text("n\n1\n")
    source = source_for(FilesSource(kind="files", path="*.csv"), surroundings(files_root=tmp_path))

    assert source.plan().schema.field("n").type == pa.int64()


def test_the_header_is_the_first_record_that_is_not_blank() -> None:
    assert header_of(b'\n"a\nb",c\n1,2\n', CSV, "x") == (["a\nb", "c"], 9)


def test_quoted_newlines_are_seen() -> None:
    assert spans_lines(b'a,"b\nc"\n', CSV)
    assert not spans_lines(b'a,"b"\nc,"d"\n', CSV)


@given(st.lists(st.text(alphabet='a",\n', max_size=8), max_size=20))
def test_repair_loses_no_line(cells: list[str]) -> None:
    block = "".join(f"1,{cell}\n" for cell in cells).encode()

    whole, broken, _ = repaired(block, 2, CSV)

    kept = whole + "".join(text + "\n" for _, text in broken).encode()
    assert sorted(line for line in kept.split(b"\n") if line) == sorted(line for line in block.split(b"\n") if line)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["1,x", '2,"y', "3", '4,"a\nb"', "5,5,5", "oh,x", '6,"q"', ""]), max_size=30))
def test_the_account_of_any_file_is_balanced_and_its_positions_unique(tmp_path: Path, records: list[str]) -> None:
    rows, rejects = read(tmp_path, "n,t\n" + "".join(f"{record}\n" for record in records))

    positions = [row["__position"] for row in rows] + sorted({reject["position"] for reject in rejects})
    assert sorted(positions) == list(range(len(positions)))
