"""Rules over the keys of all rows of a run: what no worker can decide alone.

A transform that has such a rule gives the keys of its rows along with the chunk (`Chunk.keys`), as they are at that
step; so it does not matter which of the rows, and which of their columns, later steps leave. The load decides when all
rows are there, by the place of each row: the number of its unit, and its position in it.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from dataproc.domain.chunk import POSITION, POSITION_FIELD

BY = "by"
"""The column of a table of keys whose values decide which row stays."""


@dataclass(frozen=True, slots=True)
class KeyRule:
    """One row for each key: which one stays, and what becomes of the others.

    `schema` is that of the keys: a field `k0`, `k1`, … for each column, and `BY` if `keep` is `latest` or `earliest`.
    The others are left out as doubled (`dedupe`), or as rows that break a rule (`quarantine`, `drop`, `fail`), which a
    null in the key never does. `columns` is what errors call the key.
    """

    columns: tuple[str, ...]
    schema: pa.Schema = field(repr=False)
    others: Literal["dedupe", "quarantine", "drop", "fail"]
    keep: Literal["first", "last", "latest", "earliest"] = "first"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the key's fields."""
        return tuple(name for name in self.schema.names if name != BY)

    @property
    def nulls_are_equal(self) -> bool:
        """Whether keys with a null can be the same."""
        return self.others == "dedupe"

    @property
    def reason(self) -> str:
        """What is wrong with the others."""
        return f"{', '.join(map(repr, self.columns))} is not unique in this run"


def come_once(values: "np.ndarray[Any, Any]") -> bool:
    """Whether values of fixed size are distinct: sorted, 2 million are compared in 0.02 s.

    `np.unique` of numpy 2 hashes them, which takes 1.5 s; grouping in Arrow takes six times as long as sorting.
    """
    found = np.sort(values)
    return bool((found[1:] != found[:-1]).all())


def key_schema(before: pa.Schema, columns: tuple[str, ...], by: str | None = None) -> pa.Schema:
    """Return the schema of the keys of rows that have the schema `before`."""
    named = [*((f"k{at}", name) for at, name in enumerate(columns)), *([] if by is None else [(BY, by)])]
    return pa.schema([pa.field(name, key_type(before.field(column).type)) for name, column in named])


def key_type(dtype: pa.DataType) -> pa.DataType:
    """Return the type in which values of `dtype` are compared: as they are, but out of what is around them."""
    if t.is_dictionary(dtype) or t.is_run_end_encoded(dtype):
        return key_type(dtype.value_type)
    if isinstance(dtype, pa.BaseExtensionType):
        return key_type(dtype.storage_type)
    if t.is_decimal256(dtype):
        return pa.string()
    return pa.float32() if t.is_float16(dtype) else dtype


def keys_of(rows: pa.Table, columns: tuple[str, ...], by: str | None = None) -> pa.Table:
    """Return the keys of rows, each with its position, in a form in which equal values are the same."""
    schema = key_schema(rows.schema, columns, by)
    keys = [with_one_zero(rows[name].cast(schema.field(at).type)) for at, name in enumerate(columns)]
    deciding = [] if by is None else [without_nan(rows[by].cast(schema.field(BY).type))]
    return pa.table([*keys, *deciding, rows[POSITION]], schema=schema.append(POSITION_FIELD))


def with_one_zero(values: "pa.ChunkedArray[Any]") -> "pa.ChunkedArray[Any]":
    """Return values without the second zero that binary fractions have."""
    zero: Any = pa.scalar(0.0, values.type) if t.is_floating(values.type) else None
    return values if zero is None else pc.add(values, zero)


def without_nan(values: "pa.ChunkedArray[Any]") -> "pa.ChunkedArray[Any]":
    """Return values with null in place of NaN, about whose order Arrow and PostgreSQL disagree."""
    return pc.if_else(pc.is_nan(values), None, values) if t.is_floating(values.type) else values
