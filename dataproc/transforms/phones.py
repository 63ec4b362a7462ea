"""Phone numbers as E.164 writes them: `+` and digits."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataproc.domain.cells import Cells, Mask


def numbers(cells: Cells, region: str | None) -> tuple[Cells, Mask | None]:
    """Return phone numbers in one form, null for what is none, and where that is; repeated values are read once."""
    found = cells.dictionary_encode()
    written: Cells = pa.array([number(str(text), region) for text in found.dictionary.to_pylist()], pa.string())
    after: Cells = written.take(found.indices)
    if after.null_count == cells.null_count:
        return after, None
    return after, np.asarray(pc.and_(after.is_null(), cells.is_valid()), dtype=np.bool_)


def number(text: str, region: str | None) -> str | None:
    """Return a phone number; `None`: the text is none, or no such number can be."""
    import phonenumbers  # its tables cost a fifth of a second, and most jobs need none of them

    try:
        found = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(found):
        return None
    return phonenumbers.format_number(found, phonenumbers.PhoneNumberFormat.E164)
