"""What the fields of specifications are made of."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", examples=["orders-daily"])]
ColumnName = Annotated[str, Field(min_length=1, max_length=63)]
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
