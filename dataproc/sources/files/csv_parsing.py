"""CSV text parsed by Arrow's reader."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import IO, Any, Literal, TypeVar, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.types as t

from dataproc.domain.sources.files import CsvOptions
from dataproc.sources.files.csv_bytes import is_utf8, parsed_bytes

Column = TypeVar("Column", "pa.Array[Any]", "pa.ChunkedArray[Any]")


def parsed_csv(
    block: bytes,
    options: CsvOptions,
    names: Sequence[str],
    types: Mapping[str, pa.DataType],
    ragged: list[pa_csv.InvalidRow],
    *,
    has_quoted_nulls: bool = False,
) -> pa.Table:
    """Return the rows of a block; those with too few or too many cells are added to `ragged`.

    With `has_quoted_nulls`, the texts that mean null do so in quotes as well.
    """
    parse = partial(parsed_text, has_quoted_nulls=has_quoted_nulls)
    if not is_utf8(block):
        return parsed_bytes(parse, block, options, names, types, ragged=ragged)
    return parse(block, options, names, types, ragged)


def parsed_text(
    block: bytes,
    options: CsvOptions,
    names: Sequence[str],
    types: Mapping[str, pa.DataType],
    ragged: list[pa_csv.InvalidRow],
    *,
    has_quoted_nulls: bool = False,
) -> pa.Table:
    """Return the same for a block that is known to be UTF-8."""

    def put_aside(row: pa_csv.InvalidRow) -> Literal["skip", "error"]:
        ragged.append(row)
        return "skip"

    if not block or (block[0] in b"\r\n" and not block.strip(b"\r\n")):
        return pa.schema([(name, types.get(name, pa.string())) for name in names]).empty_table()
    return pa_csv.read_csv(
        cast("IO[bytes]", pa.BufferReader(block)),
        pa_csv.ReadOptions(column_names=list(names), use_threads=False, block_size=len(block) + 1),
        pa_csv.ParseOptions(
            delimiter=options.delimiter,
            quote_char=options.quote or False,
            escape_char=options.escape or False,
            newlines_in_values=True,
            invalid_row_handler=put_aside,
        ),
        pa_csv.ConvertOptions(
            column_types=dict(types),
            null_values=list(options.nulls),
            strings_can_be_null=True,
            quoted_strings_can_be_null=has_quoted_nulls,
        ),
    )


def is_read_from_text(dtype: pa.DataType) -> bool:
    """Whether Arrow's reader does not give the values that the text of a type stands for."""
    return t.is_decimal(dtype) or t.is_binary(dtype)


def without_blanks(cells: Column) -> Column:
    """Return cells with null in place of texts without characters."""
    if not t.is_string(cells.type):
        return cells
    found: Column = pc.if_else(pc.equal(cells, pa.scalar("")), pa.scalar(None, cells.type), cells)
    return found
