"""CSV: what a file means, and what is set aside."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dataproc.domain.errors import BadDataError, ContractViolationError
from dataproc.domain.sources.files import CsvOptions, FilesSource
from dataproc.sources.factory import source_for
from dataproc.sources.files.quoting import Header, header_of, last_record_end, repaired
from tests.builders import surroundings

CSV = CsvOptions(delimiter=",")


def read(folder: Path, text: str | bytes, **options: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the rows and the rejects of a CSV file."""
    (folder / "a.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    spec = FilesSource.model_validate({"kind": "files", "path": "a.csv", **options})
    source = source_for(spec, surroundings(files_root=folder))
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


def test_a_long_value_is_read_beside_a_broken_quote(tmp_path: Path) -> None:
    long = "x" * 200_000

    rows, rejects = read(tmp_path, f'a,b\n1,"{long}"\n2,"y\n3,z\n')

    assert [(row["a"], row["b"]) for row in rows] == [(1, long), (3, "z")]
    assert [row["row"] for row in rejects] == ['2,"y']


def test_a_ragged_row_is_set_aside_with_its_text(tmp_path: Path) -> None:
    rows, rejects = read(tmp_path, "a,b\n1,x\n2\n3,y,z\n4,w\n")

    assert [(row["a"], row["__position"]) for row in rows] == [(1, 0), (4, 3)]
    assert [(r["position"], r["row"]) for r in rejects] == [(1, "2"), (2, "3,y,z")]


def test_text_that_is_not_utf8_is_set_aside(tmp_path: Path) -> None:
    rows, rejects = read(tmp_path, b"a,b\n1,x\n2,\xff\n3,y\n", encoding="utf-8")

    assert [row["a"] for row in rows] == [1, 3]
    assert [(r["position"], r["rule"], r["column"]) for r in rejects] == [(1, "parse", "b")]


def test_nulls_are_unquoted_only(tmp_path: Path) -> None:
    rows, _ = read(tmp_path, 'a,b\n1,NULL\n2,"NULL"\n3,\n4,""\n')

    assert [row["b"] for row in rows] == [None, "NULL", None, ""]


def test_delimiter_quote_header_and_nulls_can_be_chosen(tmp_path: Path) -> None:
    rows, _ = read(tmp_path, "1;'a;b'\n2;-\n", csv=CsvOptions(delimiter=";", quote="'", header=False, nulls=("-",)))

    assert [(row["c0"], row["c1"]) for row in rows] == [(1, "a;b"), (2, None)]


def test_tabs_without_quotes_leave_quotes_in_the_values(tmp_path: Path) -> None:
    rows, rejects = read(tmp_path, 'a\tb\n1\t5" pipe\n2\t"x\n', csv={"delimiter": "\t", "quote": None})

    assert [(row["a"], row["b"]) for row in rows] == [(1, '5" pipe'), (2, '"x')]
    assert rejects == []


@pytest.mark.parametrize("quote", ['"', None])
def test_an_escape_takes_the_next_character_its_meaning(tmp_path: Path, quote: str | None) -> None:
    text = "a,b\n1,x\\,y\n2,z\\\nw\n" + ('3,"q\\"r\n"\n' if quote else "3,q\\\\\n")

    rows, rejects = read(tmp_path, text, csv={"escape": "\\", "quote": quote})

    assert [row["b"] for row in rows] == ["x,y", "z\nw", 'q"r\n' if quote else "q\\"]
    assert rejects == []


def test_the_slow_way_knows_escapes_too(tmp_path: Path) -> None:
    rows, rejects = read(tmp_path, 'a,b\n1,"x\\"y"\n2,"z\n3,w\n', csv={"escape": "\\"})

    assert [(row["a"], row["b"]) for row in rows] == [(1, 'x"y'), (3, "w")]
    assert [row["row"] for row in rejects] == ['2,"z']


def test_lines_to_skip_and_comments_come_before_the_header_and_after(tmp_path: Path) -> None:
    text = 'made by, "us\nat noon\n# one\n\na,b\n# "two\n1,x\n#3,y\n4,"z\n# not one\n"\n5\n# end'

    rows, rejects = read(tmp_path, text, csv={"skip": 2, "comment": "#"})

    assert [(row["a"], row["b"]) for row in rows] == [(1, "x"), (4, "z\n# not one\n")]
    assert [(row["position"], row["row"]) for row in rejects] == [(2, "5")]


def test_the_line_of_a_reject_counts_what_was_skipped(tmp_path: Path) -> None:
    _, rejects = read(tmp_path, "one\ntwo\n\na,b\n1,x\n2\n", csv={"skip": 2})

    assert rejects[0]["reason"].startswith("line 6: ")


def test_columns_can_be_named_with_and_without_a_header(tmp_path: Path) -> None:
    named = {"columns": ("n", "t")}

    assert [(r["n"], r["t"]) for r in read(tmp_path, "a,b\n1,x\n", csv=named)[0]] == [(1, "x")]
    assert [(r["n"], r["t"]) for r in read(tmp_path, "1,x\n", csv=named | {"header": False})[0]] == [(1, "x")]


def test_a_byte_that_means_nothing_in_the_encoding_costs_only_its_own_row(tmp_path: Path) -> None:
    rows, rejects = read(tmp_path, b"a,b\n1,\xe4\n2,\x81\n3,z\n", encoding="cp1252")

    assert [(row["a"], row["b"]) for row in rows] == [(1, "ä"), (3, "z")]
    assert [(row["position"], row["rule"], row["column"]) for row in rejects] == [(1, "parse", "b")]
    assert "is not cp1252" in rejects[0]["reason"]


def test_text_in_another_encoding_than_the_job_says_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BadDataError, match=r"a\.csv is UTF-16 or UTF-32 .*`encoding: utf-16-le`"):
        read(tmp_path, "a,b\n1,x\n".encode("utf-16-le"))
    with pytest.raises(BadDataError, match=r"a\.csv is not utf-16 near byte 0"):
        read(tmp_path, "a,b\n1,x\n", encoding="utf-16")
    with pytest.raises(BadDataError, match=r"a\.csv: the first line .* is `encoding` right"):
        read(tmp_path, b"\xe4,b\n1,x\n", encoding="utf-8")


