"""Sources that installed packages bring, by the entry point group `dataproc.sources`.

An entry point is a function `(options, around) -> Source`: `options` is the mapping of the job, `around` has the
secrets, the registered connection and what else a source is given. What it returns keeps to the protocol `Source`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import cast

from dataproc.domain.errors import DataprocError, InvalidSpecError, Problem, SetupError
from dataproc.domain.foreign_code import is_error_of_code
from dataproc.domain.sources.external import PluginSource
from dataproc.ports.connector import Discovered
from dataproc.ports.pipeline import Source

GROUP = "dataproc.sources"


@dataclass(frozen=True, slots=True)
class PluginConnector:
    """A registered source for plugins: they alone know what its config means."""

    def test(self) -> str:
        """Return that only a job can tell."""
        return "kept as it is: plan a job of the plugin to see whether it works"

    def discover(self) -> Sequence[Discovered]:
        """Return nothing."""
        return ()


def plugin_source(spec: PluginSource, around: object) -> Source:
    """Return the source that a plugin makes of its options."""
    found = {point.name: point for point in entry_points(group=GROUP)}
    if spec.plugin not in found:
        known = ", ".join(sorted(found)) or "none"
        problem = Problem("/source/plugin", f"no installed package brings {spec.plugin!r}; there are: {known}")
        raise InvalidSpecError(f"{problem.pointer}: {problem.message}", (problem,))
    try:
        return cast("Source", found[spec.plugin].load()(spec.options, around))
    except DataprocError:
        raise
    except (ImportError, AttributeError, SystemExit) as exc:
        if not is_error_of_code(exc):
            raise
        raise SetupError(f"the plugin {spec.plugin!r} cannot be loaded: {type(exc).__name__}: {exc}") from exc
    except (TypeError, ValueError, KeyError) as exc:
        problem = Problem("/source/options", f"the plugin {spec.plugin!r} refuses them: {type(exc).__name__}: {exc}")
        raise InvalidSpecError(f"{problem.pointer}: {problem.message}", (problem,)) from exc
