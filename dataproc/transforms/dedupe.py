"""The `dedupe` step: doubled rows within a chunk go at once, those across chunks when all rows of the run are there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from dataproc.domain.cells import Mask
from dataproc.domain.chunk import Chunk
from dataproc.domain.keys import BY, KeyRule, come_once, key_schema, keys_of
from dataproc.domain.transforms.dedupe import DedupeTransform, KeepEarliest, KeepLatest
from dataproc.transforms.columns import demand_comparable

Keep = Literal["first", "last", "latest", "earliest"]
PLACE = "place"


@dataclass(frozen=True, slots=True)
class Dedupe:
    """Leaves one row for each key."""

    spec: DedupeTransform

    @property
    def keep(self) -> Keep:
        """Which of the rows stays."""
        match self.spec.keep:
            case KeepLatest():
                return "latest"
            case KeepEarliest():
                return "earliest"
            case place:
                return place

    @property
    def by(self) -> str | None:
        """The column that decides, if it is not the order of the source."""
        match self.spec.keep:
            case KeepLatest(latest=column) | KeepEarliest(earliest=column):
                return column
            case _:
                return None

    def schema(self, before: pa.Schema) -> pa.Schema:
        """Return `before`, or name a column that is missing or has no order."""
        demand_comparable(before, self.spec.keys, "dedupe.keys")
        demand_comparable(before, () if self.by is None else (self.by,), "dedupe.keep")
        return before

    def rules(self, before: pa.Schema) -> Sequence[KeyRule]:
        """Return the rule over all rows of the run."""
        return (KeyRule(self.spec.keys, key_schema(before, self.spec.keys, self.by), "dedupe", self.keep),)

    def apply(self, chunk: Chunk) -> Chunk:
        """Return the chunk with one row for each key, and with these keys."""
        keys = keys_of(chunk.rows, self.spec.keys, self.by)
        stays = staying(keys, self.keep)
        if stays.all():
            return chunk.keep(chunk.rows).with_keys(keys)
        left = pa.array(stays)
        doubled = len(stays) - int(stays.sum())
        return chunk.keep(chunk.rows.filter(left), deduplicated=doubled).with_keys(keys.filter(left))


def staying(keys: pa.Table, keep: Keep) -> Mask:
    """Return which rows stay."""
    names = [name for name in keys.column_names[:-1] if name != BY]
    if are_distinct(keys.select(names)):
        return np.ones(keys.num_rows, np.bool_)
    order = in_order(keys, keep)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    numbered = keys.select(names).append_column(PLACE, pa.array(place))
    best = numbered.group_by(names, use_threads=False).aggregate([(PLACE, "min")])
    stays = np.zeros(len(order), np.bool_)
    stays[order[best[f"{PLACE}_min"].to_numpy()]] = True
    return stays


def are_distinct(keys: pa.Table) -> bool:
    """Whether keys, if they are whole numbers, are seen at once to be distinct."""
    if keys.num_columns != 1 or not t.is_integer(keys[0].type) or keys[0].null_count:
        return False
    return come_once(keys[0].to_numpy())


def in_order(keys: pa.Table, keep: Keep) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Return the places of the rows, the one first that would rather stay."""
    places = np.arange(keys.num_rows)
    match keep:
        case "first":
            return places
        case "last":
            return places[::-1]
        case "latest" | "earliest":
            way: Literal["ascending", "descending"] = "descending" if keep == "latest" else "ascending"
            numbered = pa.table([keys[BY], pa.array(places)], names=[BY, PLACE])
            return np.asarray(pc.sort_indices(numbered, sort_keys=[(BY, way), (PLACE, "ascending")]), np.int64)
        case _:
            assert_never(keep)
