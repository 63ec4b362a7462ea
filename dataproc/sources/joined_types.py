"""The Arrow type that holds the values of two others without loss, at any depth."""

from typing import Any

import pyarrow as pa
import pyarrow.types as t

DIGITS = {8: 3, 16: 5, 32: 10, 64: 20}
"""By the bits of a whole number, signed or not, how many digits it may have."""
WIDEST_DECIMAL = 76
"""Digits of Arrow's decimal256."""


def joined_type(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """Return the type that holds the values of both, at any depth; `None`: there is none."""
    if one == other or t.is_null(other):
        return one
    if t.is_null(one):
        return other
    if isinstance(one, pa.TimestampType) and isinstance(other, pa.TimestampType):
        return joined_times(one, other)
    if t.is_nested(one) or t.is_nested(other):
        return joined_nested(one, other)
    if t.is_decimal(one) or t.is_decimal(other) or is_wider_than_bigint(one, other):
        return joined_decimals(one, other)
    # Arrow would carry text and bytes as bytes.
    return None if is_text(one) != is_text(other) and is_bytes(one) != is_bytes(other) else by_arrow(one, other)


def joined_times(one: Any, other: Any) -> pa.DataType | None:
    """Return the type of times in two zones: UTC has the same moments. Times without a zone are not moments."""
    if (one.tz is None) != (other.tz is None):
        return None
    dtype: pa.DataType = pa.timestamp("us", one.tz if one.tz == other.tz else "UTC")
    return dtype


def joined_nested(one: Any, other: Any) -> pa.DataType | None:
    """Return the type of lists, records and maps of two types."""
    if isinstance(one, pa.StructType) and isinstance(other, pa.StructType):
        return joined_records(one, other)
    if isinstance(one, pa.MapType) and isinstance(other, pa.MapType):
        key, item = joined_type(one.key_type, other.key_type), joined_type(one.item_type, other.item_type)
        return None if key is None or item is None else pa.map_(key, item)
    if is_list(one) and is_list(other):
        value = joined_type(one.value_type, other.value_type)
        return None if value is None else pa.list_(value)
    return None


def joined_records(one: pa.StructType, other: pa.StructType) -> pa.DataType | None:
    """Return the type of records with the fields of both."""
    types = {field.name: field.type for field in one}
    for field in other:
        dtype = joined_type(types.get(field.name, field.type), field.type)
        if dtype is None:
            return None
        types[field.name] = dtype
    return pa.struct(list(types.items()))


def joined_decimals(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """Return the decimal type with room for all digits of two exact numbers."""
    if (digits := digits_of(one)) is None or (others := digits_of(other)) is None:
        return None
    whole, fraction = (max(pair) for pair in zip(digits, others, strict=True))
    if whole + fraction > WIDEST_DECIMAL:
        return None
    make = pa.decimal128 if whole + fraction <= WIDEST_DECIMAL // 2 else pa.decimal256
    return make(whole + fraction, fraction)


def is_wider_than_bigint(one: pa.DataType, other: pa.DataType) -> bool:
    """Return whether no type of whole numbers holds the values of both: one is unsigned with 64 bits, one is signed."""
    return (t.is_uint64(one) and t.is_signed_integer(other)) or (t.is_signed_integer(one) and t.is_uint64(other))


def are_fractions(one: pa.DataType, other: pa.DataType) -> bool:
    """Whether decimals meet binary fractions; their values are checked when they are read, but not in nested fields."""
    return (t.is_decimal(one) and t.is_floating(other)) or (t.is_floating(one) and t.is_decimal(other))


def digits_of(dtype: Any) -> tuple[int, int] | None:
    """Return how many digits a number has before and after its point; `None`: it is not exact."""
    if t.is_decimal(dtype):
        return dtype.precision - dtype.scale, dtype.scale
    return (DIGITS[dtype.bit_width], 0) if t.is_integer(dtype) else None


def by_arrow(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """Return the type that Arrow finds for both."""
    schemas = [pa.schema([pa.field("x", each)]) for each in (one, other)]
    try:
        dtype: pa.DataType = pa.unify_schemas(schemas, promote_options="permissive").field("x").type
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return None
    return dtype


def is_text(dtype: pa.DataType) -> bool:
    """Whether values are text."""
    return t.is_string(dtype) or t.is_large_string(dtype) or t.is_string_view(dtype)


def is_bytes(dtype: pa.DataType) -> bool:
    """Whether values are bytes."""
    return t.is_binary(dtype) or t.is_large_binary(dtype) or t.is_binary_view(dtype) or t.is_fixed_size_binary(dtype)


def is_list(dtype: pa.DataType) -> bool:
    """Whether values are lists."""
    return t.is_list(dtype) or t.is_large_list(dtype) or t.is_fixed_size_list(dtype)
