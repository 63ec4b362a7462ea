"""A resource of dlt, found by its name and begun where the last run ended: https://dlthub.com/docs."""

import importlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from dataproc.domain.errors import (
    BadDataError,
    DataprocError,
    InvalidSpecError,
    Problem,
    SetupError,
    SourceNotFoundError,
    SourceRefusedError,
    SourceUnavailableError,
)
from dataproc.domain.foreign_code import is_error_of_code

if TYPE_CHECKING:
    from dlt.extract.resource import DltResource


def resource_of(
    path: str, modules: tuple[str, ...], arguments: Mapping[str, object], select: str | None
) -> "DltResource":
    """Return the resource at `package.module:name`, or the one that its function or source gives."""
    found = imported(path, modules)
    if not is_resource(found) or arguments:
        found = called(found, path, arguments)
    if is_resource(found):
        return cast("DltResource", found)
    several: Mapping[str, DltResource] = getattr(found, "selected_resources", {})
    name = select or (next(iter(several)) if len(several) == 1 else "")
    if name not in several:
        raise wrong("select", f"name one of its resources: {', '.join(several) or 'it has none'}")
    return several[name]


def imported(path: str, modules: tuple[str, ...]) -> object:
    """Return what `package.module:name` names, if its package is allowed."""
    module, _, name = path.partition(":")
    if not any(module == allowed or module.startswith(f"{allowed}.") for allowed in modules):
        raise wrong("resource", f"the module {module!r} is not allowed; add its package to DATAPROC_PYTHON_MODULES")
    # dlt would tell its makers of every use.
    os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")
    try:
        importlib.import_module("dlt")
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as exc:
        if exc.name == "dlt":
            msg = "kind dlt: dlt is not installed; install dataproc[dlt] where runners and workers are"
            raise SetupError(msg) from exc
        raise wrong("resource", f"the module {exc.name!r} is not installed where runners and workers are") from exc
    except AttributeError as exc:
        raise wrong("resource", f"the module {module!r} has nothing that is called {name!r}") from exc


def is_resource(found: object) -> bool:
    """Whether something is a resource of dlt."""
    from dlt.extract.resource import DltResource

    return isinstance(found, DltResource)


def called(found: object, path: str, arguments: Mapping[str, object]) -> object:
    """Return what a function gives for its arguments."""
    if not callable(found):
        raise wrong("resource", f"{path} is neither a resource of dlt nor a function")
    try:
        return cast("Callable[..., object]", found)(**arguments)
    except TypeError as exc:
        raise wrong("arguments", f"{path} does not take them: {exc}") from exc


def begin_after(resource: "DltResource", cursor: str, value: object) -> None:
    """Let a resource give only rows from a value of its cursor on; those at the value itself come again."""
    from dlt.sources import incremental

    resource.apply_hints(incremental=incremental(cursor, initial_value=value))


@contextmanager
def translated(path: str) -> Iterator[None]:
    """Raise our errors in place of those of the resource, by their names: their texts may hold secrets."""
    try:
        yield
    except DataprocError:
        raise
    except BaseException as exc:
        if not is_error_of_code(exc):
            raise
        raise ours(path, list(chain_of(exc))) from exc


def ours(path: str, causes: Sequence[BaseException]) -> DataprocError:
    """Return our error for what a resource raised, and what that came from."""
    name = type(causes[-1]).__name__
    match next((status for cause in causes if (status := status_of(cause)) is not None), None):
        case 401 | 403 as status:
            return SourceRefusedError(f"{path}: the source answers {status}; check its secrets")
        case 404 as status:
            return SourceNotFoundError(f"{path}: the source answers {status}; check its arguments")
    if any(isinstance(cause, OSError) for cause in causes):
        return SourceUnavailableError(f"{path} does not get an answer: {name}")
    return BadDataError(f"{path} failed with {name}; run it by itself to see more")


def status_of(exc: BaseException) -> int | None:
    """Return the HTTP status that an error of a client tells, if it tells one."""
    status = getattr(getattr(exc, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def chain_of(exc: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it came from."""
    found: BaseException | None = exc
    while found is not None:
        yield found
        found = found.__cause__


def wrong(name: str, message: str) -> InvalidSpecError:
    """Return the error for a field of the source."""
    problem = Problem(f"/source/{name}", message)
    return InvalidSpecError(f"{problem.pointer}: {message}", (problem,))
