"""Files that cannot be decoded, and values that Python or Arrow cannot hold: a named error, or rejects."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataproc.arrow.python_values import python_values
from dataproc.domain.cells import cast_fitting
from dataproc.domain.errors import BadDataError, SourceChangedError
from dataproc.domain.row_text import row_of, written
from dataproc.sources.files.formats import readable
from dataproc.sources.files.reasons import DamagedError
from dataproc.transforms.cast import cast
from dataproc.warehouse.numeric_wire import numeric_wire
from tests.contract.conformance import one_table, read_all
from tests.file_kinds import avro_file, encoded, some_rows
from tests.places import Folder


def parquet(rows: pa.Table, **options: object) -> bytes:
    sink = io.BytesIO()
    pq.write_table(rows, sink, store_schema=False, **options)  # type: ignore[arg-type]  # whatever a test needs
    return sink.getvalue()


def wrong_page(data: bytes) -> bytes:
    """Return a file of row groups of 500 rows with damage in the fourth."""
    group = pq.read_metadata(io.BytesIO(data)).row_group(3)
    at = group.column(0).data_page_offset + 60
    return data[:at] + b"\xff" * 200 + data[at + 200 :]


def odd_block(data: bytes) -> bytes:
    """Return an Avro file of which the last block is not of its codec."""
    return data[:-60] + b"\xff" * 20 + data[-40:]


@dataclass(frozen=True)
class Bad:
    """A file that cannot be decoded, and the words of its error besides its name."""

    name: str
    data: Callable[[], bytes]
    words: str


BAD = (
    Bad("a.parquet", lambda: wrong_page(encoded(some_rows(), "parquet")), r" at row groups 1 to 6: .*\w"),
    Bad("a.parquet", lambda: b"PAR1 nothing PAR1", r": \w.*; it is damaged, cut off, or of another format"),
    Bad("a.parquet", lambda: parquet(pa.table({"tag": ["x"]})).replace(b"tag", b"t\xff\xfe"), ": a text is not UTF-8"),
    Bad("a.avro", lambda: odd_block(encoded(some_rows(), "avro+snappy")), r" at the block before byte \d+: .*\w"),
    Bad(
        "a.avro",
        lambda: avro_file({"type": "record", "name": "r", "fields": [{}]}, []),
        ": Record field is missing 'name'",
    ),
    Bad(
        "a.avro", lambda: encoded(some_rows(), "avro").replace(b'"record"', b"\xffrecord\xff"), ": a text is not UTF-8"
    ),
    Bad("a.json", lambda: b'[{"id": 1}, {"id": 2}', " at record 3: parse error: premature EOF"),
    Bad("a.json.gz", lambda: b"\x1f\x8b\x08\x00damaged", r": it ends too early"),
    Bad("a.csv.zst", lambda: encoded(some_rows(0, 40_000), "csv.zst")[:-9], r" at line \d+"),
    Bad("a.jsonl.bz2", lambda: b"BZ\x00damaged", r": bzlib decompress failed|: bz2"),
)


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: f"{bad.name} {bad.words[:30]}")
def test_a_file_that_cannot_be_decoded_is_named_with_the_place_and_the_reason(tmp_path: Path, bad: Bad) -> None:
    folder = Folder(tmp_path)
    folder.put(bad.name, bad.data())

    with pytest.raises(BadDataError, match=rf"{bad.name} cannot be read as \w+{bad.words}"):
        read_all(folder.source(bad.name))


@pytest.mark.parametrize(
    ("exc", "reason", "has_origin"),
    [
        (KeyError("secret"), "KeyError", True),
        (OverflowError("9999999 of secret"), "OverflowError", True),
        (UnicodeDecodeError("utf-8", b"secret", 0, 1, "secret"), "a text is not UTF-8", False),
        (pa.ArrowInvalid("Couldn't deserialize thrift:\nmore"), "Couldn't deserialize thrift:", False),
        (pa.ArrowInvalid("CSV parse error: Row 3: secret"), "CSV parse error", False),
        (pa.ArrowInvalid("a\0b"), "a?b", False),
        (DamagedError("a block is torn"), "a block is torn", False),
        (EOFError(), "it ends too early", False),
    ],
)
def test_an_error_of_a_decoder_names_the_file_and_shows_no_value(exc: Exception, reason: str, has_origin: bool) -> None:
    with pytest.raises(BadDataError) as caught, readable("files://a.csv", "csv", lambda: "line 7"):
        raise exc

    assert str(caught.value).startswith(f"files://a.csv cannot be read as csv at line 7: {reason}; it is damaged")
    assert "secret" not in str(caught.value)
    assert hasattr(caught.value, "__notes__") == has_origin


@pytest.mark.parametrize("exc", [SourceChangedError("changed"), OSError(5, "input/output error"), KeyboardInterrupt()])
def test_what_does_not_come_from_the_bytes_of_a_file_is_not_bad_data(exc: BaseException) -> None:
    with pytest.raises(type(exc)), readable("files://a.csv", "csv"):
        raise exc


@pytest.mark.parametrize(
    ("name", "data", "ids", "reasons"),
    [
        ("a.csv", b"id,t\n1,a\n2,b,\xff\n3,\xff\n4,d\n", [1, 4], ["3 cells instead of 2", "'t' is not utf-8"]),
        ("a.json", b'[{"id":1},{"id":2,"t":"\xff"},{"id":3}]', [1, 3], ["not UTF-8"]),
        ("a.json", b'[{"id":1},{"id":2,"\\ud800":"x"},{"id":3}]', [1, 3], ["half of a surrogate pair"]),
        ("a.jsonl", b'{"id":1}\n{"id":2,"t":"\\ude00"}\n{"id":3}\n', [1, 3], ["half of a surrogate pair"]),
        (
            "a.parquet",
            parquet(pa.table({"id": [1, 2, 3], "t": pa.array([b"a", b"\xff", b"c"]).view(pa.string())})),
            [1, 3],
            ["column 't' is not UTF-8"],
        ),
    ],
)
def test_text_that_is_not_utf8_costs_its_own_row(
    tmp_path: Path, name: str, data: bytes, ids: list[int], reasons: list[str]
) -> None:
    folder = Folder(tmp_path)
    folder.put(name, data)

    _, chunks = read_all(folder.source(name, encoding="utf-8"))

    assert one_table(chunks)["id"].to_pylist() == ids
    found = [str(reject["reason"]) for chunk in chunks for reject in chunk.rejects.to_pylist()]
    assert [part in reason for part, reason in zip(reasons, found, strict=True)] == [True] * len(reasons)


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_keys_that_json_has_to_escape_are_columns(tmp_path: Path, name: str) -> None:
    lines = [b'{"a\\"b": 1, "tab\\t": "x"}', b'{"tab\\t": "y"}', b'{"a\\"b": 3, "tab\\t": null}']
    folder = Folder(tmp_path)
    folder.put(name, b"\n".join(lines) if name == "a.jsonl" else b"[%b]" % b",".join(lines))

    _, chunks = read_all(folder.source(name))

    assert one_table(chunks).to_pylist() == [
        {'a"b': 1, "tab\t": "x"},
        {'a"b': None, "tab\t": "y"},
        {'a"b': 3, "tab\t": None},
    ]


FINE = ("1e-999999999", "0e-999999999", f"0.{'0' * 70_000}1")


@pytest.mark.parametrize("text", [*FINE, "1e-77", "1e999999999"])
@pytest.mark.parametrize("dtype", [pa.decimal128(20, 2), pa.decimal256(70, 2)])
def test_a_number_beyond_every_decimal_does_not_fit_and_ends_no_process(text: str, dtype: pa.DataType) -> None:
    cells = pa.array(["1.50", text])

    values, bad = cast_fitting(cells, pa.array([False, False]).to_numpy(zero_copy_only=False), dtype)
    after, unfit = cast(cells, dtype)

    assert bad.tolist() == [False, True]
    assert unfit is not None
    assert unfit.tolist() == [False, True]
    assert [str(each) for each in (values[0], values[1], after[0], after[1])] == ["1.50", "None", "1.50", "None"]


@pytest.mark.parametrize("text", [*FINE, "9" * 400_000, "1e999999999"])
def test_a_number_of_absurd_length_is_left_to_postgresql(text: str) -> None:
    wire, bad = numeric_wire(pa.array(["1.5", text]))

    assert (wire.is_null().to_pylist(), bad.tolist()) == ([False, True], [False, True])


@pytest.mark.parametrize("text", ['{"v": 1e999999999}', '{"v": -1.5E-99999999}'])
def test_the_text_of_a_row_with_a_huge_exponent_is_as_short_as_it_was(text: str) -> None:
    row = row_of(text)

    assert row is not None
    assert len(written(row)) < 40
    assert row_of(written(row)) == row


DAYS = pa.list_(pa.date32())
MOMENTS = pa.struct([("at", pa.timestamp("us")), ("in_utc", pa.timestamp("us", "Europe/Berlin"))])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([[3_932_160, None], None], DAYS), [["12735-11-22", None], None]),
        (pa.array([{"at": 253402300800000000, "in_utc": 253402300800000000}], MOMENTS),
         [{"at": "10000-01-01T00:00:00.000000", "in_utc": "10000-01-01T00:00:00.000000+00:00"}]),
        (pa.array([[("k", 3_932_160)]], pa.map_(pa.string(), pa.date32())), [{"k": "12735-11-22"}]),
    ],
)  # fmt: skip
def test_nested_moments_beyond_the_calendar_of_python_are_text(values: "pa.Array[Any]", expected: object) -> None:
    assert python_values(values) == expected
