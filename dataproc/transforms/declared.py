"""Which columns of the source will get their type from a later step."""

from collections.abc import Iterable, Iterator, Mapping

from dataproc.domain.spec import Transform
from dataproc.domain.transforms.clean import CleanTransform
from dataproc.domain.transforms.derive import DeriveTransform
from dataproc.domain.transforms.enrich import EnrichTransform
from dataproc.domain.transforms.filter import FilterTransform
from dataproc.domain.transforms.mask import MaskTransform
from dataproc.domain.transforms.python import PythonTransform
from dataproc.domain.transforms.sql import SqlTransform
from dataproc.domain.transforms.validate import ValidateTransform

LOOKING = (DeriveTransform, EnrichTransform, FilterTransform, PythonTransform, SqlTransform)
"""Steps that look at values in the types that they have: they would not expect text that a later step casts."""


def text_columns(transforms: Iterable[Transform]) -> frozenset[str]:
    """Return the columns, by their names in the source, that some step will cast or read as text.

    Text formats leave them as text: a value that does not fit is set aside with its row, and no zero of a phone number
    is lost.
    """
    found: set[str] = set()
    origin: dict[str, str | None] = {}
    for spec in transforms:
        if isinstance(spec, LOOKING):
            break
        if isinstance(spec, CleanTransform):
            origin = origins_after(spec, origin)
        found |= {source for name in named(spec) if (source := origin.get(name, name)) is not None}
    return frozenset(found)


def named(spec: Transform) -> Iterator[str]:
    """Yield the columns that a step casts or reads as text."""
    if isinstance(spec, ValidateTransform | MaskTransform):
        yield from spec.columns
    if isinstance(spec, CleanTransform):
        for columns in (spec.cast, spec.dates, spec.phone, spec.email, spec.replace, spec.case, spec.parse_json):
            yield from columns
        yield from spec.split
        yield from spec.trim if isinstance(spec.trim, tuple) else ()
        for by_column in (spec.unicode, spec.null_texts):
            yield from by_column if isinstance(by_column, Mapping) else ()


def origins_after(spec: CleanTransform, before: dict[str, str | None]) -> dict[str, str | None]:
    """Return the source's name of each column that has another one after a `clean` step; `None`: it is not there."""
    after: dict[str, str | None] = {**before, **dict.fromkeys(spec.rename)}
    after |= {new: before.get(old, old) for old, new in spec.rename.items()}
    made = [name for paths in spec.parse_json.values() for name in paths]
    made += [name for split in spec.split.values() for name in split.into]
    return after | dict.fromkeys((*made, *spec.key, *spec.drop))
