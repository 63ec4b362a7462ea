"""What is done with all rows of a run at once, when they are staged."""

from dataclasses import dataclass

from dataproc.domain.keys import KeyRule


@dataclass(frozen=True, slots=True)
class Across:
    """Rules over the keys of all rows, and then queries that turn what is left into the rows of the target."""

    rules: tuple[KeyRule, ...] = ()
    queries: tuple[str, ...] = ()

    @property
    def is_anything(self) -> bool:
        """Whether there is something to do."""
        return bool(self.rules or self.queries)


NOTHING = Across()
