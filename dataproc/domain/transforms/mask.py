"""The `mask` step, as users write it."""

from typing import Annotated, Literal

from pydantic import Field, Tag, model_validator

from dataproc.domain.choices import PLAIN, chosen_by
from dataproc.domain.fields import ColumnName, NewColumn, SecretReference, Spec


class Redaction(Spec):
    """What stands in place of every value."""

    by: str | None = Field(
        default="***", max_length=100, description="This text; `null` empties the column, which keeps its type."
    )


class Redact(Spec):
    """The same text in place of every value."""

    redact: Redaction


class Shown(Spec):
    """How much of a text stays."""

    keep_first: int = Field(default=0, ge=0, le=100, description="Characters that stay at the beginning.")
    keep_last: int = Field(default=0, ge=0, le=100, description="Characters that stay at the end.")
    by: str = Field(default="*", min_length=1, max_length=1, description="What stands in place of each other one.")


class Partial(Spec):
    """Some characters at the beginning or the end; a text that is not longer than these shows none."""

    partial: Shown


class Encryption(Spec):
    """How values are encrypted."""

    blind_index: NewColumn | None = Field(
        default=None, description="One more column, by which equal values can be found without a look at any."
    )


class Encrypt(Spec):
    """The value encrypted, for those who hold the keys."""

    encrypt: Encryption


Masking = Annotated[
    Annotated[Literal["hash", "redact", "tokenise", "encrypt"], Tag(PLAIN)]
    | Annotated[Redact, Tag("redact")]
    | Annotated[Partial, Tag("partial")]
    | Annotated[Encrypt, Tag("encrypt")],
    chosen_by("redact", "partial", "encrypt"),
    Field(description="`hash`, `redact`, `tokenise`, `encrypt`, or one with its options: `{partial: {keep_last: 4}}`."),
]


class MaskTransform(Spec):
    """Hides values; null stays null."""

    kind: Literal["mask"]
    columns: dict[ColumnName, Masking] = Field(min_length=1)
    key: SecretReference | None = Field(
        default=None,
        description="The secret that `hash` and `tokenise` are keyed by, 16 bytes or more; none: one that comes from "
        "the last of `DATAPROC_ENCRYPTION_KEYS`.",
    )

    @model_validator(mode="after")
    def indexes_once(self) -> "MaskTransform":
        """Refuse two blind indexes of one name."""
        names = [each.encrypt.blind_index for each in self.columns.values() if isinstance(each, Encrypt)]
        told = [name for name in names if name is not None]
        if len(set(told)) < len(told):
            msg = "blind_index: two columns would have the same name; choose another one"
            raise ValueError(msg)
        return self
