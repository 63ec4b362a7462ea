"""From a specification to the transform that it means."""

from typing import assert_never

from dataproc.domain.spec import Transform as TransformSpec
from dataproc.domain.transforms.clean import CleanTransform
from dataproc.domain.transforms.dedupe import DedupeTransform
from dataproc.domain.transforms.validate import ValidateTransform
from dataproc.ports.pipeline import Transform
from dataproc.transforms.clean import Clean
from dataproc.transforms.dedupe import Dedupe
from dataproc.transforms.validate import Validate


def transform_for(spec: TransformSpec) -> Transform:
    """Return the transform that `spec` means."""
    match spec:
        case CleanTransform():
            return Clean(spec)
        case ValidateTransform():
            return Validate(spec)
        case DedupeTransform():
            return Dedupe(spec)
        case _:
            assert_never(spec)
