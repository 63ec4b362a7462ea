"""Sources of files: what a job says of them."""

from typing import Literal

from pydantic import Field, model_validator

from dataproc.domain.fields import Name, Spec

Format = Literal["auto", "parquet", "csv", "jsonl"]


class CsvOptions(Spec):
    """How comma-separated files are written."""

    delimiter: str = Field(default=",", min_length=1, max_length=1)
    quote: str = Field(default='"', min_length=1, max_length=1)
    header: bool = Field(default=True, description="Whether the first line names the columns; else they are c0, c1, …")
    nulls: tuple[str, ...] = Field(default=("", "NULL", "null"), description="Unquoted values that mean null.")


class FileOptions(Spec):
    """What sources of files have in common."""

    path: str = Field(min_length=1, max_length=1024, description="A file or a glob: `*` within a folder, `**` across.")
    format: Format = Field(
        default="auto", description="`auto` tells by the name: .parquet, .csv, .jsonl, .ndjson, with .gz or .zst."
    )
    csv: CsvOptions = CsvOptions()
    unit_size: int = Field(
        default=64 * 1024 * 1024,
        ge=64 * 1024,
        le=1024**3,
        description="Files larger than this many bytes are read in parallel pieces.",
    )


class S3Source(FileOptions):
    """Objects of an S3 bucket; `path` is `s3://bucket/key-or-glob`, or a key or glob in the connection's bucket."""

    kind: Literal["s3"]
    connection: Name | None = Field(
        default=None, description="A registered source; without one, the environment's AWS settings."
    )

    @model_validator(mode="after")
    def names_a_bucket(self) -> "S3Source":
        """Refuse a path without a bucket."""
        if self.connection is None and not self.path.startswith("s3://"):
            msg = "write the path as s3://bucket/key, or name a connection that has a bucket"
            raise ValueError(msg)
        return self


class FilesSource(FileOptions):
    """Files that every worker can read, below the folder `DATAPROC_FILES_ROOT`."""

    kind: Literal["files"]
