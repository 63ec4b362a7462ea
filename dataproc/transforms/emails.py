"""Which text is an address of email, as the library email-validator judges its syntax.

The library takes 0.2 ms for an address. So a pattern decides on addresses in ASCII, in less than a microsecond, and the
library on the others: addresses with other characters, and with labels of IDNA (`xn--`). The tests compare both.
"""

from typing import Any
from typing import cast as typed

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataproc.arrow.texts import joined_text
from dataproc.domain.cells import Cells
from dataproc.transforms.text_bytes import DELETE, offsets_and_bytes

ATOM = r"[A-Za-z0-9_!#$%&'*+\-/=?^`{|}~]+"
LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
LAST_LABEL = r"(?:[A-Za-z0-9][A-Za-z0-9-]{0,61})?[A-Za-z]"
ADDRESS = rf"^{ATOM}(?:\.{ATOM})*@(?:{LABEL}\.)+{LAST_LABEL}$"
"""An address in ASCII (RFC 5321, RFC 1123) on a domain of at least two labels."""
SPECIAL = r"(?i)[@.](?:arpa|invalid|local|localhost|onion|test)$"
"""A domain that has no public servers (RFC 6761)."""
MAX_LENGTH, MAX_NAME_LENGTH = 254, 64
LONGEST_JUDGED = 4 * MAX_LENGTH
"""Characters of the longest text that the library looks at; normal forms of Unicode may be shorter."""
LONG_NAME = rf"^[^@]{{{MAX_NAME_LENGTH + 1}}}"
UNDECIDED = r"[^\x00-\x7f]|[@.][A-Za-z0-9]{2}--"
"""Text on which the pattern does not decide."""
UPPER_IN_DOMAIN = r"(?s)@[^@]*\p{Lu}[^@]*$"
A, LETTERS = np.uint8(ord("A")), 26


def is_email(cells: Cells) -> "pa.BooleanArray":
    """Return which cells are addresses; null is neither."""
    found: Any = pc.match_substring_regex(cells, ADDRESS)
    found = pc.and_not(found, pc.match_substring_regex(cells, SPECIAL))
    lengths: Any = pc.binary_length(typed("pa.StringArray", cells))
    if (pc.max(lengths).as_py() or 0) > MAX_NAME_LENGTH:
        is_long = pc.or_(pc.match_substring_regex(cells, LONG_NAME), pc.greater(lengths, pa.scalar(MAX_LENGTH)))
        found = pc.and_not(found, is_long)
    if pc.all(found, min_count=0).as_py() and not pc.any(pc.match_substring(cells, "--")).as_py():
        return typed("pa.BooleanArray", found)
    undecided: Any = pc.coalesce(pc.match_substring_regex(cells, UNDECIDED), pa.scalar(value=False))
    judged = [is_valid(str(text)) for text in cells.filter(undecided).to_pylist()]
    return typed("pa.BooleanArray", pc.replace_with_mask(found, undecided, pa.array(judged, pa.bool_())))


def is_valid(text: str) -> bool:
    """Return whether the library takes a text for an address; whether its domain exists is not looked at."""
    if len(text) > LONGEST_JUDGED:
        return False
    import email_validator  # it costs a tenth of a second, and most jobs do not need it

    try:
        email_validator.validate_email(text, check_deliverability=False, strict=True)
    except email_validator.EmailNotValidError:
        return False
    return True


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
