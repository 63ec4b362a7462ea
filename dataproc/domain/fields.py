"""What the fields of specifications are made of."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", examples=["orders-daily"])]
LONGEST_IDENTIFIER = 63
"""Bytes in UTF-8. PostgreSQL cuts longer names without an error (NAMEDATALEN), and so would use another name."""


def table_fits(name: str) -> str:
    """Refuse a name that PostgreSQL would cut; the parts of `schema.table` are names of their own."""
    if long := next((part for part in name.split(".") if len(part.encode()) > LONGEST_IDENTIFIER), None):
        raise ValueError(too_long(long))
    return name


def column_fits(name: str) -> str:
    """Refuse the name of a column that PostgreSQL would cut; a point in it is part of the name."""
    if len(name.encode()) > LONGEST_IDENTIFIER:
        raise ValueError(too_long(name))
    return name


def too_long(name: str) -> str:
    """Return why a name cannot be one in PostgreSQL, and what to do."""
    return (
        f"{name!r} has {len(name.encode())} bytes in UTF-8, and PostgreSQL cuts names after {LONGEST_IDENTIFIER}; "
        "choose a shorter name"
    )


ColumnName = Annotated[str, Field(min_length=1, max_length=63)]
"""The name of a column wherever it comes from."""
MaxRejects = Annotated[int, Field(ge=0)] | Annotated[str, Field(pattern=r"^\d{1,3}(\.\d+)?%$")]
"""How many rows may be set aside: a count, or a share of the rows that were read, such as `1%`."""
NewColumn = Annotated[ColumnName, AfterValidator(column_fits)]
"""The name of a column of a table in the warehouse."""
TableName = Annotated[str, Field(pattern=r'^[^."\x00]{1,63}\.[^."\x00]{1,63}$'), AfterValidator(table_fits)]
"""schema.table in the warehouse."""
SecretReference = Annotated[
    str,
    Field(
        pattern=r"^secret://[A-Za-z0-9][A-Za-z0-9/_+=.@-]{0,511}(#[A-Za-z0-9_.-]{1,128})?$",
        description="Where the secret is, never the secret: secret://name, or secret://name#key.",
        examples=["secret://crm#token"],
    ),
]
LATEST = datetime(9999, 1, 1, tzinfo=UTC)
"""What is later than this in some zone cannot be told in another: Python's calendar ends with the year."""


def written_as_text(value: object) -> object:
    """Refuse a number, or a text that is one: pydantic would take it for the seconds since 1970."""
    if isinstance(value, str) and not value.replace(".", "", 1).lstrip("+-").isdigit():
        return value
    if isinstance(value, datetime):
        return value
    msg = "write a time with its zone, such as 2026-01-31T06:00:00Z"
    raise ValueError(msg)


Moment = Annotated[AwareDatetime, BeforeValidator(written_as_text), Field(lt=LATEST)]


class Spec(BaseModel):
    """Base of all parts: unknown fields are refused, nothing changes once made."""

    model_config = ConfigDict(extra="forbid", frozen=True)
