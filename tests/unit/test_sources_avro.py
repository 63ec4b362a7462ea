"""Avro: types without loss, or refused by name; blocks that are not what they say."""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from dataproc.domain.chunk import POSITION
from dataproc.domain.errors import BadDataError, ContractViolationError
from tests.file_kinds import MARKER, avro_block, avro_bytes, avro_file, avro_header
from tests.places import Folder

ROW: dict[str, Any] = {"type": "record", "name": "row", "fields": [{"name": "a", "type": "long"}]}


def of(*types: Any) -> dict[str, Any]:
    """Return the schema of a record whose columns `c0`, `c1`, … have these types."""
    fields = [{"name": f"c{at}", "type": one} for at, one in enumerate(types)]
    return {"type": "record", "name": "row", "fields": fields}


def read(folder: Path, data: bytes, **options: Any) -> pa.Table:
    """Return the rows of a file."""
    Folder(folder).put("a.avro", data)
    source = Folder(folder).source("a.avro", **options)
    plan = source.plan()
    chunks = [chunk for unit in plan.units for chunk in source.read(unit)]
    return pa.concat_tables([chunk.rows.drop_columns([POSITION]) for chunk in chunks])


DAY = date(1969, 12, 31)
MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC)
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 1}
ID = UUID("12345678-1234-5678-1234-567812345678")


@pytest.mark.parametrize(
    ("kind", "given", "dtype", "expected"),
    [
        ("int", -(2**31), pa.int32(), -(2**31)),
        ("long", 2**63 - 1, pa.int64(), 2**63 - 1),
        ("float", 0.5, pa.float32(), 0.5),
        ("double", float("inf"), pa.float64(), float("inf")),
        ("boolean", True, pa.bool_(), True),
        ("bytes", b"\0\xff", pa.binary(), b"\0\xff"),
        ("string", "Zoë", pa.string(), "Zoë"),
        (["null", "string"], None, pa.string(), None),
        (["int", "null", "long"], 2**40, pa.int64(), 2**40),
        (["null", "int", "double"], 2**31 - 1, pa.float64(), 2.0**31 - 1),
        (["double", "float", "int"], 0.1, pa.float64(), 0.1),
        ({"type": "enum", "name": "e", "symbols": ["A", "B"]}, "B", pa.string(), "B"),
        ({"type": "fixed", "name": "f", "size": 2}, b"ab", pa.binary(), b"ab"),
        ({"type": "int", "logicalType": "date"}, DAY, pa.date32(), DAY),
        ({"type": "int", "logicalType": "time-millis"}, time(1, 2, 3, 4000), pa.time64("us"), time(1, 2, 3, 4000)),
        ({"type": "long", "logicalType": "time-micros"}, time(1, 2, 3, 4), pa.time64("us"), time(1, 2, 3, 4)),
        ({"type": "long", "logicalType": "timestamp-millis"}, MOMENT, pa.timestamp("us", "UTC"), MOMENT),
        ({"type": "long", "logicalType": "timestamp-micros"}, MOMENT, pa.timestamp("us", "UTC"), MOMENT),
        (
            {"type": "long", "logicalType": "local-timestamp-micros"},
            MOMENT.replace(tzinfo=None), pa.timestamp("us"), MOMENT.replace(tzinfo=None),
        ),
        ({"type": "string", "logicalType": "uuid"}, str(ID), pa.string(), str(ID)),
        ({"type": "string", "logicalType": "varchar"}, "x", pa.string(), "x"),
        (
            {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2},
            Decimal("-1234.56"), pa.decimal128(6, 2), Decimal("-1234.56"),
        ),
        (
            ["null", {"type": "fixed", "name": "d", "size": 30, "logicalType": "decimal", "precision": 70}],
            Decimal(10) ** 69, pa.decimal256(70, 0), Decimal(10) ** 69,
        ),
        ({"type": "array", "items": ["null", "int"]}, [1, None], pa.list_(pa.int32()), [1, None]),
        ({"type": "map", "values": "long"}, {"k": 1}, pa.map_(pa.string(), pa.int64()), [("k", 1)]),
        (of("int", ["null", "string"]) | {"name": "in"}, {"c0": 1, "c1": None}, None, {"c0": 1, "c1": None}),
        (
            {"type": "array", "items": ["null", DECIMAL]},
            [Decimal("1.5"), None], pa.list_(pa.decimal128(4, 1)), [Decimal("1.5"), None],
        ),
    ],
)  # fmt: skip
def test_a_value_comes_in_its_type_without_loss(
    tmp_path: Path, kind: Any, given: object, dtype: pa.DataType | None, expected: object
) -> None:
    rows = read(tmp_path, avro_file(of(kind), [{"c0": given}]))

    assert dtype is None or rows.schema.types == [dtype]
    assert rows.to_pylist() == [{"c0": expected}]


