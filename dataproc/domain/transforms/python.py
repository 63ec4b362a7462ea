"""The `python` step, as users write it."""

from typing import Annotated, Literal, Self

from pydantic import Field, FiniteFloat, JsonValue, model_validator

from dataproc.domain.fields import NewColumn, Spec
from dataproc.domain.rules import ColumnType


class Resources(Spec):
    """What a task or an actor needs of a machine."""

    cpus: Annotated[FiniteFloat, Field(gt=0, le=256)] = Field(default=1, description="Cores; also a part of one.")
    memory: int | None = Field(default=None, ge=1, description="Bytes that must be free; none: not looked at.")


class PythonTransform(Spec):
    """Calls a function with some of the rows at a time; the setting `DATAPROC_PYTHON_MODULES` allows its package."""

    kind: Literal["python"]
    call: str = Field(
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
        max_length=256,
        description="A function, as `package.module:name`; or a class, of which each process makes one object and "
        "keeps it: its `__call__` is called.",
        examples=["acme.orders:score"],
    )
    batch: Literal["arrow", "pandas", "polars"] = Field(
        default="arrow", description="What the function gets and gives: a table of Arrow, or a data frame."
    )
    returns: dict[NewColumn, ColumnType] = Field(
        min_length=1, description="The columns that the function gives, new or changed, each with its type."
    )
    others: Literal["keep", "drop"] = Field(
        default="keep",
        description="What becomes of the columns that are not in `returns`: they stay as they are, or go.",
    )
    rows: Literal["same", "may_leave"] = Field(
        default="same",
        description="`same`: it gives as many rows, in the same order; `may_leave`: it gets the column `__position` as "
        "well, and gives it back for the rows that stay.",
    )
    options: dict[Annotated[str, Field(pattern=r"^[A-Za-z_]\w{0,99}$")], JsonValue] = Field(
        default={}, description="Keyword arguments: of the function, or of the class when the object is made."
    )
    resources: Resources | None = Field(default=None, description="What each task or actor needs; none: one core.")
    concurrency: int | None = Field(default=None, ge=1, description="Tasks of a run at once, at most; none: no limit.")
    actor_pool: int | None = Field(
        default=None,
        ge=1,
        description="Actors that do the work of the run, in place of tasks: each makes its object of the class once, "
        "before rows come, and lives as long as the run; none: tasks.",
    )

    @model_validator(mode="after")
    def one_number_of_hands(self) -> Self:
        """Refuse a pool of actors whose number is told twice."""
        if self.actor_pool is not None and self.concurrency is not None:
            msg = "give `actor_pool` or `concurrency`: each actor of a pool does one thing at a time"
            raise ValueError(msg)
        return self
