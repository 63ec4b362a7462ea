"""Sources that other packages bring."""

from typing import Literal

from pydantic import Field, JsonValue

from dataproc.domain.fields import Name, SecretReference, Spec
from dataproc.domain.sources.incremental import Incremental
from dataproc.domain.sources.personal import Personal


class PluginSource(Spec):
    """A source of another package, by its name in the entry point group `dataproc.sources`."""

    kind: Literal["plugin"]
    plugin: Name = Field(description="The name of the entry point.")
    connection: Name | None = Field(default=None, description="A registered source that is handed to the plugin.")
    options: dict[str, JsonValue] = Field(default={}, description="What the plugin is told; each has its own.")
    personal: Personal = False


class DltSource(Spec):
    """A resource of dlt, https://dlthub.com/docs; the setting `DATAPROC_PYTHON_MODULES` allows its package."""

    kind: Literal["dlt"]
    resource: str = Field(
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
        max_length=256,
        description="A resource, or a function that gives a resource or a source, as `package.module:name`.",
        examples=["acme.crm:contacts"],
    )
    select: Name | None = Field(default=None, description="Which resource of a source with several.")
    arguments: dict[str, JsonValue] = Field(default={}, description="Arguments of the function.")
    secrets: dict[str, SecretReference] = Field(
        default={}, description="Arguments that are secrets, as references; workers look them up."
    )
    incremental: Incremental | None = Field(default=None, description="Give only what is new since the last run.")
    personal: Personal = False
