"""Where the files of a source are: what a job says of places, whatever the format."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from dataproc.domain.duration import Duration
from dataproc.domain.fields import Spec
from dataproc.domain.sources.personal import Personal

PathText = Annotated[str, Field(min_length=1, max_length=1024)]
S3Path = Annotated[str, Field(pattern=r"^s3://[A-Za-z0-9][A-Za-z0-9._-]{1,62}(/[^\x00]*)?$", max_length=1024)]

MOST_FILES = 10_000
"""Files that a run reads, unless the job says otherwise."""


class Archive(Spec):
    """Where the rows are kept as they were read, before any transform."""

    path: S3Path = Field(description="Folder `s3://bucket/prefix`, reached with the credentials of the source.")
    expires: Duration = Field(
        default=timedelta(days=30),
        ge=timedelta(days=1),
        le=timedelta(days=3660),
        description="How long they are kept; the day is part of each key.",
    )


class Listing(Spec):
    """How objects are listed."""

    cache: Duration = Field(
        default=timedelta(0),
        ge=timedelta(0),
        le=timedelta(hours=1),
        description="How old a listing may be; 0: each run lists anew.",
    )


class PlaceOptions(Spec):
    """Which files a source reads, and what becomes of them."""

    path: PathText | Annotated[tuple[PathText, ...], Field(min_length=1, max_length=1000)] = Field(
        description="A file or a glob, or several of them: `*` within a folder, `**` across, `\\\\*` for the character."
    )
    exclude: tuple[PathText, ...] = Field(
        default=(),
        max_length=100,
        description="Globs of files to leave out; one without `/` is that of a name, in any folder.",
    )
    track: Literal["off", "objects", "versions"] = Field(
        default="off",
        description="`objects`: an object is loaded once with each content (ETag); the next run reads what is new. "
        "`versions`: once in each version of a versioned bucket, by its id, even when an older content comes back.",
    )
    max_files: int = Field(
        default=MOST_FILES,
        ge=1,
        le=1_000_000,
        description="Files a run reads; with `track` the rest waits for the next run, else more are refused.",
    )
    archive: Archive | None = Field(default=None, description="Keep the rows as they were read; none: they are not.")
    personal: Personal = False

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths, one or more."""
        return (self.path,) if isinstance(self.path, str) else self.path
