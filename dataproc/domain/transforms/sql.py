"""The `sql` step, as users write it."""

from typing import Literal

from pydantic import Field

from dataproc.domain.fields import Spec


class SqlTransform(Spec):
    """Turns rows into other rows by a query, each by itself; rows that do not come back count as filtered."""

    kind: Literal["sql"]
    over: Literal["batch", "run"] = Field(
        default="batch",
        description="`batch`: DuckDB, over some rows at a time; `run`: PostgreSQL, over all staged rows of the run.",
    )
    query: str = Field(
        min_length=1,
        max_length=100_000,
        description="Over batches one SELECT in DuckDB's SQL from the table `batch`: no aggregates, no window "
        "functions, no order and no limit. Over the run one in PostgreSQL's from `staged`, which gives `__unit` and "
        "`__position` back, each place at most once; such a step comes last.",
        examples=["SELECT *, upper(country) AS land FROM batch WHERE amount > 0"],
    )
