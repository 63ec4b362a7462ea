"""Numbers as people write them: `1.234,50 €`, `(12)`, `3,5 %`, read digit by digit."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import MAX_PREC, Context, Decimal
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

from dataproc.arrow.numbers import is_true
from dataproc.domain.cells import Cells, Mask, cleared, failing
from dataproc.domain.source_columns import text_field
from dataproc.domain.transforms.clean import Numbers as NumbersSpec
from dataproc.transforms.breaks import Break
from dataproc.transforms.cast import cast
from dataproc.transforms.columns import cells_of, demand_text, with_column, with_type
from dataproc.transforms.operations import Outcome
from dataproc.transforms.types import arrow_type

BLANKS = r"[\s\x{a0}\x{2007}\x{2009}\x{202f}\x{3000}]"
"""White space, and the spaces that keep a number on one line."""
MINUS = r"[-\x{2212}\x{2013}]"
SIGN = r"[-+\x{2212}\x{2013}]"
SPACES = r"[ \x{a0}\x{2007}\x{2009}\x{202f}]"
SIGNS: Mapping[str, str] = {"'": r"['\x{2019}]", " ": SPACES}
"""What is read as the sign between groups of digits; others stand for themselves."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """Text becomes numbers, each digit as it is written."""

    columns: Mapping[str, NumbersSpec]

    def schema(self, before: pa.Schema) -> pa.Schema:
        """Return the new types, or name a column that is missing or not text."""
        demand_text(before, self.columns, "clean.numbers")
        for name, numbers in self.columns.items():
            if numbers.type is None:
                before = before.set(before.get_field_index(name), text_field(name, "numeric"))
            else:
                before = with_type(before, name, numbers.type, "clean.numbers")
        return before

    def apply(self, rows: pa.Table) -> Outcome:
        """Return the rows with numbers; text that is not a number of that form breaks a rule."""
        breaks = list[Break]()
        for name, numbers in self.columns.items():
            cells, bad = numbers_of(cells_of(rows, name), numbers)
            at = rows.column_names.index(name)
            if numbers.type is None:
                rows = rows.set_column(at, text_field(name, "numeric"), cells)
            else:
                rows = with_column(rows, name, cells)
            if bad.any():
                breaks.append(Break("number", name, f"column {name!r} is not a number of the form given", bad))
        return Outcome(rows, breaks)


def numbers_of(cells: Cells, form: NumbersSpec) -> tuple[Cells, Mask]:
    """Return text as numbers of a form, and which cells are not."""
    bad = failing(pc.match_substring_regex(cells, pattern_of(form)))
    found = plain_numbers(cleared(cells, bad), form)
    if form.type is None:
        return found, bad
    values, not_fit = cast(found, arrow_type(form.type))
    return values, bad if not_fit is None else bad | not_fit


def plain_numbers(text: Cells, form: NumbersSpec) -> Cells:
    """Return numbers of a form as PostgreSQL and Python write them."""
    is_negative = pc.match_substring_regex(text, rf"[(]|{MINUS}")
    if form.thousands is not None:
        text = pc.replace_substring_regex(text, sign_pattern(form.thousands), "")
    is_percent = is_true(pc.match_substring(text, "%"))
    digits: Cells = pc.replace_substring_regex(text, rf"[^0-9{re.escape(form.decimal)}]", "")
    if form.decimal != ".":
        digits = pc.replace_substring(digits, form.decimal, ".")
    signed: Cells = pc.if_else(is_negative, pc.replace_substring_regex(digits, "^", "-"), digits)
    return hundredths(signed, is_percent) if is_percent.any() else signed


def hundredths(text: Cells, are_meant: Mask) -> Cells:
    """Return some numbers divided by 100, without a change of their digits."""
    exact = Context(prec=MAX_PREC)
    found = [
        f"{Decimal(str(each)).scaleb(-2, exact):f}" if is_meant and each is not None else each
        for each, is_meant in zip(text.to_pylist(), are_meant.tolist(), strict=True)
    ]
    return pa.array(found, pa.string())


def sign_pattern(sign: str) -> str:
    """Return a pattern of the sign between groups of digits."""
    return SIGNS.get(sign, re.escape(sign))


@lru_cache(maxsize=64)
def pattern_of(form: NumbersSpec) -> str:
    """Return the pattern that numbers of a form match.

    Groups have three digits, or, as in India between commas, two before the last three, and do not begin with a zero. A
    sign stands before or after the number, or parentheses around it. One currency sign may stand beside it.
    """
    decimal = re.escape(form.decimal)
    whole = r"\d+"
    if form.thousands is not None:
        group = sign_pattern(form.thousands)
        whole = rf"\d+|[1-9]\d{{0,2}}(?:{group}\d{{3}})+"
        if form.thousands == ",":
            whole += r"|[1-9]\d?(?:,\d{2})*,\d{3}"
        whole = f"(?:{whole})"
    number = rf"(?:{whole}(?:{decimal}\d*)?|{decimal}\d+)"
    if form.percent:
        number += rf"{BLANKS}*%?"
    forms, more = [number], ""
    if form.currency:
        forms += [rf"\p{{Sc}}{BLANKS}*{number}", rf"{number}{BLANKS}*\p{{Sc}}"]
        more = rf"|\p{{Sc}}{BLANKS}*{SIGN}{BLANKS}*{number}"
    body = f"(?:{'|'.join(forms)})"
    signed = rf"{SIGN}?{BLANKS}*{body}|{body}{BLANKS}*{MINUS}|[(]{BLANKS}*{body}{BLANKS}*[)]{more}"
    return rf"^{BLANKS}*(?:{signed}){BLANKS}*$"
