"""Registered sources as values: each kind has a model of its config."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from dataproc.domain.document import problems_of
from dataproc.domain.errors import InvalidSpecError
from dataproc.ports.store import Connection

Model = TypeVar("Model", bound=BaseModel)


def config_of(connection: Connection, model: type[Model]) -> Model:
    """Return the config of a registered source, or say what is wrong with it."""
    try:
        return model.model_validate(dict(connection.config))
    except ValidationError as exc:
        problems = problems_of(exc, "/config", model=model)
        words = "; ".join(f"{problem.pointer}: {problem.message}" for problem in problems)
        raise InvalidSpecError(f"connection {connection.name!r}: {words}", problems) from exc


def demand_kind(connection: Connection, kind: str) -> None:
    """Refuse a registered source of another kind than the job reads."""
    if connection.kind != kind:
        told = f"connection: {connection.name!r} is of kind {connection.kind!r}, the source needs {kind}"
        raise InvalidSpecError(told)