@pytest.mark.parametrize(
    "wrong",
    [
        {"encoding": "no-such"}, {"encoding": "hex"}, {"csv": {"delimiter": "\n"}}, {"csv": {"delimiter": "ä"}},
        {"csv": {"escape": '"'}}, {"csv": {"columns": []}}, {"records": "data"}, {"records": "/a.b"},
        {"max_unpacked": 0}, {"compression": "lz4"},
    ],
)  # fmt: skip
def test_options_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FilesSource.model_validate({"kind": "files", "path": "a.csv", **wrong})


def test_a_byte_order_mark_and_windows_line_ends_are_no_data(tmp_path: Path) -> None:
    rows, rejects = read(tmp_path, b"\xef\xbb\xbfa,b\r\n1,x\r\n2,y\r\n")

    assert [(row["a"], row["b"]) for row in rows] == [(1, "x"), (2, "y")]
    assert rejects == []


def test_a_file_with_only_a_header_has_columns_and_no_row(tmp_path: Path) -> None:
    assert read(tmp_path, "a,b\n") == ([], [])


@pytest.mark.parametrize("header", ["a,a", "a,__position"])
def test_names_that_cannot_be_columns_are_refused(tmp_path: Path, header: str) -> None:
    with pytest.raises(ContractViolationError, match="rename it in the file"):
        read(tmp_path, f"{header}\n1,2\n")


def test_a_large_file_with_quoted_newlines_is_cut_where_records_begin(tmp_path: Path) -> None:
    text = "a,b\n" + "".join(f'{n},"x\n{n},y"\n' for n in range(60_000))

    rows, rejects = read(tmp_path, text, unit_size=64 * 1024)

    assert sum(row["__position"] == 0 for row in rows) > 5
    assert [(row["a"], row["b"]) for row in rows] == [(n, f"x\n{n},y") for n in range(60_000)]
    assert rejects == []


def test_types_come_from_a_file_that_has_rows(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("n\n")
    (tmp_path / "b.csv").write_text("n\n1\n")
    source = source_for(FilesSource(kind="files", path="*.csv"), surroundings(files_root=tmp_path))

    assert source.plan().schema.field("n").type == pa.int64()


def test_the_header_is_the_first_record_that_is_not_blank() -> None:
    assert header_of(b'\n"a\nb",c\n1,2\n', CSV, "x") == Header(("a\nb", "c"), 9)


def test_a_newline_in_quotes_ends_no_record() -> None:
    assert last_record_end(b'1,"a\nb"\n2,"c\nd', CSV) == len(b'1,"a\nb"\n')
    assert last_record_end(b"1,a\n2,b", CSV) == 4


@given(block=st.text('ab"\n,', max_size=40).map(str.encode), looked_at=st.integers(0, 50))
def test_the_last_record_of_a_block_ends_at_a_line_end_after_an_even_number_of_quotes(
    block: bytes, looked_at: int
) -> None:
    ends = [at + 1 for at, byte in enumerate(block) if byte == ord("\n")]
    outside = [end for end in ends if block[:end].count(b'"') % 2 == 0]
    last = max(outside, default=0)
    expected = last if len(block) - last <= looked_at else max(ends, default=0)

    assert last_record_end(block, CSV, looked_at) == (expected if b'"' in block else max(ends, default=0))


@given(st.lists(st.text(alphabet='a",\n', max_size=8), max_size=20))
def test_repair_loses_no_line(cells: list[str]) -> None:
    block = "".join(f"1,{cell}\n" for cell in cells).encode()

    whole, broken, _ = repaired(block, 2, CSV)

    kept = whole + "".join(text + "\n" for _, text in broken).encode()
    assert sorted(line for line in kept.split(b"\n") if line) == sorted(line for line in block.split(b"\n") if line)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["1,x", '2,"y', "3", '4,"a\nb"', "5,5,5", "oh,x", '6,"q"', ""]), max_size=30))
def test_the_account_of_any_file_is_balanced_and_its_positions_unique(tmp_path: Path, records: list[str]) -> None:
    rows, rejects = read(tmp_path, "n,t\n" + "".join(f"{record}\n" for record in records))

    positions = [row["__position"] for row in rows] + sorted({reject["position"] for reject in rejects})
    assert sorted(positions) == list(range(len(positions)))
