"""Operations on text that always give text: trim, normal forms, replacements, case, texts that mean null, email."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import assert_never
from typing import cast as typed

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from dataproc.domain.cells import Cells
from dataproc.domain.transforms.clean import Case, CleanTransform, Form, Replacement, Trim
from dataproc.transforms.columns import cells_of, demand_text, text_names, with_cells
from dataproc.transforms.emails import is_lower, with_lower_domain
from dataproc.transforms.operations import Outcome
from dataproc.transforms.text_bytes import has_plain_ends

ZERO_WIDTH = "\u200b\u200c\u200d\u2060\ufeff\u180e"
INVISIBLE = ZERO_WIDTH + "".join(char for code in range(0x3001) if (char := chr(code)).isspace())
"""Characters without a width, and the white space of Unicode."""
Change = Callable[[str, Cells], Cells]


@dataclass(frozen=True, slots=True)
class OnText:
    """Changes text columns: those that are named, or all of them."""

    where: str
    columns: tuple[str, ...] | None
    change: Change

    def schema(self, before: pa.Schema) -> pa.Schema:
        """Return `before`, or name a column that is missing or no text."""
        demand_text(before, self.columns or (), self.where)
        return before

    def apply(self, rows: pa.Table) -> Outcome:
        """Return the rows with other text."""
        for name in text_names(rows.schema) if self.columns is None else self.columns:
            before = cells_of(rows, name)
            after = self.change(name, before)
            rows = rows if after is before else with_cells(rows, name, after)
        return Outcome(rows)


def trimming(trim: bool | tuple[str, ...] | Trim) -> OnText:  # noqa: FBT001 - the field of the specification
    """Return the operation that strips white space."""
    if isinstance(trim, Trim):
        strip = bare if trim.zero_width else trimmed
        return OnText("clean.trim", trim.columns, lambda _, cells: strip(cells))
    columns = trim if isinstance(trim, tuple) else None
    return OnText("clean.trim", columns, lambda _, cells: trimmed(cells))


def trimmed(cells: Cells) -> Cells:
    """Return text without the white space around it."""
    return cells if has_plain_ends(cells) else pc.utf8_trim_whitespace(cells)


def bare(cells: Cells) -> Cells:
    """Return text without the white space and the characters without a width around it."""
    return cells if has_plain_ends(cells) else pc.utf8_trim(cells, INVISIBLE)


def normalising(form: Form | Mapping[str, Form]) -> OnText:
    """Return what brings text into a normal form of Unicode."""
    if isinstance(form, str):
        return OnText("clean.unicode", None, lambda _, cells: normal(form, cells))
    return OnText("clean.unicode", tuple(form), lambda name, cells: normal(form[name], cells))


def normal(form: Form, cells: Cells) -> Cells:
    """Return text in a normal form of Unicode."""
    return typed("Cells", pc.call_function("utf8_normalize", [cells], pc.Utf8NormalizeOptions(form)))


def replacing(replacements: Mapping[str, tuple[Replacement, ...]]) -> OnText:
    """Return what replaces parts of text."""

    def change(name: str, cells: Cells) -> Cells:
        for each in replacements[name]:
            replace = pc.replace_substring_regex if each.regex else pc.replace_substring
            cells = replace(cells, each.find, each.to)
        return cells

    return OnText("clean.replace", tuple(replacements), change)


def in_case(case: Case, cells: Cells) -> Cells:
    """Return text in upper, lower or title case."""
    match case:
        case "upper":
            return pc.utf8_upper(cells)
        case "lower":
            return cells if t.is_string(cells.type) and is_lower(cells) else pc.utf8_lower(cells)
        case "title":
            return pc.utf8_title(cells)
        case _:
            assert_never(case)


def without(texts: tuple[str, ...], cells: Cells) -> Cells:
    """Return cells with null in place of texts that mean it."""
    means_null = pc.is_in(cells, pa.array(texts, cells.type))
    return pc.if_else(means_null, None, cells) if pc.any(means_null).as_py() else cells


def nulling(texts: tuple[str, ...] | Mapping[str, tuple[str, ...]]) -> OnText:
    """Return what puts null in place of texts that mean it."""
    if isinstance(texts, tuple):
        return OnText("clean.null_texts", None, lambda _, cells: without(texts, cells))
    return OnText("clean.null_texts", tuple(texts), lambda name, cells: without(texts[name], cells))


def texts(spec: CleanTransform) -> list[OnText]:
    """Return what a step does with text, in order."""
    found = [
        trimming(spec.trim) if spec.trim else None,
        normalising(spec.unicode) if spec.unicode else None,
        replacing(spec.replace) if spec.replace else None,
        OnText("clean.case", tuple(spec.case), lambda name, cells: in_case(spec.case[name], cells))
        if spec.case
        else None,
        nulling(spec.null_texts) if spec.null_texts else None,
        OnText("clean.email", spec.email, lambda _, cells: with_lower_domain(trimmed(cells))) if spec.email else None,
    ]
    return [each for each in found if each is not None]
