"""The little language of column rules: `int64!`, `decimal(12,2) >= 0`, `email?`, `string ~ /^[A-Z]+$/`.

A rule is a type, then `!` (never null) or `?` (may be null, the default), then any number of
`>= 1`, `> 1`, `<= 9`, `< 9`, `in (a, b)`, `length 2..50`, `~ /pattern/` and `unique`. The long form
is a mapping with the names of `ColumnRule`.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Annotated, Self, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Value: TypeAlias = int | float | Decimal | date | datetime | time | str

SIMPLE_TYPES = (
    "bool", "int16", "int32", "int64", "float32", "float64", "string", "binary",
    "date", "time", "timestamp", "timestamptz", "json", "email", "uuid",
)  # fmt: skip
TEXTS = ("string", "email", "uuid")
DECIMAL = re.compile(r"decimal\((?P<precision>\d+),\s*(?P<scale>\d+)\)")
TYPE = re.compile(r"\s*(?P<type>[a-z]+\d*(?:\(\d+,\s*\d+\))?)(?P<null>[!?])?\s*")
BOUND = re.compile(r"(?P<op>>=|<=|>|<)\s*(?P<value>[^\s<>~]+)\s*")
PATTERN = re.compile(r"~\s*/(?P<pattern>(?:[^/\\]|\\.)*)/\s*")
MEMBERS = re.compile(r"in\s*\((?P<members>[^)]*)\)\s*")
LENGTH = re.compile(r"length\s*(?P<least>\d*)\s*(?P<dots>\.\.)?\s*(?P<most>\d*)\s*")
UNIQUE = re.compile(r"unique\b\s*")
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
    """Return `pattern` if it is a regular expression of RE2, which has no look-around and no back-references."""
    if pattern is None:
        return None
    try:
        pc.match_substring_regex(pa.array([""]), pattern)
    except pa.ArrowInvalid as exc:
        msg = f"/{pattern}/ is no regular expression of RE2 (no look-around, no back-references): {exc}"
        raise ValueError(msg) from exc
    return pattern


def as_text(value: object) -> object:
    """Return a number as text, so that every bound is one type; `true` is no number."""
    return str(value) if isinstance(value, int | float | Decimal) and not isinstance(value, bool) else value


Bound = Annotated[
    str,
    BeforeValidator(as_text),
    Field(json_schema_extra={"type": ["string", "number"]}, examples=[0, "2024-01-01"]),
]
"""A number, or an ISO date or time."""


class ColumnRule(BaseModel):
    """What every value of a column must be."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: ColumnType
    required: bool = Field(default=False, description="Whether null is an error.")
    ge: Bound | None = Field(default=None, description="At least this: a number, or an ISO date or time.")
    gt: Bound | None = Field(default=None, description="More than this.")
    le: Bound | None = Field(default=None, description="At most this.")
    lt: Bound | None = Field(default=None, description="Less than this.")
    one_of: tuple[Bound, ...] | None = Field(default=None, min_length=1, description="The only values allowed.")
    pattern: Annotated[str | None, AfterValidator(compiled)] = Field(
        default=None, description="Regular expression (RE2) that must match somewhere in the text."
    )
    min_length: int | None = Field(default=None, ge=0, description="The fewest characters; of `binary`, bytes.")
    max_length: int | None = Field(default=None, ge=0, description="The most characters; of `binary`, bytes.")
    unique: bool = Field(default=False, description="Whether a value may come only once in a run; null may come often.")

    @property
    def bounds(self) -> Mapping[str, str]:
        """The bounds that are set, by name."""
        limits = {"ge": self.ge, "gt": self.gt, "le": self.le, "lt": self.lt}
        return {name: limit for name, limit in limits.items() if limit is not None}

    @model_validator(mode="after")
    def makes_sense(self) -> Self:
        """Refuse bounds, members and patterns that do not go with the type."""
        for name, limit in self.bounds.items():
            if self.type not in ORDERED and not DECIMAL.fullmatch(self.type):
                msg = f"{name}: values of type {self.type} have no bounds; use `in (...)` or a pattern, or another type"
                raise ValueError(msg)
            parse_value(self.type, limit, name)
        for member in self.one_of or ():
            if self.type in ("binary", "json", "bool"):
                msg = f"one_of: there is no list of values for type {self.type}; leave it out"
                raise ValueError(msg)
            parse_value(self.type, member, "one_of")
        if self.pattern is not None and self.type not in TEXTS:
            msg = f"pattern: only text has patterns ({', '.join(TEXTS)}), not {self.type}; leave it out"
            raise ValueError(msg)
        self.demand_length()
        return self

    def demand_length(self) -> None:
        """Refuse lengths that no value can have."""
        least, most = self.min_length, self.max_length
        if (least, most) != (None, None) and self.type not in (*TEXTS, "json", "binary"):
            msg = f"length: values of type {self.type} have none; use bounds such as `>= 1`"
            raise ValueError(msg)
        if least is not None and most is not None and least > most:
            msg = f"length: nothing is at least {least} and at most {most} long; swap them"
            raise ValueError(msg)

    @model_validator(mode="before")
    @classmethod
    def read_short_form(cls, value: object) -> object:
        """Accept the short form, a string."""
        return parse_rule(value) if isinstance(value, str) else value


