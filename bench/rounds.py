"""Rounds: each contender once in every round, in turn, so that what slows the machine slows them all."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Run = Callable[[int], float]
"""Runs once, in the round of that number, and returns the seconds; wrong rows are a `WrongRowsError`."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Contender:
    """Something that is measured."""

    name: str
    run: Run


def alternate(contenders: Sequence[Contender], rounds: int, tell: Tell, *, warm_ups: int = 1) -> dict[str, list[float]]:
    """Return the seconds of each contender in `rounds` rounds; those of the warm-ups before are not kept."""
    seconds: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for number in range(warm_ups + rounds):
        label = f"round {number - warm_ups + 1} of {rounds}" if number >= warm_ups else "warm-up"
        for contender in contenders:
            measured = contender.run(number)
            tell(f"{label}: {contender.name} {measured:.2f} s")
            if number >= warm_ups:
                seconds[contender.name].append(measured)
    return seconds


def medians(seconds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return the median of each contender, to the millisecond."""
    return {name: round(statistics.median(measured), 3) for name, measured in seconds.items()}


def ratios(seconds: Mapping[str, float], ours: str) -> dict[str, float]:
    """Return our seconds as a share of those of each other contender."""
    return {name: round(seconds[ours] / other, 3) for name, other in seconds.items() if name != ours}


def figures_of(rows: int, seconds: Mapping[str, Sequence[float]]) -> dict[str, object]:
    """Return the times of a race over so many rows, as they are written to its file."""
    everything = {name: [round(one, 3) for one in measured] for name, measured in seconds.items()}
    return {"rows": rows, "seconds": medians(seconds), "all": everything}


def lines_of(rows: int, seconds: Mapping[str, Sequence[float]]) -> dict[str, tuple[str, ...]]:
    """Return for each contender its name, its median, least and most seconds, and its rows a second."""
    middle = medians(seconds)
    return {
        name: (name, f"{middle[name]:.2f}", f"{min(all_):.2f}", f"{max(all_):.2f}", f"{rows / middle[name]:,.0f}")
        for name, all_ in seconds.items()
    }


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest of `values` that at least this share of them do not exceed."""
    return sorted(values)[max(math.ceil(len(values) * share) - 1, 0)]
