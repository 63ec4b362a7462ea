"""Operations that make columns out of parts of text: JSON by paths, and splits."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataproc.domain.cells import Cells, failing
from dataproc.domain.transforms.clean import Split as SplitSpec
from dataproc.transforms.breaks import Break
from dataproc.transforms.columns import cells_of, demand_new, demand_text, with_new
from dataproc.transforms.expressions import in_one_piece
from dataproc.transforms.operations import Outcome
from dataproc.transforms.sandbox import computed, sandbox

TEXT = pa.string()


@dataclass(frozen=True, slots=True)
class ParseJson:
    """Values within JSON text become columns of text."""

    columns: Mapping[str, Mapping[str, str]]

    def schema(self, before: pa.Schema) -> pa.Schema:
        """Return `before` with the new columns."""
        demand_text(before, self.columns, "clean.parse_json")
        new = [name for paths in self.columns.values() for name in paths]
        demand_new(before, new, "clean.parse_json")
        return pa.schema([*before, *(pa.field(name, TEXT) for name in new)])

    def apply(self, rows: pa.Table) -> Outcome:
        """Return the rows with the new columns; what is no JSON breaks a rule."""
        breaks = list[Break]()
        for name, paths in self.columns.items():
            cells, bad = json_cells(cells_of(rows, name))
            if bad is not None:
                breaks.append(Break("json", name, f"column {name!r} is no JSON", bad))
            rows = with_new(rows, picked(cells, paths))
        return Outcome(rows, breaks)


def json_cells(cells: Cells) -> tuple[Cells, "np.ndarray[Any, np.dtype[np.bool_]] | None"]:
    """Return text with null where it is no JSON, and where that is; `None`: nowhere."""
    is_json = in_one_piece(computed(pa.table({"x": cells}), "json_valid(x)"))
    if pc.all(is_json, min_count=0).as_py():
        return cells, None
    return pc.if_else(is_json, cells, None), failing(is_json)


def picked(cells: Cells, paths: Mapping[str, str]) -> dict[str, Cells]:
    """Return what stands at each path, as text; null where there is nothing."""
    quoted = ", ".join("'" + path.replace("'", "''") + "'" for path in paths.values())
    with sandbox().cursor() as cursor:
        relation = cursor.from_arrow(pa.table({"x": cells})).project(f"json_extract_string(x, [{quoted}]) AS x")
        values = relation.project(", ".join(f"x[{at + 1}] AS c{at}" for at in range(len(paths)))).to_arrow_table()
    return {name: cells_of(values, f"c{at}").cast(TEXT) for at, name in enumerate(paths)}


@dataclass(frozen=True, slots=True)
class Split:
    """Text is cut into columns."""

    columns: Mapping[str, SplitSpec]

    def schema(self, before: pa.Schema) -> pa.Schema:
        """Return `before` with the new columns."""
        demand_text(before, self.columns, "clean.split")
        new = [name for split in self.columns.values() for name in split.into]
        demand_new(before, new, "clean.split")
        return pa.schema([*before, *(pa.field(name, TEXT) for name in new)])

    def apply(self, rows: pa.Table) -> Outcome:
        """Return the rows with the new columns."""
        for name, split in self.columns.items():
            rows = with_new(rows, dict(zip(split.into, parts(cells_of(rows, name), split), strict=True)))
        return Outcome(rows)


def parts(cells: Cells, split: SplitSpec) -> list[Cells]:
    """Return each part of the text, null where there are fewer; the last one holds the rest."""
    cut = pc.split_pattern_regex if split.regex else pc.split_pattern
    lists = cut(cells, split.by, max_splits=len(split.into) - 1)
    offsets = np.asarray(lists.offsets)
    return [part(lists, offsets, at) for at in range(len(split.into))]


def part(lists: "pa.ListArray[Any]", offsets: "np.ndarray[Any, np.dtype[np.int32]]", at: int) -> Cells:
    """Return the element at a place of each list, null where there is none."""
    places = offsets[:-1] + at
    missing = places >= offsets[1:]
    return lists.values.take(pa.array(places, pa.int32(), mask=missing))
