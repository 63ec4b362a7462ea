r"""Text as bytes, in the input forms of PostgreSQL's `bytea`: hexadecimal (`\x00ff`) and escape (`a\\b\000`).

https://www.postgresql.org/docs/current/datatype-binary.html
"""

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataproc.domain.cells import Cells, Mask

ESCAPED = re.compile(rb"\\(?:(\\)|([0-3][0-7]{2}))")
ESCAPE_FORM = re.compile(rb"(?:[^\\]|\\\\|\\[0-3][0-7]{2})*", re.DOTALL)


def byte_strings(text: Cells, dtype: pa.DataType) -> tuple[Cells, Mask]:
    """Return the bytes that texts stand for, null where a text has neither form, and where that is."""
    values = pa.array(list(map(bytes_of, text.to_pylist())), dtype)
    return values, np.asarray(pc.and_(values.is_null(), text.is_valid()), np.bool_)


def bytes_of(text: str | None) -> bytes | None:
    """Return the bytes that a text stands for; `None` for null, and for a text that has neither form."""
    if text is None or "\\" not in text:
        return None if text is None else text.encode()
    if not text.startswith("\\x"):
        written = text.encode()
        return ESCAPED.sub(unescaped, written) if ESCAPE_FORM.fullmatch(written) else None
    try:
        return bytes.fromhex(text[2:])
    except ValueError:
        return None


def unescaped(found: re.Match[bytes]) -> bytes:
    """Return the byte that an escape stands for."""
    return found[1] or bytes([int(found[2], 8)])
