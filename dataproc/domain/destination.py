"""The destination of a job, as users write it."""

from typing import Literal, Self

from pydantic import Field, model_validator

from dataproc.domain.contract import NO_CONTRACT, Contract, ContractKind
from dataproc.domain.fields import NewColumn, Spec, TableName
from dataproc.domain.modes import NO_PARTITION, NO_VERSIONS, OPTIONS, Mode, Partition, Versions


class Destination(Spec):
    """A table of the warehouse."""

    table: TableName = Field(description="schema.table; made if it is missing.", examples=["analytics.orders"])
    mode: Mode = Field(
        default="append",
        description="`append` adds the rows to what is there, `merge` brings them in by their keys, `replace` puts "
        "them in place of all that is there, `replace_partition` in place of the partitions they belong to, and "
        "`scd2` keeps every version of a row.",
    )
    keys: tuple[NewColumn, ...] = Field(
        default=(), max_length=32, description="The columns that tell one row from another: for `merge` and `scd2`."
    )
    merge: Literal["update", "insert_only", "delete_missing"] = Field(
        default="update",
        description="`update` changes rows that are there, `insert_only` leaves them as they are, `delete_missing` is "
        "`update` and deletes rows that the source has no more.",
    )
    delete_flag: NewColumn | None = Field(
        default=None, description="For `merge`: a boolean column; where it is true, the row is deleted from the table."
    )
    replace: Literal["auto", "swap", "in_place"] = Field(
        default="auto",
        description="`swap` fills a new table and renames it, `in_place` deletes and inserts; `auto` swaps where "
        "nothing hangs on the table.",
    )
    partition: Partition = Field(default=NO_PARTITION, description="For `replace_partition`: what a partition is.")
    versions: Versions = Field(default=NO_VERSIONS, description="For `scd2`: how versions are told.")
    load: Literal["auto", "direct", "staged"] = Field(
        default="auto",
        description="`direct`: one COPY in the publish transaction; `staged`: unit by unit; `auto` chooses by size.",
    )
    contract: ContractKind | Contract = Field(
        default=NO_CONTRACT,
        description="What happens when rows do not look like the target: `evolve`, `freeze`, `discard_value` or "
        "`discard_row`, for all columns or by column. Without one, an existing table is never changed.",
    )
    accept: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{16}$",
        description="The fingerprint that a plan tells of an unsafe change of the target: this change may be made.",
    )

    @model_validator(mode="after")
    def makes_sense(self) -> Self:
        """Refuse options that the mode does not have, and a mode without what it needs."""
        of_mode = OPTIONS[self.mode]
        fields = type(self).model_fields
        for name in sorted(set().union(*OPTIONS.values()) - of_mode):
            if getattr(self, name) != fields[name].default:
                msg = f"{name}: mode {self.mode} has no such option; leave it out, or choose another mode"
                raise ValueError(msg)
        if "keys" in of_mode and not self.keys:
            msg = f"keys: mode {self.mode} needs the columns that tell one row from another, such as [order_id]"
            raise ValueError(msg)
        if len(set(self.keys)) < len(self.keys):
            msg = "keys: a column is named twice; name each once"
            raise ValueError(msg)
        self.refuse_clashes()
        return self

    def refuse_clashes(self) -> None:
        """Refuse columns that cannot be two things at once, and a way that the mode does not have."""
        if self.delete_flag in self.keys:
            msg = "delete_flag: a key cannot be the flag as well; name another column"
            raise ValueError(msg)
        if clash := set(self.keys).intersection(self.own_columns):
            msg = f"versions: {min(clash)!r} is one of the keys; choose another name for it"
            raise ValueError(msg)
        if self.mode == "replace_partition" and not self.partition.by:
            msg = "partition: mode replace_partition needs its columns, such as {by: [country]}"
            raise ValueError(msg)
        if self.load == "direct" and self.mode not in ("append", "replace"):
            msg = f"load: mode {self.mode} chooses its way; leave `load` out, or set it to staged"
            raise ValueError(msg)

    @property
    def own_columns(self) -> tuple[str, ...]:
        """The columns of the table that the mode fills itself."""
        return self.versions.names if self.mode == "scd2" else ()

    @property
    def is_by_key(self) -> bool:
        """Whether the mode finds existing rows by key, so that a repeated row changes nothing."""
        return self.mode in ("merge", "scd2")

    @property
    def drops_what_is_missing(self) -> bool:
        """Whether rows that the source does not give leave the table, or are closed in it."""
        return (
            self.mode == "replace"
            or (self.mode == "merge" and self.merge == "delete_missing")
            or (self.mode == "scd2" and self.versions.missing == "close")
        )

    @property
    def terms(self) -> Contract:
        """The contract of the target, in its long form."""
        return self.contract if isinstance(self.contract, Contract) else Contract(default=self.contract)

    @property
    def schema_name(self) -> str:
        """The schema's name, without quotes."""
        return self.table.partition(".")[0]

    @property
    def table_name(self) -> str:
        """The table's name within its schema, without quotes."""
        return self.table.partition(".")[2]
