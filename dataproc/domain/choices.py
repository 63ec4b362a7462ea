"""Unions of forms that are told apart by the one key that each of them has."""

from collections.abc import Mapping

from pydantic import BaseModel, Discriminator

PLAIN = "plain"
"""The tag of the form that is a plain text."""


def chosen_by(*keys: str) -> Discriminator:
    """Return what tells such forms apart, so that errors are about the one that was meant."""

    def which(value: object) -> str | None:
        if isinstance(value, str):
            return PLAIN
        names = (
            value if isinstance(value, Mapping) else type(value).model_fields if isinstance(value, BaseModel) else ()
        )
        return next((key for key in keys if key in names), None)

    told = f"must have one of the keys {', '.join(keys)}"
    return Discriminator(which, custom_error_type="no_such_form", custom_error_message=told)
