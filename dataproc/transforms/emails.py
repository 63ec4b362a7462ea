"""Which text is an address of email: a look at all bytes at once where that is enough, and a pattern where not."""

from typing import Any
from typing import cast as typed

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataproc.arrow.texts import joined_text
from dataproc.domain.cells import Cells
from dataproc.transforms.text_bytes import DELETE, SPACE, offsets_and_bytes

PATTERN = r"^[^@\s]{1,64}@[^@\s.]+(?:\.[^@\s.]+)+$"
LONGEST_NAME = 64
UPPER_IN_DOMAIN = r"(?s)@[^@]*\p{Lu}[^@]*$"
AT, DOT = ord("@"), ord(".")
A, LETTERS = np.uint8(ord("A")), 26


def is_email(cells: Cells) -> "pa.BooleanArray":
    """Return which cells are addresses; null is neither."""
    if all_plain(cells.drop_null() if cells.null_count else cells):
        return pc.is_valid(cells) if not cells.null_count else pc.if_else(cells.is_valid(), pa.scalar(value=True), None)
    return pc.match_substring_regex(cells, PATTERN)


def all_plain(cells: Cells) -> bool:
    """Whether all cells are addresses in ASCII, as nearly all are: a third of the time that the pattern takes."""
    edges, text = offsets_and_bytes(cells)
    if not text.size or text.min() <= SPACE or text.max() >= DELETE:
        return False
    starts, ends, at = edges[:-1], edges[1:], np.flatnonzero(text == AT)
    if len(at) != len(starts) or (at <= starts).any() or (at >= ends - 1).any() or (at - starts > LONGEST_NAME).any():
        return False
    dots = np.flatnonzero(text == DOT)
    if not dots.size or (np.diff(dots) == 1).any() or (text[at + 1] == DOT).any():
        return False
    # Nearly always there is one dot in each: then it is the last one, and need not be searched for.
    last = dots if len(dots) == len(at) else dots[np.maximum(np.searchsorted(dots, ends) - 1, 0)]
    return bool(((last > at) & (last < ends - 1)).all())


def with_lower_domain(cells: Cells) -> Cells:
    """Return addresses with domains in lower case; what is before the last `@` may tell cases apart, and stays."""
    if is_lower(cells):
        return cells
    upper = pc.match_substring_regex(cells, UPPER_IN_DOMAIN)
    if not pc.any(upper).as_py():
        return cells
    found = cells.filter(upper)
    name = pc.replace_substring_regex(found, "[^@]*$", "")
    domain = pc.utf8_lower(pc.replace_substring_regex(found, "(?s)^.*@", ""))
    return typed("Cells", pc.replace_with_mask(cells, typed("Any", upper), joined_text(name, domain)))


def is_lower(cells: Cells) -> bool:
    """Whether all text is ASCII without capitals, as most addresses are."""
    _, text = offsets_and_bytes(cells)
    return not text.size or bool(text.max() <= DELETE and not (text - A < LETTERS).any())
