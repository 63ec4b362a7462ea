"""Files below one folder, which every worker sees under the same path."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow as pa

from dataproc.domain.errors import (
    BadDataError,
    SourceChangedError,
    SourceRefusedError,
    SourceUnavailableError,
)
from dataproc.sources.files.globs import Selection
from dataproc.sources.files.storage import FoundFile

SCHEME = "files://"


@dataclass(frozen=True, slots=True)
class LocalStorage:
    """The selected files below `root`; links out of `root` are refused, linked folders not walked."""

    root: Path
    paths: tuple[str, ...]
    exclude: tuple[str, ...] = ()

    def find(self) -> Iterator[FoundFile]:
        """Yield the selected files, by URI."""
        selection = Selection(tuple(map(self.relative, self.paths)), self.exclude)
        selection = selection.with_names({path for path in selection.ambiguous if self.is_file(path)})
        try:
            names = {name for root in selection.roots() for name in self.names(*root) if selection.has(name)}
            yield from (self.describe(name) for name in sorted(names))
        except OSError as exc:
            raise translated(exc, ", ".join(self.paths)) from exc

    def confirmed(self, files: Iterable[FoundFile]) -> Iterator[FoundFile]:
        """Yield the files: they were just looked at."""
        return iter(files)

    @contextmanager
    def open(self, uri: str, version: str, size: int | None = None, *, ahead: bool = False) -> Iterator[pa.NativeFile]:
        """Open a file, and see before and after that it is still the one that was planned."""
        del size, ahead
        name = uri.removeprefix(SCHEME)
        self.demand(name, version)
        try:
            with pa.OSFile(str(self.inside(name)), "r") as file:
                yield file
        except (BadDataError, pa.ArrowException):
            self.demand(name, version)
            raise
        except OSError as exc:
            self.demand(name, version)
            raise translated(exc, name) from exc
        self.demand(name, version)

    def demand(self, name: str, version: str) -> None:
        """Raise `SourceChangedError` unless the file is still the one that was planned."""
        try:
            now = self.describe(name).version
        except FileNotFoundError as exc:
            raise SourceChangedError(f"{SCHEME}{name} was removed after the run was planned", uri=name) from exc
        except OSError as exc:
            raise translated(exc, name) from exc
        if now != version:
            raise SourceChangedError(f"{SCHEME}{name} changed after the run was planned", uri=name)

    def describe(self, name: str) -> FoundFile:
        """Return a file as it is now."""
        stat = self.inside(name).stat()
        return FoundFile(f"{SCHEME}{name}", f"{stat.st_mtime_ns:x}-{stat.st_size:x}", stat.st_size)

    def names(self, prefix: str, is_whole: bool) -> Iterator[str]:  # noqa: FBT001 - the two parts of a root
        """Yield the files that may be selected, relative to the root."""
        if is_whole:
            if self.inside(prefix).is_file():
                yield prefix
            return
        folder = self.inside(prefix.rpartition("/")[0])
        if not folder.exists():
            return
        for parent, _, files in os.walk(folder, onerror=stop):
            inside = Path(parent).relative_to(self.root.resolve())
            yield from (str(PurePosixPath(inside) / file) for file in files)

    def is_file(self, name: str) -> bool:
        """Whether a file of this name exists; a glob may be longer than names can be."""
        with suppress(OSError):
            return self.inside(name).is_file()
        return False

    def inside(self, name: str) -> Path:
        """Return the file's real path, unless a link leads it out of the root."""
        root = self.root.resolve()
        path = (root / name).resolve()
        if not path.is_relative_to(root):
            msg = f"path: {name!r} leads out of the folder for files, by a link; put the data below the folder"
            raise SourceRefusedError(msg, path=name)
        return path

    def relative(self, text: str) -> str:
        """Return a path of the spec relative to the root, unless it leaves it."""
        path = PurePosixPath(text)
        if path.is_absolute():
            path = self.below(path)
        if ".." in path.parts or "\0" in text:
            msg = f"path: {text!r} must stay below the folder for files; write it without `..`"
            raise SourceRefusedError(msg, path=text)
        return str(path)

    def below(self, path: PurePosixPath) -> PurePosixPath:
        """Return an absolute path relative to the root."""
        for root in (self.root.absolute(), self.root.resolve()):
            if path.is_relative_to(root):
                return path.relative_to(root)
        msg = f"path: {str(path)!r} is not below the folder for files; write it relative to that folder"
        raise SourceRefusedError(msg, path=str(path))


def stop(exc: OSError) -> None:
    """Make `os.walk` raise what it would pass over."""
    raise exc


def translated(exc: OSError, name: str) -> Exception:
    """Return our error for a failed system call; one without a number comes from the data, not from the system."""
    if exc.errno is None:
        return BadDataError(f"{SCHEME}{name} cannot be read: {exc}", uri=name)
    if isinstance(exc, PermissionError):
        return SourceRefusedError(f"{SCHEME}{name}: permission denied; let the workers' user read it", uri=name)
    if isinstance(exc, FileNotFoundError):
        return SourceChangedError(f"{SCHEME}{name} was removed while it was read", uri=name)
    return SourceUnavailableError(f"{SCHEME}{name}: {exc.strerror}", uri=name)
