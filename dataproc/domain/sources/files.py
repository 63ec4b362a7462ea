"""Sources of files: what a job says of them."""

import codecs
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from dataproc.domain.fields import ColumnName, Name, Spec
from dataproc.domain.sources.places import Listing, PlaceOptions, S3Path

Format = Literal["auto", "parquet", "csv", "jsonl", "json", "avro"]
Packing = Literal["auto", "none", "gzip", "zstd", "bz2", "snappy"]
Sign = Annotated[str, Field(pattern=r"^[\x01-\x09\x0b\x0c\x0e-\x7f]$")]
"""One ASCII character that ends no line."""


def known_encoding(name: str) -> str:
    """Return the name that Python has for an encoding of text, or refuse an unknown one."""
    if name == "auto":
        return name
    try:
        found = codecs.lookup(name)
        "".encode(found.name)
    except LookupError:
        msg = "write the name of an encoding of text, such as utf-8, utf-16, latin-1 or cp1252"
        raise ValueError(msg) from None
    return "utf-8" if found.name == "utf-8-sig" else found.name


Encoding = Annotated[str, AfterValidator(known_encoding)]


class CsvOptions(Spec):
    """How comma-separated files are written."""

    delimiter: Sign | Literal["auto"] = Field(
        default="auto",
        description="What separates cells; a tab is `\\t` in double quotes. `auto`: the comma, semicolon, tab or bar "
        "that gives the same number of cells in all records of a sample.",
    )
    quote: Sign | None = Field(default='"', description="What encloses cells; null: nothing does.")
    escape: Sign | None = Field(
        default=None, description="What takes the next character its meaning; a doubled quote is always one quote."
    )
    comment: Sign | None = Field(default=None, description="Lines that begin with it are left out.")
    skip: int = Field(default=0, ge=0, le=10_000, description="Lines at the beginning to leave out, before the header.")
    header: bool = Field(default=True, description="Whether the first line names the columns; else they are c0, c1, …")
    columns: tuple[ColumnName, ...] | None = Field(
        default=None, min_length=1, description="Names of the columns, in place of those in the header."
    )
    nulls: tuple[str, ...] = Field(default=("", "NULL", "null"), description="Unquoted values that mean null.")
    quoted_empty: Literal["auto", "null", "text"] = Field(
        default="auto",
        description="What an empty cell in quotes means: null, or a text without characters; "
        "`auto`: that text in columns of text, and null in others.",
    )

    @model_validator(mode="after")
    def tells_signs_apart(self) -> "CsvOptions":
        """Refuse one character with two meanings."""
        signs = [sign for sign in (self.delimiter, self.quote, self.escape, self.comment) if sign is not None]
        if len(set(signs)) < len(signs):
            msg = "give delimiter, quote, escape and comment a character each; a doubled quote needs no escape"
            raise ValueError(msg)
        return self


class FileOptions(PlaceOptions):
    """What sources of files have in common."""

    format: Format = Field(
        default="auto",
        description="`auto`: by the name, .parquet, .csv, .tsv, .tab, .txt, .jsonl, .ndjson, .json, .avro; "
        "a .json file may hold JSON Lines.",
    )
    compression: Packing = Field(
        default="auto",
        description="What packs text files; `auto`: as their first bytes show. "
        "`snappy` is the framed format or Hadoop's; Parquet and Avro tell theirs themselves.",
    )
    encoding: Encoding = Field(
        default="auto",
        description="How text files encode characters; `auto`: as the byte order mark of a file says, else UTF-8.",
    )
    csv: CsvOptions = CsvOptions()
    records: str = Field(
        default="",
        pattern=r"^(/[^/.~]+)*$",
        max_length=512,
        description="In JSON files, the JSON Pointer to the array of records, such as `/data/items`; "
        "empty: the file is the array.",
    )
    partitions: Literal["off", "hive"] = Field(
        default="off", description="`hive`: folders called `key=value` become columns."
    )
    on_bad_file: Literal["fail", "skip"] = Field(
        default="fail",
        description="What to do with a file that is damaged: end the run, or set the file aside as one reject.",
    )
    max_unpacked: int | None = Field(
        default=None,
        ge=1024,
        description="The bytes that a file may unpack to; none: 200 times its size, and 4 GiB for any file.",
    )
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
    listing: Listing = Listing()
    inventory: S3Path | None = Field(
        default=None,
        description="S3 Inventory in place of a listing: a `manifest.json`, or the folder of its reports (the latest).",
    )

    @model_validator(mode="after")
    def names_a_bucket(self) -> "S3Source":
        """Refuse a path without a bucket."""
        named = (*self.paths, *(pattern for pattern in self.exclude if "/" in pattern))
        if self.connection is None and not all(path.startswith("s3://") for path in named):
            msg = "write the path as s3://bucket/key, or name a connection that has a bucket"
            raise ValueError(msg)
        return self


class FilesSource(FileOptions):
    """Files that every worker can read, below the folder `DATAPROC_FILES_ROOT`."""

    kind: Literal["files"]
    track: Literal["off", "objects"] = Field(
        default="off",
        description="`objects`: a file is loaded once in each version (its time and size); the next run reads the new.",
    )
