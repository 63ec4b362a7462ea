"""What the steps of a job say of the types of its source's columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import assert_never

from dataproc.domain.errors import ContractViolationError
from dataproc.domain.source_columns import SourceColumns
from dataproc.domain.spec import Transform
from dataproc.domain.transforms.clean import CleanTransform, Trim
from dataproc.domain.transforms.dedupe import DedupeTransform, KeepEarliest, KeepLatest
from dataproc.domain.transforms.derive import DeriveTransform
from dataproc.domain.transforms.enrich import EnrichTransform
from dataproc.domain.transforms.filter import FilterTransform
from dataproc.domain.transforms.mask import MaskTransform
from dataproc.domain.transforms.python import PythonTransform
from dataproc.domain.transforms.sql import SqlTransform
from dataproc.domain.transforms.validate import ValidateTransform
from dataproc.transforms.syntax import syntax_of

LOOKING = (FilterTransform, DeriveTransform, DedupeTransform, ValidateTransform)
"""Steps that do not change the columns that they compute with; the module `looking` keeps their characters."""


def source_columns(transforms: Iterable[Transform]) -> SourceColumns:
    """Return which columns, by their names in the source, the steps cast, read as text, or compute with.

    Text formats leave a column that is cast as text: a value that does not fit is set aside with its row, and no zero
    of a phone number is lost.
    """
    walk = Walk()
    for spec in transforms:
        walk.take(spec)
    computed = None if walk.all_computed else frozenset(walk.computed)
    return SourceColumns(
        frozenset(walk.declared), computed, frozenset(walk.looked), walk.last_names(), valued=frozenset(walk.valued)
    )


@dataclass(slots=True)
class Walk:
    """Follows the columns of a source from step to step; `origin` has the source's name of a column of another name."""

    declared: set[str] = field(default_factory=set)
    valued: set[str] = field(default_factory=set)
    computed: set[str] = field(default_factory=set)
    looked: set[str] = field(default_factory=set)
    all_computed: bool = False
    origin: dict[str, str | None] = field(default_factory=dict)

    def take(self, spec: Transform) -> None:
        """Take account of one step."""
        if isinstance(spec, CleanTransform):
            self.origin = origins_after(spec, self.origin)
        # A column that an earlier step computes with has its type by then.
        if not self.all_computed:
            known = self.computed | self.looked
            self.declared |= {name for name in self.sources(named(spec)) if name.lower() not in known}
            self.valued |= self.declared & self.sources(valued_by(spec))
        names = computed_by(spec)
        if names is None:
            self.all_computed = True
        else:
            found = {name.lower() for name in self.sources_of_any_case(names) if name not in self.declared}
            if isinstance(spec, LOOKING):
                self.looked |= found
            else:
                self.computed |= found
        if isinstance(spec, DeriveTransform | EnrichTransform):
            self.origin |= dict.fromkeys(spec.columns)

    def sources(self, names: Iterable[str]) -> set[str]:
        """Return what the source calls columns; those that it does not have are left out."""
        return {source for name in names if (source := self.origin.get(name, name)) is not None}

    def sources_of_any_case(self, names: Iterable[str]) -> set[str]:
        """Return the same for the names of expressions, which do not tell cases apart."""
        by_case = {name.lower(): name for name in self.origin}
        return self.sources(by_case.get(name.lower(), name) for name in names)

    def last_names(self) -> Mapping[str, str | None]:
        """Return the last name of each source column that is not called the same at the end."""
        gone: dict[str, str | None] = dict.fromkeys(name for name, source in self.origin.items() if source != name)
        return gone | {source: name for name, source in self.origin.items() if source is not None}


def computed_by(spec: Transform) -> Iterable[str] | None:
    """Return the columns with whose values a step computes; `None`: with all of them."""
    match spec:
        case PythonTransform() | SqlTransform():
            return None
        case ValidateTransform():
            return checked_by(spec)
        case FilterTransform():
            return references(spec.where)
        case DeriveTransform():
            return every(map(references, spec.columns.values()))
        case _:
            return compared_by(spec)


def compared_by(spec: CleanTransform | DedupeTransform | EnrichTransform | MaskTransform) -> Iterable[str]:
    """Return the columns whose values a step compares or hashes."""
    match spec:
        case EnrichTransform():
            return spec.on
        case DedupeTransform():
            return decisive(spec)
        case CleanTransform():
            return [name for names in spec.key.values() for name in names]
        case MaskTransform():
            return ()
        case _:
            assert_never(spec)


def checked_by(spec: ValidateTransform) -> Iterable[str] | None:
    """Return the columns that the rules of a step compare; `None`: whole rows are checked."""
    if spec.json_schema is not None or spec.model is not None:
        return None
    return every([*(references(rule.expect) for rule in spec.rules), *spec.unique])


def decisive(spec: DedupeTransform) -> Iterator[str]:
    """Yield the columns by which a row stays."""
    yield from spec.keys
    match spec.keep:
        case KeepLatest():
            yield spec.keep.latest
        case KeepEarliest():
            yield spec.keep.earliest


def every(parts: Iterable[Iterable[str] | None]) -> Iterable[str] | None:
    """Return the names of all parts; `None`: one of them may name any column."""
    found: list[str] = []
    for part in parts:
        if part is None:
            return None
        found += part
    return found


def references(expression: str) -> Iterable[str] | None:
    """Return the columns that an expression names; `None`: it cannot be read, which its step reports."""
    try:
        return [names[0] for names in syntax_of(expression, "expression").references]
    except ContractViolationError:
        return None


def named(spec: Transform) -> Iterator[str]:
    """Yield the columns that a step casts or reads as text."""
    if isinstance(spec, ValidateTransform | MaskTransform):
        yield from spec.columns
    if isinstance(spec, CleanTransform):
        for columns in (
            spec.cast,
            spec.dates,
            spec.numbers,
            spec.phone,
            spec.email,
            spec.replace,
            spec.case,
            spec.parse_json,
        ):
            yield from columns
        yield from spec.split
        yield from trimmed(spec.trim)
        for by_column in (spec.unicode, spec.null_texts):
            yield from by_column if isinstance(by_column, Mapping) else ()


def valued_by(spec: Transform) -> Iterator[str]:
    """Yield the columns that a step casts to a type that is not text."""
    types: Mapping[str, object] = {}
    if isinstance(spec, ValidateTransform):
        types = spec.columns
    elif isinstance(spec, CleanTransform):
        yield from (*spec.dates, *spec.numbers)
        types = spec.cast
    for name, given in types.items():
        if getattr(given, "type", given) not in ("string", "binary"):
            yield name


def trimmed(trim: bool | tuple[str, ...] | Trim) -> Iterable[str]:  # noqa: FBT001 - the field of the specification
    """Return the columns that are trimmed by name."""
    if isinstance(trim, Trim):
        return trim.columns or ()
    return trim if isinstance(trim, tuple) else ()


def origins_after(spec: CleanTransform, before: dict[str, str | None]) -> dict[str, str | None]:
    """Return the source's name of each column that has another one after a `clean` step; `None`: it is not there."""
    after: dict[str, str | None] = {**before, **dict.fromkeys(spec.rename)}
    after |= {new: before.get(old, old) for old, new in spec.rename.items()}
    made = [name for paths in spec.parse_json.values() for name in paths]
    made += [name for split in spec.split.values() for name in split.into]
    return after | dict.fromkeys((*made, *spec.key, *spec.drop))