def test_moments_beyond_the_calendar_of_python_are_carried(tmp_path: Path) -> None:
    late = 2**60
    data = avro_header(of({"type": "long", "logicalType": "timestamp-micros"}), "null")

    rows = read(tmp_path, data + avro_block(of("long"), [{"c0": late}, {"c0": -late}], "null"))

    assert rows["c0"].cast(pa.int64()).to_pylist() == [late, -late]


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("timestamp-nanos", pa.timestamp("us", "UTC")), ("local-timestamp-nanos", pa.timestamp("us"))],
)
def test_nanoseconds_are_rounded_as_in_other_formats(tmp_path: Path, name: str, dtype: pa.DataType) -> None:
    kind = {"type": "long", "logicalType": name}
    data = avro_header(of(kind, of(kind) | {"name": "in"}), "null")
    records = [{"c0": each, "c1": {"c0": each}} for each in (1_500, 2_500, -1_501)]

    rows = read(tmp_path, data + avro_block(of("long", of("long") | {"name": "in"}), records, "null"))

    assert rows.schema.field("c0").type == dtype
    assert rows["c0"].cast(pa.int64()).to_pylist() == [2, 2, -2]
    nested = pc.struct_field(rows["c1"], "c0").cast(pa.int64())
    assert nested.to_pylist() == [1_500, 2_500, -1_501]


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        (["int", "string"], "several types (int, string)"),
        (["long", "double"], "several types (long, double)"),
        (["int", "float"], "several types (int, float)"),
        ({"type": "fixed", "name": "d", "size": 12, "logicalType": "duration"}, "logical type 'duration'"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 80}, "80 digits"),
        ({"type": "array", "items": "null"}, "nothing but null"),
        ({"type": "record", "name": "t", "fields": [{"name": "t", "type": ["null", "t"]}]}, "contains itself"),
        ({"type": "record", "name": "t", "fields": []}, "no records with fields"),
    ],
)
def test_what_cannot_be_carried_is_refused_by_the_name_of_its_column(tmp_path: Path, kind: Any, problem: str) -> None:
    with pytest.raises(ContractViolationError) as caught:
        read(tmp_path, avro_header(of("int", kind), "null"))

    assert problem in str(caught.value)
    assert "a.avro: column 'c1'" in str(caught.value)


def test_a_file_of_single_values_holds_no_records(tmp_path: Path) -> None:
    with pytest.raises(ContractViolationError, match=r"a\.avro: the file holds no records"):
        read(tmp_path, avro_header("string", "null"))


BLOCK = avro_block(ROW, [{"a": n} for n in range(10)], "null")


@pytest.mark.parametrize(
    ("damaged", "problem"),
    [
        (avro_bytes("long", 3) + avro_bytes("long", 2**40) + b"x", "impossible size"),
        (avro_block(ROW, [{"a": 1}], "null", count=2**50), "more records than it has bytes"),
        (avro_block(ROW, [{"a": 1}], "null", count=2), "cannot be read as avro"),
        (avro_block(ROW, [{"a": 1}, {"a": 2}], "null", count=1), "cannot be read as avro"),
        (BLOCK[:-16] + b"x" * 16, "does not end where it says"),
        (BLOCK[:-20], "cannot be read as avro"),
        (b"\xff" * 30, "too long"),
    ],
)
def test_a_block_that_is_not_what_it_says_is_told_and_what_comes_before_is_kept(
    tmp_path: Path, damaged: bytes, problem: str
) -> None:
    data = avro_header(ROW, "null") + BLOCK + damaged

    with pytest.raises(BadDataError, match=rf"a\.avro.*{problem}"):
        read(tmp_path, data)
    assert read(tmp_path, data, on_bad_file="skip")["a"].to_pylist()[:10] == list(range(10))


def test_damage_costs_only_its_own_piece_of_a_large_file(tmp_path: Path) -> None:
    data = bytearray(avro_file(ROW, ({"a": n} for n in range(100_000)), each=500))
    at = data.index(MARKER, len(data) // 2)
    data[at : at + 16] = b"x" * 16
    (tmp_path / "out").mkdir()

    found = read(tmp_path, bytes(data), on_bad_file="skip", unit_size=64 * 1024)["a"].to_pylist()

    assert 60_000 < len(found) < 100_000
    assert len(set(found)) == len(found)
    assert {0, 99_999} <= set(found)


def test_a_checksum_that_is_wrong_is_seen(tmp_path: Path) -> None:
    data = avro_file(ROW, [{"a": 1}], "snappy")
    wrong = bytearray(data)
    wrong[-17] ^= 1

    assert read(tmp_path, data)["a"].to_pylist() == [1]
    with pytest.raises(BadDataError, match="checksum"):
        read(tmp_path, bytes(wrong))


def test_a_codec_that_nobody_knows_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadDataError, match="compressed with 'lz77'"):
        read(tmp_path, avro_header(ROW, "lz77"))


def test_a_decimal_of_more_digits_than_declared_is_no_other_number(tmp_path: Path) -> None:
    wide = of({"type": "bytes", "logicalType": "decimal", "precision": 4})

    with pytest.raises(BadDataError, match=r"a\.avro"):
        read(tmp_path, avro_header(wide, "null") + avro_block(of("bytes"), [{"c0": b"\x7f\xff\xff"}], "null"))
