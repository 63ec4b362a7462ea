"""Models of pydantic as users write them."""

from datetime import date
from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

no_model = dict[str, int]


class Order(BaseModel):
    """An order of a shop."""

    id: int = Field(alias="order_id", gt=0)
    status: Literal["new", "paid"]
    amount: Decimal = Field(ge=0, max_digits=12, decimal_places=2)
    day: date | None
    note: str = Field(default="", max_length=5)

    @field_validator("note")
    @classmethod
    def has_no_secret(cls, note: str) -> str:
        """Refuse a word, and tell it."""
        if note == "open":
            msg = f"{note} is a secret"
            raise ValueError(msg)
        return note

    @model_validator(mode="after")
    def is_paid_with_money(self) -> "Order":
        """Refuse what is paid with nothing."""
        if self.status == "paid" and self.amount == 0:
            msg = "nothing was paid"
            raise ValueError(msg)
        return self


class Strict(BaseModel):
    """A row with one column, and no other."""

    model_config = ConfigDict(extra="forbid", strict=True)

    n: int


class Broken(BaseModel):
    """A model whose own function has a mistake."""

    n: int

    @model_validator(mode="before")
    @classmethod
    def fails(cls, row: Any) -> Any:
        """Ask for what is not there."""
        return row["sesame"]


class Exiting(BaseModel):
    """A model that ends the process."""

    n: int

    @model_validator(mode="before")
    @classmethod
    def ends(cls, row: Any) -> Any:
        """Exit with a text that holds a value."""
        raise SystemExit(f"sesame {row}")


class Named(BaseModel):
    """A row with a name."""

    name: str | None


class Place(BaseModel):
    """A part of a row."""

    city: str


class Nested(BaseModel):
    """A row with more than single values."""

    place: Place | None
    tags: list[str] = []
    note: str | list[str] = ""


class Keyed(BaseModel):
    """A row with a key."""

    key: str = Field(min_length=64)
