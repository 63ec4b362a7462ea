"""How many Datasets a cluster bears at once."""

from collections.abc import Iterable


def datasets_at_once(cpus_of_nodes: Iterable[float]) -> int:
    """Return how many Datasets may run at once on nodes with so many CPUs each; at least one.

    Ray Data's coordinator divides the CPUs of each node among all running Datasets by integer division. With more
    Datasets than CPUs on a node each gets none of them, runs one task at a time, and asks for no more
    nodes. So the smallest node that has CPUs decides.
    """
    cpus = [int(cpus) for cpus in cpus_of_nodes if cpus >= 1]
    return max(1, min(cpus, default=1))
