"""The `validate` step, as users write it."""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, JsonValue, model_validator

from dataproc.domain.fields import ColumnName, MaxRejects, Spec
from dataproc.domain.rules import ColumnRule

Columns = Annotated[tuple[ColumnName, ...], Field(min_length=1, max_length=32)]


class Rule(Spec):
    """What must hold between the columns of a row."""

    name: str = Field(min_length=1, max_length=63, description="How rejects call it.", examples=["ends_after_start"])
    expect: str = Field(
        min_length=1,
        max_length=2000,
        description="An expression of DuckDB that is true or false; null holds.",
        examples=["end_at >= start_at and amount > 0"],
    )


def something(name: str, **what: JsonValue) -> dict[str, JsonValue]:
    """Return the JSON Schema of a step in which a field is there, and holds something."""
    return {"required": [name], "properties": {name: what}}


ASKS: list[JsonValue] = [
    something("columns", minProperties=1),
    something("rules", minItems=1),
    something("unique", minItems=1),
    something("json_schema", type="object"),
    something("model", type="string"),
]
"""What `asks_for_something` demands, for other programs."""


class ValidateTransform(Spec):
    """Sets aside the rows that break a rule, with every rule they break."""

    model_config = ConfigDict(json_schema_extra={"allOf": [{"anyOf": ASKS}]})

    kind: Literal["validate"]
    columns: dict[ColumnName, ColumnRule] = Field(default={}, description="By column, what its values must be.")
    rules: tuple[Rule, ...] = Field(default=(), description="What must hold between columns, with the declared types.")
    unique: tuple[Columns, ...] = Field(
        default=(),
        description="Columns that together are different in each row of the run; of rows with the same values the "
        "first stays, and a null makes a row different.",
        examples=[[["order_id", "line"]]],
    )
    json_schema: dict[str, JsonValue] | None = Field(
        default=None, description="A JSON Schema that each row must hold, as an object of its columns."
    )
    model: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
        description="A model of pydantic, `package.module:Order`, that each row must hold; its package is one of "
        "`DATAPROC_PYTHON_MODULES`.",
        examples=["package.module:Order"],
    )
    on_error: Literal["quarantine", "drop", "fail"] = Field(
        default="quarantine",
        description="Keep bad rows in the reject table, only count them, or fail the run at the first.",
    )
    max_rejects: MaxRejects | None = Field(
        default=None,
        description="How many rows of the run may be set aside: a count, or a share such as `1%`; above it nothing is "
        "published. None: the limit of the job holds.",
    )

    @model_validator(mode="after")
    def asks_for_something(self) -> Self:
        """Refuse a step without rules, or with two rules of one name."""
        if not (self.columns or self.rules or self.unique or self.json_schema is not None or self.model):
            msg = "columns, rules, unique, json_schema, model: there is none of them; declare what rows must be"
            raise ValueError(msg)
        names = [rule.name for rule in self.rules]
        if twice := {name for name in names if names.count(name) > 1}:
            msg = f"rules: {', '.join(sorted(map(repr, twice)))} is there twice; give each rule a name of its own"
            raise ValueError(msg)
        return self

    @property
    def keys(self) -> tuple[tuple[str, ...], ...]:
        """The columns that together are different in each row, from both places where they can be declared."""
        single = tuple((name,) for name, rule in self.columns.items() if rule.unique)
        return tuple(dict.fromkeys((*single, *self.unique)))
