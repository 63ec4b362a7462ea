"""Which columns of the source will get their type from a later step."""

from collections.abc import Iterable

from dataproc.domain.spec import Transform
from dataproc.domain.transforms.clean import CleanTransform
from dataproc.domain.transforms.dedupe import DedupeTransform
from dataproc.domain.transforms.validate import ValidateTransform


def text_columns(transforms: Iterable[Transform]) -> frozenset[str]:
    """Return the columns, by their names in the source, that some step will cast.

    Text formats leave them as text, so that a value that does not fit is set aside with its row.
    """
    found: set[str] = set()
    origin: dict[str, str | None] = {}
    for spec in transforms:
        if isinstance(spec, DedupeTransform):
            continue
        if isinstance(spec, CleanTransform):
            origin = origins_after(spec, origin)
        names = spec.columns if isinstance(spec, ValidateTransform) else spec.cast
        found |= {source for name in names if (source := origin.get(name, name)) is not None}
    return frozenset(found)


def origins_after(spec: CleanTransform, before: dict[str, str | None]) -> dict[str, str | None]:
    """Return the source's name of each column that has another one after a `clean` step; `None`: it is gone."""
    after: dict[str, str | None] = {**before, **dict.fromkeys(spec.rename)}
    after |= {new: before.get(old, old) for old, new in spec.rename.items()}
    return after | dict.fromkeys(spec.drop)
