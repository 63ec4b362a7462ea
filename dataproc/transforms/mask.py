"""The `mask` step: values hidden, each in the way that its column asks for; null stays null."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from hmac import digest
from typing import Any, assert_never

import pyarrow as pa
import pyarrow.types as t

from dataproc.domain.cells import Cells
from dataproc.domain.chunk import POSITION, POSITION_FIELD, Chunk
from dataproc.domain.errors import ContractViolationError, SetupError
from dataproc.domain.source_columns import sampled_fractions
from dataproc.domain.transforms.mask import Encrypt, Masking, MaskTransform, Partial, Redact, Redaction
from dataproc.ports.cipher import Cipher
from dataproc.ports.secrets import Secrets
from dataproc.transforms.columns import cells_of, demand, with_column, written_out
from dataproc.transforms.mask_hash import keyed_hashes
from dataproc.transforms.mask_tokens import tokens
from dataproc.transforms.mask_values import by_value, partly, redacted, texts

SHORTEST_KEY = 16
TEXT: pa.DataType = pa.string()


@dataclass(frozen=True, slots=True)
class Mask:
    """Hides values; keys are looked up where it runs."""

    spec: MaskTransform
    cipher: Cipher = field(repr=False)
    secrets: Secrets = field(repr=False)

    def schema(self, before: pa.Schema) -> pa.Schema:
        """Return the types that come out, then the blind indexes, or say what stands in the way."""
        demand(before, self.spec.columns, "mask.columns")
        self.demand_keys()
        after = before
        for name, masking in self.spec.columns.items():
            if masking == "tokenise" and (kind := sampled_fractions(before.field(name))) is not None:
                raise refused(name, kind, "only text and whole numbers of 64 bits have tokens")
            dtype = masked_type(name, before.field(name).type, masking)
            after = after.set(after.get_field_index(name), pa.field(name, dtype))
        for name in self.indexes():
            if name in (*after.names, POSITION):
                msg = f"mask.columns: there is a column {name!r} already; call the blind index something else"
                raise ContractViolationError(msg, column=name)
            after = after.append(pa.field(name, TEXT))
        return after

    def demand_keys(self) -> None:
        """Refuse what needs a key when the installation has none."""
        for name, masking in self.spec.columns.items():
            if masking == "encrypt" or isinstance(masking, Encrypt):
                self.cipher.demand(f"mask: to encrypt column {name!r}")
            elif masking in ("hash", "tokenise") and self.spec.key is None:
                self.cipher.demand(f"mask: to {masking} column {name!r} without `key`")

    def indexes(self) -> Iterator[str]:
        """Yield the names of the blind indexes."""
        for masking in self.spec.columns.values():
            if isinstance(masking, Encrypt) and masking.encrypt.blind_index is not None:
                yield masking.encrypt.blind_index

    def apply(self, chunk: Chunk) -> Chunk:
        """Return the chunk masked."""
        rows, indexes = chunk.rows, dict[str, Cells]()
        for name, masking in self.spec.columns.items():
            cells = cells_of(chunk.rows, name)
            if isinstance(masking, Encrypt) and (index := masking.encrypt.blind_index) is not None:
                indexes[index] = self.indexed(texts(cells), index)
            rows = with_column(rows, name, self.masked(cells, masking, f"{chunk.unit}/{chunk.seq}/{name}"))
        rows = rows.drop_columns([POSITION]) if indexes else rows
        for name, cells in indexes.items():
            rows = rows.append_column(name, cells)
        return chunk.keep(rows.append_column(POSITION_FIELD, chunk.rows[POSITION]) if indexes else rows)

    def masked(self, cells: Cells, masking: Masking, context: str) -> Cells:
        """Return the cells of a column masked."""
        match masking:
            case "hash":
                key = self.key("hash")
                return by_value(texts(cells), lambda values: keyed_hashes(values, key))
            case "tokenise":
                key = self.key("token")
                return by_value(written_out(cells), lambda values: tokens(values, key))
            case "redact":
                return redacted(cells, Redaction().by)
            case Redact():
                return redacted(cells, masking.redact.by)
            case Partial():
                return partly(cells, masking.partial)
            case "encrypt" | Encrypt():
                return self.encrypted(texts(cells), context)
            case _:
                assert_never(masking)

    def encrypted(self, cells: Cells, context: str) -> Cells:
        """Return texts encrypted; the same chunk gives the same ones again."""
        values: list[Any] = cells.drop_null().to_pylist()
        found = iter(self.cipher.encrypt(values, context))
        return pa.array([next(found) if there else None for there in cells.is_valid().to_pylist()], TEXT)

    def indexed(self, cells: Cells, name: str) -> Cells:
        """Return the blind index of texts."""

        def index(values: Any) -> Cells:
            return pa.array(self.cipher.blind_index(values.to_pylist(), name), TEXT)

        return by_value(cells, index)

    def key(self, purpose: str) -> bytes:
        """Return what hashes or tokens are keyed by."""
        if self.spec.key is None:
            return self.cipher.derived(purpose)
        secret = self.secrets.get(self.spec.key).encode()
        if len(secret) < SHORTEST_KEY:
            msg = f"mask.key: the secret {self.spec.key} is shorter than {SHORTEST_KEY} bytes; take a longer one"
            raise SetupError(msg)
        return secret if purpose == "hash" else digest(secret, purpose.encode(), "sha256")


def masked_type(name: str, before: pa.DataType, masking: Masking) -> pa.DataType:
    """Return the type of a column when it is masked, or say that it cannot be."""
    if isinstance(masking, Redact) and masking.redact.by is None:
        return before
    if t.is_dictionary(before):
        return masked_type(name, before.value_type, masking)
    plain = t.is_string(before) or t.is_large_string(before)
    if masking == "tokenise":
        if plain or t.is_integer(before):
            return TEXT if plain else before
        raise refused(name, before, "only text and whole numbers have tokens")
    if isinstance(masking, Partial) and not plain:
        raise refused(name, before, "only text has parts")
    if t.is_nested(before) and masking != "redact" and not isinstance(masking, Redact):
        raise refused(name, before, "mask its fields, or redact it")
    return TEXT


def refused(name: str, dtype: pa.DataType | str, why: str) -> ContractViolationError:
    """Return the error for a column of the wrong type."""
    msg = f"mask.columns: column {name!r} is {dtype}; {why}, or cast it to string in a clean step before"
    return ContractViolationError(msg, column=name)
