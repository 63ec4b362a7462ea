"""Rows as files of every kind that is read, such as `csv.gz` or `avro+snappy`."""

import bz2
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import cramjam
import fastavro
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

MARKER = bytes(range(16))


def some_rows(first: int = 0, count: int = 3000) -> pa.Table:
    """Return rows of four types, with nulls, quotes and letters that are not ASCII."""
    numbers = range(first, first + count)
    return pa.table(
        {
            "id": pa.array(numbers, pa.int64()),
            "price": pa.array([n / 4 for n in numbers], pa.float64()),
            "name": pa.array([None if n % 5 == 3 else f'Zoë "{n}", the {n}th' for n in numbers], pa.string()),
            "good": pa.array([n % 3 == 0 for n in numbers], pa.bool_()),
        }
    )


def with_prices(rows: pa.Table) -> pa.Table:
    """Return rows that were read with `price` as a number: text formats keep the characters of exact numbers."""
    if "price" not in rows.column_names or not pa.types.is_string(rows["price"].type):
        return rows
    return rows.set_column(rows.column_names.index("price"), "price", rows["price"].cast(pa.float64()))


def encoded(rows: pa.Table, kind: str) -> bytes:
    """Return rows as a file of a kind: its format, `+` and the codec within, `.` and what packs it."""
    name, _, packing = kind.partition(".")
    form, _, codec = name.partition("+")
    data = as_avro(rows, codec or "null") if form == "avro" else WRITERS[form](rows)
    return PACK[packing](data)


def as_parquet(rows: pa.Table) -> bytes:
    """Return a Parquet file of several row groups."""
    sink = io.BytesIO()
    pq.write_table(rows, sink, row_group_size=500, compression="none", use_dictionary=False)
    return sink.getvalue()


def as_csv(rows: pa.Table) -> bytes:
    """Return a CSV file."""
    sink = io.BytesIO()
    pc.write_csv(rows, sink)
    return sink.getvalue()


def as_json_lines(rows: pa.Table) -> bytes:
    """Return a JSON Lines file."""
    return "".join(json.dumps(row) + "\n" for row in rows.to_pylist()).encode()


def as_json(rows: pa.Table) -> bytes:
    """Return a JSON file with one array."""
    return json.dumps(rows.to_pylist(), ensure_ascii=False).encode()


def as_avro(rows: pa.Table, codec: str = "null") -> bytes:
    """Return an Avro file of blocks of a few records."""
    types = {"int64": "long", "double": "double", "string": "string", "bool": "boolean"}
    fields = [{"name": f.name, "type": ["null", types[str(f.type)]]} for f in rows.schema]
    schema = {"type": "record", "name": "row", "fields": fields}
    return avro_file(schema, rows.to_pylist(), codec, each=100)


def avro_file(schema: Any, records: Iterable[Mapping[str, Any]], codec: str = "null", each: int = 1000) -> bytes:
    """Return an Avro file with blocks of so many records."""
    rest = list(records)
    blocks = [avro_block(schema, rest[at : at + each], codec) for at in range(0, len(rest), each)]
    return avro_header(schema, codec) + b"".join(blocks)


def avro_header(schema: Any, codec: str) -> bytes:
    """Return what an Avro file begins with."""
    meta = {"avro.schema": json.dumps(schema).encode(), "avro.codec": codec.encode()}
    return b"Obj\x01" + avro_bytes({"type": "map", "values": "bytes"}, meta) + MARKER


def avro_block(schema: Any, records: Iterable[Mapping[str, Any]], codec: str, *, count: int | None = None) -> bytes:
    """Return a block of records, which may claim to be of another count."""
    found = list(records)
    data = AVRO_PACK[codec](b"".join(avro_bytes(schema, record) for record in found))
    head = avro_bytes("long", len(found) if count is None else count) + avro_bytes("long", len(data))
    return head + data + MARKER


def avro_bytes(schema: Any, value: Any) -> bytes:
    """Return a value as Avro writes it."""
    sink = io.BytesIO()
    fastavro.schemaless_writer(sink, schema, value)
    return sink.getvalue()


def hadoop_snappy(data: bytes) -> bytes:
    """Return data as Hadoop packs it: blocks of parts, each with its size before it."""
    packed = b""
    for at in range(0, len(data), 50_000):
        block = data[at : at + 50_000]
        packed += len(block).to_bytes(4, "big") + sized(block[:30_000]) + sized(block[30_000:])
    return packed


def sized(part: bytes) -> bytes:
    """Return a packed part of a block with its size before it."""
    if not part:
        return b""
    packed = bytes(cramjam.snappy.compress_raw(part))
    return len(packed).to_bytes(4, "big") + packed


def zstd(data: bytes) -> bytes:
    """Return data packed with Zstandard."""
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


def deflate(data: bytes) -> bytes:
    """Return data packed with deflate, without a header."""
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


WRITERS: Mapping[str, Callable[[pa.Table], bytes]] = {
    "parquet": as_parquet,
    "csv": as_csv,
    "jsonl": as_json_lines,
    "json": as_json,
}
PACK: Mapping[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "gz": gzip.compress,
    "zst": zstd,
    "bz2": bz2.compress,
    "sz": lambda data: bytes(cramjam.snappy.compress(data)),
    "snappy": hadoop_snappy,
}
AVRO_PACK: Mapping[str, Callable[[bytes], bytes]] = {
    "null": bytes,
    "deflate": deflate,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstandard": zstd,
    "snappy": lambda data: bytes(cramjam.snappy.compress_raw(data)) + zlib.crc32(data).to_bytes(4, "big"),
}
