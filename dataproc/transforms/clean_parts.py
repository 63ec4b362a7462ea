"""Operations that make columns out of parts of text: JSON by paths, and splits."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataproc.domain.cells import Cells, Mask
from dataproc.domain.transforms.clean import Split as SplitSpec
from dataproc.transforms.breaks import Break
from dataproc.transforms.columns import cells_of, demand_new, demand_text, with_new
from dataproc.transforms.operations import Outcome

TEXT = pa.string()
STEP = re.compile(r'\[([0-9]+)\]|\."([^"]+)"|\.([A-Za-z_][A-Za-z0-9_]*)')
ANY = msgspec.json.Decoder(msgspec.Raw)
OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
STRING = msgspec.json.Decoder(str)


@dataclass(frozen=True, slots=True)
class ParseJson:
    """Values within JSON text become columns of text; numbers keep the characters of the source."""

    columns: Mapping[str, Mapping[str, str]]

    def schema(self, before: pa.Schema) -> pa.Schema:
        """Return `before` with the new columns."""
        demand_text(before, self.columns, "clean.parse_json")
        new = [name for paths in self.columns.values() for name in paths]
        demand_new(before, new, "clean.parse_json")
        return pa.schema([*before, *(pa.field(name, TEXT) for name in new)])

    def apply(self, rows: pa.Table) -> Outcome:
        """Return the rows with the new columns; text that is not JSON breaks a rule."""
        breaks = list[Break]()
        for name, paths in self.columns.items():
            found, bad = parts_of(cells_of(rows, name), paths)
            if bad.any():
                breaks.append(Break("json", name, f"column {name!r} is not JSON", bad))
            rows = with_new(rows, found)
        return Outcome(rows, breaks)


def parts_of(cells: Cells, paths: Mapping[str, str]) -> tuple[dict[str, Cells], Mask]:
    """Return the text at each path, null where there is nothing, and which cells are not JSON."""
    steps = {name: steps_of(path) for name, path in paths.items()}
    found: dict[str, list[str | None]] = {name: [] for name in paths}
    bad = np.zeros(len(cells), np.bool_)
    for at, text in enumerate(cells.to_pylist()):
        raw = None if text is None else text.encode()
        try:
            texts = [None if raw is None else text_at(raw, path) for path in steps.values()]
        except (msgspec.DecodeError, RecursionError):
            bad[at], texts = True, [None] * len(steps)
        for column, part in zip(found.values(), texts, strict=True):
            column.append(part)
    return {name: pa.array(column, TEXT) for name, column in found.items()}, bad


def steps_of(path: str) -> tuple[str | int, ...]:
    """Return the keys and indices of a path such as `$.tags[0]."the name"`."""
    return tuple(int(index) if index else quoted or key for index, quoted, key in STEP.findall(path))


def text_at(raw: bytes, steps: tuple[str | int, ...]) -> str | None:
    """Return the text of the value at a path: of a string what it says, of any other value its characters."""
    ANY.decode(raw)
    for step in steps:
        below = below_of(raw, step)
        if below is None:
            return None
        raw = bytes(below)
    if raw == b"null":
        return None
    return STRING.decode(raw) if raw.startswith(b'"') else raw.decode()


def below_of(raw: bytes, step: str | int) -> msgspec.Raw | None:
    """Return the value at a key of an object or an index of an array; `None`: there is none."""
    raw = raw.lstrip()
    if isinstance(step, str):
        return OBJECT.decode(raw).get(step) if raw.startswith(b"{") else None
    values = ARRAY.decode(raw) if raw.startswith(b"[") else []
    return values[step] if step < len(values) else None


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
