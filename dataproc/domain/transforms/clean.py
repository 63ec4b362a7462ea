"""The `clean` step, as users write it."""

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, FiniteFloat, model_validator

from dataproc.domain.fields import ColumnName, NewColumn, Spec
from dataproc.domain.rules import ColumnType
from dataproc.domain.transforms.formats import DateFormat, Zone, demand_pattern

Names = Annotated[tuple[ColumnName, ...], Field(min_length=1)]
NewNames = Annotated[tuple[NewColumn, ...], Field(min_length=1)]
Form = Literal["NFC", "NFD", "NFKC", "NFKD"]
Case = Literal["upper", "lower", "title"]
Region = Annotated[str, Field(pattern="^[A-Z]{2}$", examples=["DE"])]
Path = Annotated[
    str,
    Field(pattern=r'^\$(\.[A-Za-z_][A-Za-z0-9_]*|\."[^"\\]+"|\[[0-9]+\])+$', examples=["$.address.city", "$.tags[0]"]),
]


class Flatten(Spec):
    """Which records become columns."""

    columns: Names | None = Field(default=None, description="These; none: all columns that hold records.")
    separator: str = Field(default="_", max_length=10, description="What stands between the names.")


class Split(Spec):
    """How the text of a column is cut into columns; the last one holds the rest."""

    by: Annotated[str, Field(min_length=1)] = Field(description="What stands between the parts.")
    into: NewNames = Field(description="The new columns; null where there are fewer parts.")
    regex: bool = Field(default=False, description="Whether `by` is a regular expression (RE2).")

    @model_validator(mode="after")
    def is_split(self) -> Self:
        """Refuse what is no regular expression."""
        if self.regex:
            demand_pattern(self.by)
        return self


class Replacement(Spec):
    """What stands in place of a text."""

    find: Annotated[str, Field(min_length=1)]
    to: str = Field(description="With `regex`, \\1 is what the first group found.")
    regex: bool = Field(default=False, description="Whether `find` is a regular expression (RE2).")

    @model_validator(mode="after")
    def is_replacement(self) -> Self:
        """Refuse what is no regular expression."""
        if self.regex:
            demand_pattern(self.find, self.to)
        return self


class Trim(Spec):
    """Which columns are trimmed, and of which characters."""

    columns: Names | None = Field(default=None, description="These; none: all text columns.")
    zero_width: bool = Field(
        default=False, description="Strip characters without a width as well: U+200B to U+200D, U+2060, U+FEFF, U+180E."
    )


class Phone(Spec):
    """How phone numbers are read."""

    region: Region | None = Field(default=None, description="Country of numbers without a prefix; none: all have one.")
    extension: Literal["refuse", "keep"] = Field(
        default="refuse", description="`keep`: `+16502530000;ext=12`; `refuse`: a number with one is set aside."
    )


class Dates(Spec):
    """How dates and times are written."""

    formats: Annotated[tuple[DateFormat, ...], Field(min_length=1)] = Field(description="Tried in this order.")
    type: Literal["date", "timestamp", "timestamptz"] = "date"
    zone: Zone | None = Field(default=None, description="Where text tells no zone, the one that is meant; none: UTC.")


class Numbers(Spec):
    """How numbers are written."""

    decimal: Literal[".", ","] = Field(default=".", description="What stands before the fraction.")
    thousands: Literal[",", ".", "'", " ", "_"] | None = Field(
        default=None,
        description="What stands between groups of digits; a space is also one that does not break, and an apostrophe "
        "also a right single quotation mark. None: there are no groups.",
    )
    percent: bool = Field(default=False, description="Whether numbers may end with `%`, which divides them by 100.")
    currency: bool = Field(default=False, description="Whether a currency sign may stand before or after a number.")
    type: ColumnType | None = Field(
        default=None, description="The type that the numbers get; none: `numeric`, with each digit."
    )

    @model_validator(mode="after")
    def tells_signs_apart(self) -> Self:
        """Refuse one sign for both."""
        if self.decimal == self.thousands:
            msg = f"thousands: {self.thousands!r} stands before the fraction already; write another sign"
            raise ValueError(msg)
        return self


