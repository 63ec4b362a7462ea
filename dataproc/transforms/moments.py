"""Dates and times: read by formats, and brought into the zone that is meant."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from typing import cast as typed

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from dataproc.domain.cells import Cells, Mask
from dataproc.domain.transforms.formats import shape_of_format, tells_zone

UTC = pa.timestamp("us", "UTC")
LOCAL = pa.timestamp("us")


def from_formats(
    text: Cells, formats: Sequence[str], dtype: pa.DataType, zone: str | None
) -> tuple[Cells, Mask | None]:
    """Return text as dates or times by the first format that it has, and which cells have none; `None`: all have."""
    tidy = pc.utf8_trim_whitespace(text)
    found = nothing(len(text), dtype)
    for form in formats:
        found = pc.coalesce(found, in_zone(by_format(tidy, form), dtype, zone))
        if found.null_count == text.null_count:
            return found, None
    return found, mask_of(pc.and_(found.is_null(), text.is_valid()))


def nothing(size: int, dtype: pa.DataType) -> Cells:
    """Return so many nulls."""
    return typed("Cells", pa.nulls(size, typed("Any", dtype)))


def by_format(text: Cells, form: str) -> Cells:
    """Return text as moments, or as local times where the format tells no zone; null where it has another shape."""
    import polars as pl  # it costs a third of a second, and most jobs need none of it

    fitting = pc.if_else(pc.match_substring_regex(text, shape(form)), text, None)
    if tells_zone(form):
        fitting = pc.replace_substring_regex(fitting, "Z", "+0000")
    kind = pl.Datetime("us", "UTC" if tells_zone(form) else None)
    series = pl.Series("", fitting, dtype=pl.String).str.strptime(kind, form.replace(".%f", "%.f"), strict=False)
    return series.to_arrow().cast(UTC if tells_zone(form) else LOCAL)


@lru_cache(maxsize=256)
def shape(form: str) -> str:
    """Return the regular expression of a format."""
    return shape_of_format(form)


def in_zone(moments: Cells, dtype: pa.DataType, zone: str | None) -> Cells:
    """Return moments or local times as `dtype`, null where the clocks of the zone never showed such a time."""
    is_told = isinstance(moments.type, pa.TimestampType) and moments.type.tz is not None
    if isinstance(dtype, pa.TimestampType) and dtype.tz is not None:
        return (moments if is_told else assumed(moments, zone or "UTC")).cast(dtype)
    local = as_clocks_tell(moments.cast(pa.timestamp("us", zone or "UTC"))) if is_told else moments
    return local.cast(pa.date32(), safe=False) if t.is_date(dtype) else local.cast(dtype)


def assumed(local: Cells, zone: str) -> Cells:
    """Return local times as moments: of two hours with the same name the first, null for an hour that was left out."""
    moments: Cells = pc.assume_timezone(typed("Any", local), zone, ambiguous="earliest", nonexistent="earliest")
    was_shown = pc.equal(as_clocks_tell(moments), local)
    return typed("Cells", pc.if_else(was_shown, moments, None).cast(UTC))


def as_clocks_tell(moments: Cells) -> Cells:
    """Return moments as local times of their zone."""
    return typed("Cells", pc.local_timestamp(typed("Any", moments)))


def mask_of(cells: Cells) -> Mask:
    """Return truth values, of which none is null, as a mask."""
    return np.asarray(cells, dtype=np.bool_)
