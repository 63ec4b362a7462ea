"""Files below one folder, which every worker sees under the same path."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow as pa

from dataproc.domain.errors import (
    BadDataError,
    SourceChangedError,
    SourceNotFoundError,
    SourceRefusedError,
    SourceUnavailableError,
)
from dataproc.sources.globs import fixed_prefix, is_glob, matches
from dataproc.sources.storage import FoundFile

SCHEME = "files://"


@dataclass(frozen=True, slots=True)
class LocalStorage:
    """The files below `root` that match `path`; links out of `root` are refused, linked folders not walked."""

    root: Path
    path: str

    def find(self) -> Sequence[FoundFile]:
        """Return the matching files, sorted by URI."""
        path = self.relative()
        try:
            found = [self.describe(name) for name in sorted(self.names(path)) if matches(path, name)]
        except OSError as exc:
            raise translated(exc, path) from exc
        if not found:
            msg = (
                f"path: no file matches {self.path!r} below the folder for files; check the path, `**` crosses folders"
            )
            raise SourceNotFoundError(msg, path=self.path)
        return found

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

    def names(self, path: str) -> Iterator[str]:
        """Yield the files that may match, relative to the root."""
        if not is_glob(path):
            if self.inside(path).is_file():
                yield path
            return
        folder = self.inside(fixed_prefix(path).rpartition("/")[0])
        if not folder.exists():
            return
        for parent, _, files in os.walk(folder, onerror=stop):
            inside = Path(parent).relative_to(self.root.resolve())
            yield from (str(PurePosixPath(inside) / file) for file in files)

    def inside(self, name: str) -> Path:
        """Return the file's real path, unless a link leads it out of the root."""
        root = self.root.resolve()
        path = (root / name).resolve()
        if not path.is_relative_to(root):
            msg = f"path: {name!r} leads out of the folder for files, by a link; put the data below the folder"
            raise SourceRefusedError(msg, path=name)
        return path

    def relative(self) -> str:
        """Return the spec's path relative to the root, unless it leaves it."""
        path = PurePosixPath(self.path)
        if path.is_absolute():
            path = self.below(path)
        if ".." in path.parts or "\0" in self.path:
            msg = f"path: {self.path!r} must stay below the folder for files; write it without `..`"
            raise SourceRefusedError(msg, path=self.path)
        return str(path)

    def below(self, path: PurePosixPath) -> PurePosixPath:
        """Return an absolute path relative to the root."""
        for root in (self.root.absolute(), self.root.resolve()):
            if path.is_relative_to(root):
                return path.relative_to(root)
        msg = f"path: {self.path!r} is not below the folder for files; write it relative to that folder"
        raise SourceRefusedError(msg, path=self.path)


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
