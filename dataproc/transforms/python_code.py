"""Code that jobs name: only of packages that the installation allows, and refused before anything is imported."""

import importlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from traceback import walk_tb
from typing import Any

from dataproc.domain.errors import DataprocError, InvalidSpecError, TransformFailedError
from dataproc.domain.foreign_code import is_error_of_code

MOST_OBJECTS = 64


def demand_allowed(path: str, modules: tuple[str, ...], where: str) -> None:
    """Raise `InvalidSpecError` unless the package of `package.module:name` is one of `modules`."""
    module = path.partition(":")[0]
    if not any(module == allowed or module.startswith(f"{allowed}.") for allowed in modules):
        msg = f"{where}: the module {module!r} is not allowed; add its package to DATAPROC_PYTHON_MODULES"
        raise InvalidSpecError(msg)


def imported(path: str, modules: tuple[str, ...], where: str) -> object:
    """Return what `package.module:name` names."""
    demand_allowed(path, modules, where)
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as exc:
        msg = f"{where}: the module {exc.name!r} is not installed where runners and workers are"
        raise InvalidSpecError(msg) from exc
    except AttributeError as exc:
        raise InvalidSpecError(f"{where}: the module {module!r} has nothing that is called {name!r}") from exc
    except BaseException as exc:
        if not is_error_of_code(exc):
            raise
        msg = f"{where}: the module {module!r} fails with {type(exc).__name__} when it is imported; import it by itself"
        raise InvalidSpecError(msg) from exc


def callable_of(path: str, modules: tuple[str, ...], options: dict[str, Any], where: str) -> Callable[[Any], object]:
    """Return the function with its options; of a class the one object that this process keeps for these options."""
    demand_allowed(path, modules, where)
    return kept(path, modules, json.dumps(options, sort_keys=True), where)


@lru_cache(maxsize=MOST_OBJECTS)
def kept(path: str, modules: tuple[str, ...], options: str, where: str) -> Callable[[Any], object]:
    """Return what is called for these options."""
    found = imported(path, modules, where)
    if not callable(found):
        raise InvalidSpecError(f"{where}: {path} is neither a function nor a class")
    if not isinstance(found, type):
        return partial(found, **json.loads(options))
    with told(path, where):
        made: object = found(**json.loads(options))
    if not callable(made):
        raise InvalidSpecError(f"{where}: objects of {path} cannot be called; give the class a `__call__`")
    return made


@contextmanager
def told(path: str, where: str) -> Iterator[None]:
    """Raise our error in place of any of the code, by its name and its line: its text may hold values."""
    try:
        yield
    except DataprocError:
        raise
    except BaseException as exc:
        if not is_error_of_code(exc):
            raise
        msg = f"{where}: {path} failed with {type(exc).__name__} at {line_of(exc, path)}; run it by itself to see more"
        raise TransformFailedError(msg, call=path) from exc


def line_of(exc: BaseException, path: str) -> str:
    """Return the file and the line of the user's code where an error arose, or came to."""
    package = path.partition(":")[0].partition(".")[0]
    frames = list(walk_tb(exc.__traceback__))
    theirs = [each for each in frames if str(each[0].f_globals.get("__name__")).partition(".")[0] == package]
    frame, line = (theirs or frames)[-1]
    return f"{Path(frame.f_code.co_filename).name}:{line}"
