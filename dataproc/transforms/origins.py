"""Names of columns in the source, for names that they have in the target."""

from dataproc.domain.contract import Contract
from dataproc.domain.spec import JobSpec
from dataproc.domain.transforms.clean import CleanTransform
from dataproc.transforms.declared import origins_after


def contract_at_source(spec: JobSpec) -> Contract:
    """Return the contract of a job's target by the names that columns have in its source."""
    terms, origin = spec.destination.terms, dict[str, str | None]()
    for transform in spec.transforms:
        if isinstance(transform, CleanTransform):
            origin = origins_after(transform, origin)
    named = ((origin.get(name, name), kind) for name, kind in terms.columns.items())
    return Contract(default=terms.default, columns={name: kind for name, kind in named if name is not None})
