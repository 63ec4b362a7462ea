"""From a specification to the transform that it means."""

from dataclasses import dataclass
from typing import assert_never

from dataproc.domain.spec import Transform as TransformSpec
from dataproc.domain.transforms.clean import CleanTransform
from dataproc.domain.transforms.dedupe import DedupeTransform
from dataproc.domain.transforms.derive import DeriveTransform
from dataproc.domain.transforms.enrich import EnrichTransform
from dataproc.domain.transforms.filter import FilterTransform
from dataproc.domain.transforms.mask import MaskTransform
from dataproc.domain.transforms.python import PythonTransform
from dataproc.domain.transforms.sql import SqlTransform
from dataproc.domain.transforms.validate import ValidateTransform
from dataproc.ports.cipher import NO_KEYS, Cipher
from dataproc.ports.lookups import NO_LOOKUPS, Lookups
from dataproc.ports.pipeline import Transform
from dataproc.ports.secrets import Secrets
from dataproc.transforms.clean import Clean
from dataproc.transforms.dedupe import Dedupe
from dataproc.transforms.derive import Derive
from dataproc.transforms.enrich import Enrich
from dataproc.transforms.enrich_lookup import Lookup
from dataproc.transforms.enrich_run import EnrichOverRun
from dataproc.transforms.enrich_unsettled import UnsettledEnrich
from dataproc.transforms.filter import Filter
from dataproc.transforms.looking import Looking, LookingKeyed
from dataproc.transforms.mask import Mask
from dataproc.transforms.python import Python
from dataproc.transforms.sql import Sql
from dataproc.transforms.sql_run import SqlOverRun
from dataproc.transforms.validate import Validate

SelfContained = CleanTransform | DedupeTransform | FilterTransform | DeriveTransform | SqlTransform


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What transforms are given besides their specification."""

    secrets: Secrets
    cipher: Cipher = NO_KEYS
    python_modules: tuple[str, ...] = ()
    lookups: Lookups = NO_LOOKUPS


def transform_for(spec: TransformSpec, around: Surroundings) -> Transform:
    """Return the transform that `spec` means."""
    match spec:
        case EnrichTransform():
            return enrich_for(spec, Lookup(spec, around.lookups))
        case MaskTransform():
            return Mask(spec, around.cipher, around.secrets)
        case PythonTransform():
            return Python(spec, around.python_modules)
        case ValidateTransform():
            return LookingKeyed(Validate(spec, around.python_modules), casts=frozenset(spec.columns))
        case _:
            return self_contained(spec)


def enrich_for(spec: EnrichTransform, lookup: Lookup) -> Transform:
    """Return the join, done where the specification says."""
    match spec.over:
        case "auto":
            return UnsettledEnrich(spec, lookup)
        case "batch":
            return Enrich(spec, lookup)
        case "run":
            return EnrichOverRun(spec)
        case _:
            assert_never(spec.over)


def self_contained(spec: SelfContained) -> Transform:
    """Return a transform that needs nothing but its specification."""
    match spec:
        case CleanTransform():
            return Clean(spec)
        case DedupeTransform():
            return LookingKeyed(Dedupe(spec))
        case FilterTransform():
            return Looking(Filter(spec))
        case DeriveTransform():
            return Looking(Derive(spec), makes=frozenset(spec.columns))
        case SqlTransform():
            return Sql(spec) if spec.over == "batch" else SqlOverRun(spec)
        case _:
            assert_never(spec)
