"""How each transform of a job is done: by the workers, or over all rows of the run, when they are staged."""

from collections.abc import Sequence

from dataproc.ports.pipeline import Settled, Shaping, Transform, Unsettled
from dataproc.services.blame import blamed


def settled(transforms: Sequence[Transform]) -> tuple[Settled, ...]:
    """Return the transforms, with nothing open, and what is told of those that were."""
    found: list[Settled] = []
    after_run = False
    for at, each in enumerate(transforms):
        way = Settled(each, "")
        if isinstance(each, Unsettled):
            with blamed(f"/transforms/{at}"):
                way = each.settle(each.obstacle or obstacle_after(transforms, at), after_run=after_run)
        after_run = after_run or isinstance(way.transform, Shaping)
        found.append(way)
    return tuple(found)


def obstacle_after(transforms: Sequence[Transform], at: int) -> str | None:
    """Return why a step cannot wait for all rows: one after it does not wait."""
    for number, other in enumerate(transforms[at + 1 :], at + 2):
        if not isinstance(other, Shaping) and not (isinstance(other, Unsettled) and other.obstacle is None):
            return f"step {number} comes after it, and is done before all rows are staged"
    return None
