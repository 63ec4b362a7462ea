"""The specification of a replay as people write it: a job without a source, for that is what was set aside."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from dataproc.domain.document import Document, described, invalid, merged, value_of
from dataproc.domain.errors import Problem
from dataproc.domain.sources.rejects import RejectsSource
from dataproc.domain.spec import JobSpec


def read_replay(text: str, source: RejectsSource) -> JobSpec:
    """Return the specification in a YAML or JSON document, with `source`; or every mistake, as `read_spec` does."""
    document = Document()
    value = value_of(document, text)
    if not isinstance(value, Mapping):
        raise invalid([Problem("", "must be a mapping of fields to values")])
    if "source" in value:
        wrong = Problem("/source", f"leave it out: the rows are the rejects of job {source.job}")
        raise invalid([document.locate(wrong, of_key=True)])
    whole: dict[str, Any] = {**value, "source": source.model_dump(mode="json")}
    try:
        return JobSpec.model_validate(whole)
    except ValidationError as exc:
        found = merged(described(exc, JobSpec))
        raise invalid([document.locate(problem, of_key=of_key) for problem, of_key in found]) from exc
