"""A target as a plan shows it: what a load would find, make and change."""

from collections.abc import Sequence

from dataproc.ports.warehouse import Alteration, Permission, TargetPreview
from dataproc.warehouse.target import Target, definition


def preview_of(target: Target, way: str, allowed: Sequence[Permission], accept: str | None) -> TargetPreview:
    """Return what is told of a target that was found."""
    change = target.change
    is_new = bool(target.columns) and not target.exists
    return TargetPreview(
        table=target.name,
        exists=target.exists,
        columns=tuple((column.name, column.sql_type) for column in target.columns),
        statements=tuple(part.as_string() for part in definition(target)) if is_new else (),
        way=way,
        changes=tuple(Alteration(each.statement, each.unsafe) for each in change.alterations),
        fingerprint=change.fingerprint if change.alterations else None,
        accepted=change.is_safe or accept == change.fingerprint,
        left_out=tuple(column.name for column in target.left_out),
        permissions=tuple(allowed),
    )
