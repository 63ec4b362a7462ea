"""The little language of column rules: `int64!`, `decimal(12,2) >= 0`, `email?`, `string ~ /^[A-Z]+$/`.

A rule is a type, then `!` (never null) or `?` (may be null, the default), then any number of
`>= 1`, `> 1`, `<= 9`, `< 9`, `in (a, b)` and `~ /pattern/`. The long form is a mapping with the
names of `ColumnRule`.
"""

import re
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

SIMPLE_TYPES = (
    "bool", "int16", "int32", "int64", "float32", "float64", "string", "binary",
    "date", "time", "timestamp", "timestamptz", "json", "email", "uuid",
)  # fmt: skip
DECIMAL = re.compile(r"decimal\((?P<precision>\d+),\s*(?P<scale>\d+)\)")
TYPE = re.compile(r"\s*(?P<type>[a-z]+\d*(?:\(\d+,\s*\d+\))?)(?P<null>[!?])?\s*")
BOUND = re.compile(r"(?P<op>>=|<=|>|<)\s*(?P<value>[^\s<>~]+)\s*")
PATTERN = re.compile(r"~\s*/(?P<pattern>(?:[^/\\]|\\.)*)/\s*")
MEMBERS = re.compile(r"in\s*\((?P<members>[^)]*)\)\s*")
BOUNDS = {">=": "ge", ">": "gt", "<=": "le", "<": "lt"}


def known_type(name: str) -> str:
    """Return `name` if it is a column type, else say which there are."""
    decimal = DECIMAL.fullmatch(name)
    if (
        decimal is not None
        and 1 <= int(decimal["precision"]) <= 38
        and int(decimal["scale"]) <= int(decimal["precision"])
    ):
        return name
    if name in SIMPLE_TYPES:
        return name
    msg = (
        f"{name!r} is no column type; there are {', '.join(SIMPLE_TYPES)} and decimal(precision,scale) up to 38 digits"
    )
    raise ValueError(msg)


ColumnType = Annotated[str, AfterValidator(known_type), Field(examples=["int64", "decimal(12,2)", "timestamptz"])]


def compiled(pattern: str | None) -> str | None:
    """Return `pattern` if it is a regular expression."""
    if pattern is None:
        return None
    try:
        re.compile(pattern)
    except re.error as exc:
        msg = f"/{pattern}/ is no regular expression: {exc}"
        raise ValueError(msg) from exc
    return pattern


class ColumnRule(BaseModel):
    """What every value of a column must be."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: ColumnType
    required: bool = Field(default=False, description="Whether null is an error.")
    ge: Decimal | str | None = Field(default=None, description="At least this: a number, or an ISO date or time.")
    gt: Decimal | str | None = Field(default=None, description="More than this.")
    le: Decimal | str | None = Field(default=None, description="At most this.")
    lt: Decimal | str | None = Field(default=None, description="Less than this.")
    one_of: tuple[str, ...] | None = Field(default=None, min_length=1, description="The only values allowed, as text.")
    pattern: Annotated[str | None, AfterValidator(compiled)] = Field(
        default=None, description="Regular expression (RE2) that must match somewhere in the text."
    )

    @model_validator(mode="before")
    @classmethod
    def read_short_form(cls, value: object) -> object:
        """Accept the short form, a string."""
        return parse_rule(value) if isinstance(value, str) else value


def parse_rule(text: str) -> dict[str, object]:
    """Return the long form of a rule; `ValueError` shows where it cannot be read."""
    head = TYPE.match(text)
    if head is None:
        msg = f"{text!r} must begin with a column type, such as int64 or decimal(12,2)"
        raise ValueError(msg)
    rule: dict[str, object] = {"type": head["type"], "required": head["null"] == "!"}
    rest = text[head.end() :]
    while rest:
        key, value, length = parse_clause(rest)
        if key in rule:
            msg = f"{text!r} says {key} twice"
            raise ValueError(msg)
        rule[key] = value
        rest = rest[length:]
    return rule


def parse_clause(text: str) -> tuple[str, object, int]:
    """Return the name, the value and the length of the clause that `text` begins with."""
    if bound := BOUND.match(text):
        return BOUNDS[bound["op"]], bound["value"], bound.end()
    if pattern := PATTERN.match(text):
        return "pattern", pattern["pattern"].replace("\\/", "/"), pattern.end()
    if members := MEMBERS.match(text):
        return "one_of", tuple(m.strip() for m in members["members"].split(",")), members.end()
    msg = f"cannot read {text!r}; after the type come clauses like `>= 0`, `< 10`, `in (a, b)`, `~ /pattern/`"
    raise ValueError(msg)
