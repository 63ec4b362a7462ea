"""The JSON Schema of a job, for editors and other programs; `python -m dataproc.domain.schema` writes it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from pydantic import BaseModel

from dataproc.domain.spec import JobSpec

FILE = Path("schemas/job.v1.json")
DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = Mapping[str, object]


def job_schema() -> dict[str, object]:
    """Return the JSON Schema of a job's specification."""
    schema = JobSpec.model_json_schema()
    definitions = schema["$defs"]
    definitions["ColumnRule"] = with_short_form(definitions["ColumnRule"])
    return {"$schema": DIALECT, "$id": "urn:dataproc:schema:job:v1", **schema, "title": "dataproc job, version 1"}


def with_short_form(rule: Schema) -> dict[str, object]:
    """Return the schema of a column's rule with its short form: a validator, which pydantic's schema cannot show."""
    short = {"type": "string", "minLength": 1, "examples": ["int64!", "decimal(12,2) >= 0", "email?"]}
    return {"anyOf": [short, rule], "title": "ColumnRule", "description": "What every value of a column must be."}


@cache
def schema_of(model: type[BaseModel]) -> Schema:
    """Return the JSON Schema of a model, whose shape is that of the locations in its validation errors."""
    return model.model_json_schema()


def path_in_document(model: type[BaseModel], location: Sequence[int | str]) -> Iterator[tuple[int | str, Schema]]:
    """Yield the keys and indices of an error's location, each with the schema of the value that holds it.

    Pydantic puts the names of union members between them, which are no part of the document.
    """
    root = schema_of(model)
    node: Schema = root
    for step in location:
        node = resolved(node, root)
        if "discriminator" in node:
            node = tagged(node, str(step))
        elif is_label(node, step):
            node = form(node, str(step), root)
        else:
            yield step, node
            node = child(node, step)


def is_label(node: Schema, step: int | str) -> bool:
    """Return whether `step` names a member of a union, or says `[key]`: the fault is in the key itself."""
    return step == "[key]" or len(alternatives(node)) > 1


def form(node: Schema, key: str, root: Schema) -> Schema:
    """Return the member of a union that is told from the others by a key."""
    for member in alternatives(node):
        match resolved(member, root):
            case {"properties": dict(fields)} if key in fields:
                return member
    return {}


def alternatives(node: Schema) -> list[Schema]:
    """Return the members of a union, without null."""
    members = node.get("anyOf", node.get("oneOf"))
    return [m for m in members if m.get("type") != "null"] if isinstance(members, list) else []


def resolved(node: Schema, root: Schema) -> Schema:
    """Return the schema that `node` stands for: references followed, `or null` left out."""
    if isinstance(reference := node.get("$ref"), str):
        definitions = root["$defs"]
        assert isinstance(definitions, dict)  # noqa: S101 - a narrowing for mypy: a schema with references has $defs
        return resolved(definitions[reference.rpartition("/")[2]], root)
    if len(members := alternatives(node)) == 1:
        return resolved(members[0], root)
    return node


def tagged(node: Schema, tag: str) -> Schema:
    """Return the member of a discriminated union that has this tag."""
    match node.get("discriminator"):
        case {"mapping": dict(mapping)} if tag in mapping:
            return {"$ref": mapping[tag]}
        case _:
            return {}


def child(node: Schema, step: int | str) -> Schema:
    """Return the schema of what stands at a key or an index."""
    match node:
        case {"properties": dict(fields)} if step in fields:
            found = fields[step]
        case {"additionalProperties": dict(found)} | {"items": dict(found)}:
            pass
        case _:
            found = {}
    return found if isinstance(found, dict) else {}


def field_names(node: Schema) -> list[str]:
    """Return the fields that an object may have."""
    fields = node.get("properties")
    return list(fields) if isinstance(fields, dict) else []


if __name__ == "__main__":
    FILE.write_text(json.dumps(job_schema(), indent=2) + "\n", encoding="utf-8")
