"""The `python` step: a function of the user's, called with the rows of a chunk."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataproc.domain.cells import Cells
from dataproc.domain.chunk import POSITION, Chunk
from dataproc.domain.errors import ContractViolationError, InvalidSpecError, TransformFailedError
from dataproc.domain.transforms.python import PythonTransform, Resources
from dataproc.ports.pipeline import Needs
from dataproc.transforms.breaks import Break, broken, reject_table
from dataproc.transforms.cast import cast
from dataproc.transforms.columns import with_column, with_new
from dataproc.transforms.python_code import callable_of, demand_allowed, imported, told
from dataproc.transforms.python_frames import cells_from, demand_frame, frame_of
from dataproc.transforms.types import arrow_type, made_field

WHERE = "python.call"


@dataclass(frozen=True, slots=True)
class Python:
    """Calls a function; the columns that it declares come from there, the others stay with their rows."""

    spec: PythonTransform
    modules: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse code that the installation does not allow."""
        demand_allowed(self.spec.call, self.modules, WHERE)

    @property
    def told(self) -> str:
        """What errors call the function."""
        return f"{WHERE}: {self.spec.call}"

    @property
    def needs(self) -> Needs:
        """What the function needs."""
        resources = self.spec.resources or Resources()
        return Needs(resources.cpus, resources.memory, self.spec.concurrency, self.spec.actor_pool)

    def prepare(self) -> None:
        """Make the object of a class, which this process keeps."""
        callable_of(self.spec.call, self.modules, self.spec.options, WHERE)

    def schema(self, before: pa.Schema) -> pa.Schema:
        """Return the columns that come out, new ones last, or say that there is no such function."""
        found = imported(self.spec.call, self.modules, WHERE)
        if self.spec.actor_pool is not None and not isinstance(found, type):
            msg = f"python.actor_pool: {self.spec.call} is no class, so there is nothing to set up; use concurrency"
            raise InvalidSpecError(msg)
        if POSITION in self.spec.returns:
            raise ContractViolationError(f"python.returns: {POSITION} is not yours; leave it out")
        after = before if self.spec.others == "keep" else pa.schema([])
        for name, declared in self.spec.returns.items():
            field = made_field(name, declared)
            after = after.set(after.get_field_index(name), field) if name in after.names else after.append(field)
        return after

    def apply(self, chunk: Chunk) -> Chunk:
        """Return the chunk with what the function gives."""
        if not chunk.rows.num_rows:
            return chunk.keep(
                self.merged(chunk.rows, {n: pa.array([], arrow_type(d)) for n, d in self.spec.returns.items()})
            )
        found = self.called(chunk.rows)
        order, stays = self.staying(found, chunk.rows)
        rows = chunk.rows if stays is None else chunk.rows.filter(stays)
        filtered = chunk.rows.num_rows - rows.num_rows
        columns, breaks = dict[str, Cells](), list[Break]()
        for name, declared in self.spec.returns.items():
            cells = cells_from(found, name, self.spec.batch, self.told, declared=declared)
            columns[name], bad = self.fitted(cells if order is None else cells.take(order), name, declared)
            if bad is not None:
                breaks.append(Break("type", name, f"column {name!r} is no {declared}", bad))
        after = self.merged(rows, columns)
        if not breaks:
            return chunk.keep(after, filtered=filtered)
        good = after.filter(pa.array(~broken(breaks, rows.num_rows)))
        return chunk.keep(good, filtered=filtered, rejects=reject_table(rows, breaks))

    def called(self, rows: pa.Table) -> Any:
        """Return what the function gives for rows."""
        function = callable_of(self.spec.call, self.modules, self.spec.options, WHERE)
        seen = rows if self.spec.rows == "may_leave" else rows.drop_columns([POSITION])
        with told(self.spec.call, WHERE):
            found = function(frame_of(seen, self.spec.batch))
        demand_frame(found, self.spec.batch, self.told)
        return found

    def staying(self, found: Any, rows: pa.Table) -> tuple[Any, Any]:
        """Return the order in which to take what was given, and which rows stay; `None`: as they are, and all."""
        if self.spec.rows == "same":
            if len(found) != rows.num_rows:
                counts = f"{len(found)} rows for {rows.num_rows}"
                raise TransformFailedError(
                    f"{self.told} gives {counts}; let it return as many, or set `rows: may_leave`"
                )
            return None, None
        positions = self.fitted(cells_from(found, POSITION, self.spec.batch, self.told), POSITION, "int64")[0]
        stays: Any = pc.is_in(rows[POSITION], positions)
        if positions.null_count or pc.sum(stays).as_py() != len(positions):
            msg = f"{self.told} gives a row twice, or one that it did not get; keep {POSITION} as it is"
            raise TransformFailedError(msg)
        return pc.sort_indices(positions), stays

    def fitted(
        self, cells: Cells, name: str, declared: str
    ) -> tuple[Cells, "np.ndarray[Any, np.dtype[np.bool_]] | None"]:
        """Return cells in a declared type, and which do not fit."""
        try:
            return cast(cells, arrow_type(declared))
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as exc:
            msg = f"{self.told} gives column {name!r} as {cells.type}, which cannot be {declared}; declare another type"
            raise TransformFailedError(msg, column=name) from exc

    def merged(self, rows: pa.Table, columns: dict[str, Cells]) -> pa.Table:
        """Return rows with the columns that the function gave."""
        rows = rows if self.spec.others == "keep" else rows.select([POSITION])
        for name, cells in columns.items():
            rows = with_column(rows, name, cells) if name in rows.column_names else with_new(rows, {name: cells})
        return rows
