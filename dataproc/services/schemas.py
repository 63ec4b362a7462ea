"""The columns of rows after the transforms of a job, for plans and runs alike."""

from collections.abc import Sequence

import pyarrow as pa

from dataproc.domain.keys import KeyRule
from dataproc.ports.pipeline import Keyed, Transform
from dataproc.services.blame import blamed


def schema_after(transforms: Sequence[Transform], schema: pa.Schema) -> tuple[pa.Schema, tuple[KeyRule, ...]]:
    """Return the schema of rows after all transforms, and their rules over the keys of a run.

    A transform checks its columns first: its rules take them for granted.

    Raises:
        ContractViolationError: a transform names a column that the rows lack, or whose type does not fit.
    """
    rules: list[KeyRule] = []
    for number, transform in enumerate(transforms):
        with blamed(f"/transforms/{number}"):
            before, schema = schema, transform.schema(schema)
            rules += transform.rules(before) if isinstance(transform, Keyed) else ()
    return schema, tuple(rules)