class Cast(Spec):
    """A type, and how its values are written."""

    type: ColumnType
    format: DateFormat | None = Field(default=None, description="For dates and times, as in `dates`.")
    zone: Zone | None = Field(
        default=None,
        description="The zone of times that tell none, and in which `timestamp` and `date` are told; none: UTC.",
    )

    @model_validator(mode="after")
    def is_of_time(self) -> Self:
        """Refuse a format or a zone for what is no date."""
        if (self.format or self.zone) and self.type not in ("date", "timestamp", "timestamptz"):
            msg = f"format, zone: values of type {self.type} have none; leave them out"
            raise ValueError(msg)
        return self


Filling: TypeAlias = str | int | FiniteFloat | bool


class CleanTransform(Spec):
    """Puts names and values in order; what is asked for happens in the sequence of these fields."""

    kind: Literal["clean"]
    flatten: bool | Names | Flatten = Field(
        default=False, description="Records become columns, `address.city` is `address_city`: all, or those of columns."
    )
    rename: dict[ColumnName, NewColumn] = Field(default={}, description="Old name to new name.")
    parse_json: dict[ColumnName, Annotated[dict[NewColumn, Path], Field(min_length=1)]] = Field(
        default={}, description="By column of JSON text, new columns and their paths; values come as text."
    )
    split: dict[ColumnName, Split] = Field(default={}, description="Columns whose text is cut into new columns.")
    select: tuple[ColumnName, ...] = Field(default=(), description="The columns to keep, in this order; none: all.")
    drop: tuple[ColumnName, ...] = Field(default=(), description="Columns to leave out.")
    trim: bool | tuple[ColumnName, ...] | Trim = Field(
        default=False, description="Strip white space: of all text columns, or of these."
    )
    unicode: Form | dict[ColumnName, Form] | None = Field(
        default=None, description="Normal form of Unicode: of all text columns, or by column."
    )
    replace: dict[ColumnName, tuple[Replacement, ...]] = Field(
        default={}, description="What to put in place of parts of the text, by column, one after the other."
    )
    case: dict[ColumnName, Case] = Field(default={}, description="Upper, lower, or title case.")
    null_texts: tuple[str, ...] | dict[ColumnName, tuple[str, ...]] = Field(
        default=(), description="Texts that mean null: in all text columns, or by column.", examples=[["", "N/A"]]
    )
    email: tuple[ColumnName, ...] = Field(default=(), description="Trim, and lower case for the domain.")
    phone: dict[ColumnName, Region | Phone | None] = Field(
        default={},
        description="Phone numbers as `+491719876543`, by column: the country of those without a prefix. A text "
        "that is no number is set aside.",
    )
    dates: dict[ColumnName, Annotated[tuple[DateFormat, ...], Field(min_length=1)] | Dates] = Field(
        default={}, description="Formats of dates by column; text that has none of them is set aside."
    )
    numbers: dict[ColumnName, Numbers] = Field(
        default={},
        description="How the numbers of text columns are written, such as `1.234,50 €`; text that is not such a number "
        "is set aside.",
        examples=[{"amount": {"decimal": ",", "thousands": "."}}],
    )
    nulls: dict[ColumnName, Filling] = Field(default={}, description="What to put in place of null, by column.")
    drop_nulls: tuple[ColumnName, ...] = Field(
        default=(), description="Leave out the rows in which one of these is null; they count as filtered."
    )
    cast: dict[ColumnName, ColumnType | Cast] = Field(
        default={}, description="Column to type; a value that does not fit is set aside."
    )
    key: dict[NewColumn, Names] = Field(
        default={}, description="New columns that hold the SHA-256 of others: keys of one text from keys of several."
    )