def parse_value(dtype: str, text: str, where: str) -> Value:
    """Return the value of a column type that `text` stands for, or say why it stands for none."""
    try:
        return PARSERS.get(dtype, parse_decimal if DECIMAL.fullmatch(dtype) else str)(text)
    except (ValueError, ArithmeticError) as exc:
        msg = f"{where}: {text!r} is no value of type {dtype}; write it like {EXAMPLES.get(dtype, '12.50')}"
        raise ValueError(msg) from exc


def parse_decimal(text: str) -> Decimal:
    """Return a finite decimal number."""
    number = Decimal(text)
    if not number.is_finite():
        raise ValueError(text)
    return number


def parse_whole(bits: int) -> Callable[[str], int]:
    """Return a parser of whole numbers of so many bits."""

    def parse(text: str) -> int:
        number = parse_decimal(text)
        if number != number.to_integral_value() or not -(2 ** (bits - 1)) <= number < 2 ** (bits - 1):
            raise ValueError(text)
        return int(number)

    return parse


def parse_moment(*, zone: bool) -> Callable[[str], datetime]:
    """Return a parser of timestamps; with a zone, one that is not given is UTC."""

    def parse(text: str) -> datetime:
        moment = datetime.fromisoformat(text)
        if not zone and moment.tzinfo is not None:
            raise ValueError(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC if zone else None)

    return parse


PARSERS: Mapping[str, Callable[[str], Value]] = {
    "int16": parse_whole(16), "int32": parse_whole(32), "int64": parse_whole(64),
    "float32": lambda text: float(parse_decimal(text)), "float64": lambda text: float(parse_decimal(text)),
    "date": date.fromisoformat, "time": time.fromisoformat,
    "timestamp": parse_moment(zone=False), "timestamptz": parse_moment(zone=True),
}  # fmt: skip
EXAMPLES = {
    "int16": "10", "int32": "10", "int64": "10", "float32": "1.5", "float64": "1.5",
    "date": "2024-12-31", "time": "23:59:59", "timestamp": "2024-12-31T23:59:59", "timestamptz": "2024-12-31T23:59:59Z",
}  # fmt: skip
ORDERED = frozenset(PARSERS)


def parse_rule(text: str) -> dict[str, object]:
    """Return the long form of a rule; `ValueError` shows where it cannot be read."""
    head = TYPE.match(text)
    if head is None:
        msg = f"{text!r} must begin with a column type, such as int64 or decimal(12,2)"
        raise ValueError(msg)
    rule: dict[str, object] = {"type": head["type"], "required": head["null"] == "!"}
    rest = text[head.end() :]
    while rest:
        clause, end = parse_clause(rest)
        if twice := rule.keys() & clause.keys():
            msg = f"{text!r} says {', '.join(sorted(twice))} twice"
            raise ValueError(msg)
        rule |= clause
        rest = rest[end:]
    return rule


def parse_clause(text: str) -> tuple[dict[str, object], int]:
    """Return what the clause says that `text` begins with, and its length."""
    if bound := BOUND.match(text):
        return {BOUNDS[bound["op"]]: bound["value"]}, bound.end()
    if pattern := PATTERN.match(text):
        return {"pattern": pattern["pattern"].replace("\\/", "/")}, pattern.end()
    if members := MEMBERS.match(text):
        return {"one_of": tuple(m.strip() for m in members["members"].split(",") if m.strip())}, members.end()
    if unique := UNIQUE.match(text):
        return {"unique": True}, unique.end()
    if (length := LENGTH.match(text)) and (length["least"] or length["most"]):
        return parse_length(length), length.end()
    msg = (
        f"cannot read {text!r}; after the type come clauses like `>= 0`, `< 10`, `in (a, b)`, `length 2..50`, "
        "`~ /pattern/`, `unique`"
    )
    raise ValueError(msg)


def parse_length(found: re.Match[str]) -> dict[str, object]:
    """Return the bounds of a length: `2..50`, `2..`, `..50`, or `8` for exactly that."""
    least, most = found["least"], found["most"] if found["dots"] else found["least"]
    return {name: int(text) for name, text in (("min_length", least), ("max_length", most)) if text}
