"""What the API answers about plans."""

from pydantic import BaseModel, Field

from dataproc.domain.source_columns import type_name
from dataproc.domain.unit import Unit
from dataproc.ports.warehouse import Alteration, Permission, TargetPreview
from dataproc.services.plan import JobPlan
from serve_app.source_schemas import ColumnView

MOST_UNITS = 1000


class PlannedUnitView(BaseModel):
    """A piece of the source that would be read as one."""

    uri: str
    bytes: int
    rows: int | None = Field(description="Rows, where the source tells them before they are read.")
    span: tuple[int, int] | None = Field(description="Which part: row groups, or bytes; null: all of it.")

    @classmethod
    def of(cls, unit: Unit) -> "PlannedUnitView":
        """Return what is told of `unit`."""
        return cls(uri=unit.uri, bytes=unit.size, rows=unit.rows, span=unit.span)


class PlannedSourceView(BaseModel):
    """What would be read."""

    units: int
    bytes: int
    rows: int | None = Field(description="Rows, where the source tells them before they are read.")
    first_units: list[PlannedUnitView] = Field(description=f"The units, {MOST_UNITS:,} of them at most.")
    columns: list[ColumnView] = Field(description="The columns with their Arrow types, declared or told by a sample.")


class ChangeView(BaseModel):
    """A statement that would change the target, in the transaction that publishes the rows."""

    statement: str
    safe: bool
    reason: str | None = Field(description="Why it is not safe.")

    @classmethod
    def of(cls, change: Alteration) -> "ChangeView":
        """Return what is told of `change`."""
        return cls(statement=change.statement, safe=change.unsafe is None, reason=change.unsafe)


class PermissionView(BaseModel):
    """Something that the load must be allowed to do in the warehouse."""

    what: str
    granted: bool
    advice: str = Field(description="What to do where it is not granted.")

    @classmethod
    def of(cls, permission: Permission) -> "PermissionView":
        """Return what is told of `permission`."""
        return cls(what=permission.what, granted=permission.granted, advice=permission.advice)


class PlannedTargetView(BaseModel):
    """What would become of the target."""

    table: str
    exists: bool
    mode: str
    load: str = Field(description="`direct` or `staged`.")
    columns: list[ColumnView] = Field(description="The columns that are filled, as they are after the changes.")
    left_out: list[str] = Field(description="Columns that come out of the transforms and do not get into the target.")
    statements: list[str] = Field(description="What makes the table, where it is missing.")
    changes: list[ChangeView] = Field(description="What the contract changes of a table that is there.")
    fingerprint: str | None = Field(description="What `accept` in the destination must be, if a change is not safe.")
    accepted: bool = Field(description="Whether the changes may be made: all are safe, or the fingerprint is accepted.")

    @classmethod
    def of(cls, target: TargetPreview, mode: str) -> "PlannedTargetView":
        """Return what is told of `target`."""
        return cls(
            table=target.table,
            exists=target.exists,
            mode=mode,
            load=target.way,
            columns=[ColumnView(name=name, type=sql_type) for name, sql_type in target.columns],
            left_out=list(target.left_out),
            statements=list(target.statements),
            changes=[ChangeView.of(change) for change in target.changes],
            fingerprint=target.fingerprint,
            accepted=target.accepted,
        )


class AccessView(BaseModel):
    """Whether the job may do what it has to; the source was reached to make the plan."""

    allowed: bool
    permissions: list[PermissionView]


class PlanView(BaseModel):
    """What a job would do as it stands; nothing was changed, and no more than a sample was read."""

    source: PlannedSourceView
    columns: list[ColumnView] = Field(description="What comes out of the transforms, with Arrow types.")
    target: PlannedTargetView
    access: AccessView
    choices: list[str] = Field(description="How the source is read and steps are done where that was open, and why.")
    warnings: list[str]

    @classmethod
    def of(cls, plan: JobPlan) -> "PlanView":
        """Return what is told of `plan`."""
        source = plan.source
        read = PlannedSourceView(
            units=len(source.units),
            bytes=source.size,
            rows=source.rows,
            first_units=[PlannedUnitView.of(unit) for unit in source.units[:MOST_UNITS]],
            columns=[ColumnView(name=each.name, type=type_name(each)) for each in source.schema],
        )
        permissions = [PermissionView.of(permission) for permission in plan.target.permissions]
        return cls(
            source=read,
            columns=[ColumnView(name=each.name, type=type_name(each)) for each in plan.schema],
            target=PlannedTargetView.of(plan.target, plan.destination.mode),
            access=AccessView(allowed=plan.is_allowed, permissions=permissions),
            choices=list(plan.choices),
            warnings=list(plan.warnings),
        )
