"""Phone numbers as E.164 writes them: `+` and digits; an extension follows as RFC 3966 writes it."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataproc.domain.cells import Cells, Mask
from dataproc.domain.transforms.clean import Phone


def numbers(cells: Cells, phone: Phone) -> tuple[Cells, Mask | None]:
    """Return phone numbers in one form, null for what is none, and where that is; repeated values are read once."""
    found = cells.dictionary_encode()
    written: Cells = pa.array([number(str(text), phone) for text in found.dictionary.to_pylist()], pa.string())
    after: Cells = written.take(found.indices)
    if after.null_count == cells.null_count:
        return after, None
    return after, np.asarray(pc.and_(after.is_null(), cells.is_valid()), dtype=np.bool_)


def number(text: str, phone: Phone) -> str | None:
    """Return a phone number; `None`: the text is none, no such number can be, or its extension is refused."""
    import phonenumbers  # its tables cost a fifth of a second, and most jobs need none of them

    try:
        found = phonenumbers.parse(text, phone.region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(found):
        return None
    written = phonenumbers.format_number(found, phonenumbers.PhoneNumberFormat.E164)
    if not found.extension:
        return written
    return f"{written};ext={found.extension}" if phone.extension == "keep" else None
