"""Sources whose rows are about people."""

from typing import Annotated

from pydantic import Field

Personal = Annotated[
    bool,
    Field(
        description="Whether the rows are about people: those that are set aside are kept encrypted then, which needs "
        "`DATAPROC_ENCRYPTION_KEYS`."
    ),
]
